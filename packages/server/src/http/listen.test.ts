import { request } from "node:http";
import { connect } from "node:net";
import { AikiError, silentLogger } from "@aikirun/lib";
import type { Api } from "@aikirun/lib/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { admitAll } from "./admit.ts";
import { countedBodies } from "./bodies.ts";
import { type Listener, listenOn } from "./listen.ts";
import { hostsAllowed } from "./origin.ts";
import type { HttpContext } from "./respond.ts";

const open: Listener[] = [];
afterEach(() => Promise.all(open.splice(0).map((listener) => listener.close())));

async function listening(api: Partial<Api>, port = 0): Promise<Listener> {
  const none = () => Promise.reject(new Error("not scripted"));
  const silent: Api = {
    start: none,
    claim: none,
    report: none,
    renew: none,
    signal: none,
    watch: none,
    find: none,
    read: none,
  };
  const context: Omit<HttpContext, "closing"> = {
    basePath: "",
    admit: admitAll({ ...silent, ...api }),
    hosts: hostsAllowed([]),
    ready: async () => {},
    bodies: countedBodies(),
    logger: silentLogger,
    id: () => "error-1",
  };
  const listener = await listenOn(context, port, "127.0.0.1");
  open.push(listener);
  return listener;
}

/** Sends the bytes, and returns what the server sends until it closes the connection. */
function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    let received = "";
    socket.on("data", (chunk) => {
      received += String(chunk);
    });
    socket.on("close", () => resolve(received));
    socket.on("error", reject);
  });
}

function find(url: string): Promise<Response> {
  return fetch(`${url}/v1/find`, { method: "POST", body: "{}", headers: { "content-type": "application/json" } });
}

const claim = JSON.stringify({
  claimId: "c",
  session: "s",
  worker: "w",
  serves: [],
  shardKeys: [],
  limit: 1,
  leaseMs: 1_000,
  waitMs: 60_000,
});

/** A claim that waits until its signal aborts. */
function waiting(): { claim: Api["claim"]; begun: Promise<void>; aborted: Promise<void> } {
  let onBegun = () => {};
  let onAborted = () => {};
  const begun = new Promise<void>((resolve) => (onBegun = resolve));
  const aborted = new Promise<void>((resolve) => (onAborted = resolve));
  return {
    begun,
    aborted,
    claim: (_, options) =>
      new Promise((_resolve, reject) => {
        onBegun();
        options?.signal?.addEventListener("abort", () => {
          onAborted();
          reject(new AikiError("ABORTED", "The caller gave up."));
        });
      }),
  };
}

describe("a listener", () => {
  it("one port serves verbs, pages and health checks", async () => {
    const { url } = await listening({ find: async () => ({ runs: [] }) });
    const reply = await find(url);
    expect([reply.status, await reply.text()]).toEqual([200, '{"runs":[]}']);
    expect(reply.headers.get("x-content-type-options")).toBe("nosniff");
    expect((await fetch(`${url}/health/live`)).status).toBe(200);
    expect(await (await fetch(url)).text()).toContain("<title>Aiki</title>");
    expect((await fetch(`${url}/v1/find`)).status).toBe(405);
    expect((await fetch(`${url}/v1/find?x=1`, { method: "POST" })).status).toBe(415);
  });

  it("close returns at once even if a connection without a request is open", async () => {
    const listener = await listening({});
    const socket = connect(listener.port, "127.0.0.1");
    await new Promise((resolve) => socket.once("connect", resolve));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    const began = Date.now();
    await listener.close();
    await closed;
    expect(Date.now() - began).toBeLessThan(3_000);
  });

  it("the process's own Request and Response are unchanged", async () => {
    const before = [globalThis.Request, globalThis.Response];
    const { url } = await listening({ find: async () => ({ runs: [] }) });
    await find(url);
    expect([globalThis.Request, globalThis.Response]).toEqual(before);
  });

  it("listen rejects with a clear error if the port is in use", async () => {
    const { port } = await listening({});
    await expect(listening({}, port)).rejects.toMatchObject({
      code: "PORT_IN_USE",
      message: expect.stringContaining(String(port)),
    });
  });

  it("a foreign Host header is refused before the body is read", async () => {
    const { port } = await listening({});
    const head = "POST /v1/find HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n";
    const reply = await raw(port, `${head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`);
    expect(reply).toMatch(/^HTTP\/1\.1 403 [\s\S]*FORBIDDEN_HOST/);
  });

  it("a body that streams past the limit is refused, and the connection is closed", async () => {
    const { port } = await listening({});
    const status = await new Promise((resolve, reject) => {
      const headers = { "content-type": "application/json" };
      const upload = request({ port, host: "127.0.0.1", path: "/v1/find", method: "POST", headers }, (reply) => {
        resolve(reply.statusCode);
        upload.destroy();
      });
      upload.on("error", reject);
      for (let sent = 0; sent < 9; sent++) upload.write(Buffer.alloc(1_000_000, " "));
    });
    expect(status).toBe(413);
  });

  it("a client that disconnects aborts its long poll", async () => {
    const { claim: waits, begun, aborted } = waiting();
    const { url } = await listening({ claim: waits });
    const client = new AbortController();
    const headers = { "content-type": "application/json" };
    const reply = fetch(`${url}/v1/claim`, { method: "POST", body: claim, headers, signal: client.signal });
    const refused = expect(reply).rejects.toThrow();
    await begun;
    client.abort();
    await Promise.all([aborted, refused]);
  });

  it("any number of long polls cause no warning", async () => {
    const warnings: string[] = [];
    const warned = ({ name }: Error) => warnings.push(name);
    process.on("warning", warned);
    const polls = Array.from({ length: 20 }, waiting);
    const unused = [...polls];
    const waits: Api["claim"] = (request, options) => (unused.pop() ?? waiting()).claim(request, options);
    const listener = await listening({ claim: waits });
    const headers = { "content-type": "application/json" };
    const send = () => fetch(`${listener.url}/v1/claim`, { method: "POST", body: claim, headers });
    const replies = polls.map(send);
    await Promise.all(polls.map(({ begun }) => begun));
    await listener.close();
    expect((await Promise.all(replies)).map(({ status }) => status)).toEqual(Array(20).fill(503));
    // Warnings are emitted in a later turn.
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", warned);
    expect(warnings).toEqual([]);
  });

  it("close answers long polls and refuses later connections", async () => {
    const { claim: waits, begun } = waiting();
    const listener = await listening({ claim: waits });
    const headers = { "content-type": "application/json" };
    const reply = fetch(`${listener.url}/v1/claim`, { method: "POST", body: claim, headers });
    await begun;
    await Promise.all([listener.close(), listener.close()]);
    expect([(await reply).status, (await reply).headers.get("retry-after")]).toEqual([503, "1"]);
    await expect(find(listener.url)).rejects.toThrow();
  });
});
