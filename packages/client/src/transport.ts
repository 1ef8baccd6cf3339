/**
 * How requests are sent. On Node, its HTTP client is used: it takes a third of the time of `fetch`. Other runtimes use
 * `fetch`.
 */

/** A complete answer. */
export interface HttpReply {
  readonly status: number;
  header(name: "date" | "location" | "retry-after"): string | null;
  readonly text: string;
}

export interface Transport {
  /** Sends one POST, tried once. Rejects when there is no complete answer or when the signal aborts. */
  post(url: string, headers: Readonly<Record<string, string>>, body: string, signal: AbortSignal): Promise<HttpReply>;
  /** Closes idle connections. */
  close(): void;
}

export function transportFor(url: string): Promise<Transport> | Transport {
  return isNode() ? nodeTransport(url) : fetchTransport;
}

function isNode(): boolean {
  const { process } = globalThis;
  if (process === undefined) return false;
  return process.versions.node !== undefined && !("deno" in process.versions) && !("bun" in process.versions);
}

export const fetchTransport: Transport = {
  async post(url, headers, body, signal) {
    const response = await fetch(url, { method: "POST", headers, body, signal });
    return { status: response.status, header: (name) => response.headers.get(name), text: await response.text() };
  },
  close() {},
};

/** Keeps connections open between requests; an idle one does not keep the process alive. */
export async function nodeTransport(base: string): Promise<Transport> {
  const { Agent, request } = await (base.startsWith("https:") ? import("node:https") : import("node:http"));
  const { urlToHttpOptions } = await import("node:url");
  const agent = new Agent({ keepAlive: true, scheduling: "lifo" });
  const places = new Map<string, ReturnType<typeof urlToHttpOptions>>();

  const placeOf = (url: string) => {
    const place = places.get(url) ?? urlToHttpOptions(new URL(url));
    places.set(url, place);
    return place;
  };

  const post: Transport["post"] = (url, headers, body, signal) =>
    new Promise((resolve, reject) => {
      const length = String(Buffer.byteLength(body));
      const options = { ...placeOf(url), method: "POST", agent, headers: { ...headers, "content-length": length } };
      const outgoing = request(options, (incoming) => {
        let text = "";
        incoming.setEncoding("utf8");
        incoming.on("data", (chunk: string) => {
          text += chunk;
        });
        incoming.on("end", () => {
          const { statusCode = 0 } = incoming;
          settle(() => resolve({ status: statusCode, header: (name) => incoming.headers[name] ?? null, text }));
        });
        incoming.on("error", fail);
        incoming.on("close", () => fail(new Error("the answer ended before it was complete")));
      });
      const leave = () => outgoing.destroy(new Error("the caller aborted the request"));
      const settle = (then: () => void) => {
        signal.removeEventListener("abort", leave);
        then();
      };
      const fail = (cause: unknown) => settle(() => reject(cause));
      outgoing.on("error", fail);
      signal.addEventListener("abort", leave, { once: true });
      if (signal.aborted) leave();
      else outgoing.end(body);
    });

  return { post, close: () => agent.destroy() };
}
