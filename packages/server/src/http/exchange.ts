/** One HTTP request and its reply, received by a mounted fetch handler or by the server's own listener. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { limits } from "@aikirun/lib/protocol";
import { HttpRefusal } from "./refusal.ts";

export interface Exchange {
  /** In lower case, with its port. */
  readonly host: string;
  header(name: "authorization" | "content-encoding" | "content-type" | "origin"): string | null;
  /**
   * The whole body. Throws `Refusal` 413 as soon as the body is known to exceed the limit. Calls `take` with the number
   * of bytes that arrive, not with an announced length, and throws what `take` throws.
   */
  body(take: (bytes: number) => void): Promise<Uint8Array>;
  /** Aborts when the client disconnects before the reply. */
  gone(): AbortSignal;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export function fetchExchange(request: Request): Exchange {
  return {
    host: (request.headers.get("host") ?? new URL(request.url).host).toLowerCase(),
    header: (name) => request.headers.get(name),
    gone: () => request.signal,
    body: async (take) => {
      checkLength(Number(request.headers.get("content-length")));
      return request.body === null ? new Uint8Array() : counted(streamed(request.body), take);
    },
  };
}

export function nodeExchange(incoming: IncomingMessage, outgoing: ServerResponse): Exchange {
  return {
    host: (incoming.headers.host ?? "").toLowerCase(),
    header: (name) => incoming.headers[name] ?? null,
    gone: () => {
      const gone = new AbortController();
      outgoing.once("close", () => {
        if (!outgoing.writableFinished) gone.abort();
      });
      if (outgoing.destroyed) gone.abort();
      return gone.signal;
    },
    body: async (take) => {
      checkLength(Number(incoming.headers["content-length"]));
      return received(incoming, take);
    },
  };
}

export function toResponse({ status, headers, body }: Reply): Response {
  return new Response(body, { status, headers });
}

export function sendReply({ status, headers, body }: Reply, outgoing: ServerResponse): void {
  outgoing.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) });
  outgoing.end(body);
}

function checkLength(announced: number): void {
  if (announced > limits.requestBytes) throw tooLarge();
}

function tooLarge(): HttpRefusal {
  const message = `The request is over ${limits.requestBytes} bytes. Split the batch.`;
  return new HttpRefusal(413, "PAYLOAD_TOO_LARGE", message, { connection: "close" });
}

/** Uses events, which are faster than iteration: most bodies are one chunk, and every request is read here. */
function received(incoming: IncomingMessage, onBytes: (bytes: number) => void): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let ended = false;
    const keep = (chunk: Buffer) => {
      size += chunk.byteLength;
      if (size > limits.requestBytes) throw tooLarge();
      onBytes(chunk.byteLength);
      chunks.push(chunk);
    };
    incoming.on("data", (chunk: Buffer) => {
      if (ended) return;
      try {
        keep(chunk);
      } catch (thrown) {
        ended = true;
        chunks.length = 0;
        reject(thrown);
      }
    });
    incoming.on("end", () => {
      ended = true;
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks));
    });
    const broken = () => {
      if (!ended) reject(new HttpRefusal(400, "BAD_REQUEST", "The request broke off."));
    };
    incoming.on("close", broken);
    incoming.on("error", broken);
    // The client may have disconnected while its key was loaded.
    if (incoming.destroyed) broken();
  });
}

async function counted(chunks: AsyncIterable<Uint8Array>, onBytes: (bytes: number) => void): Promise<Uint8Array> {
  const kept: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.byteLength;
    if (size > limits.requestBytes) throw tooLarge();
    onBytes(chunk.byteLength);
    kept.push(chunk);
  }
  return Buffer.concat(kept, size);
}

async function* streamed(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  } finally {
    reader.cancel().catch(() => {});
  }
}
