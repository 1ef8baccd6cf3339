import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Env } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { httpApi } from "./http.ts";
import { retryAfterOf } from "./transient.ts";
import { fetchTransport, nodeTransport, type Transport } from "./transport.ts";

const env = systemEnv({ id: () => "id" });
let server: Server | undefined;
let transport: Transport | undefined;
let isFetch = false;

type Responder = (request: IncomingMessage, body: string, response: ServerResponse) => void;

async function listen(answer: Responder, clock: Env = env) {
  const listening = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    answer(request, body, response);
  });
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  const address = listening.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const url = `http://127.0.0.1:${port}`;
  transport = isFetch ? fetchTransport : await nodeTransport(url);
  return httpApi({ url, apiKey: "key" }, clock, transport);
}

afterEach(() => {
  transport?.close();
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

describe.each([
  ["Node's own client", false],
  ["fetch", true],
])("the HTTP client over %s", (_, byFetch) => {
  beforeEach(() => {
    isFetch = byFetch;
  });

  it("a verb is sent as POST with the key, and returns the reply", async () => {
    const seen: unknown[] = [];
    const api = await listen((request, body, response) => {
      seen.push(request.method, request.url, request.headers.authorization, JSON.parse(body));
      response.end(JSON.stringify({ results: [{ ok: true, id: "a", created: true }] }));
    });
    const runs = [{ id: "a", name: "n", versionId: "1" }];
    expect(await api.start({ runs })).toEqual({ results: [{ ok: true, id: "a", created: true }] });
    expect(seen).toEqual(["POST", "/v1/start", "Bearer key", { runs }]);
  });

  it.each([
    [401, '{"error":{"code":"UNAUTHORIZED","message":"The key is unknown."}}', "UNAUTHORIZED", "The key is unknown."],
    [403, "<html>", "UNAUTHORIZED", "check apiKey"],
    [404, "not found", "BAD_REQUEST", "check that the url"],
    [413, "", "BAD_REQUEST", "too large"],
    [503, '{"error":{"code":"UNAVAILABLE","message":"The pool is empty."}}', "UNAVAILABLE", "The pool is empty."],
    [
      409,
      '{"error":{"code":"OF_A_NEWER_SERVER","message":"Cannot be handled."}}',
      "OF_A_NEWER_SERVER",
      "Cannot be handled.",
    ],
    [502, "<html>bad gateway</html>", "UNAVAILABLE", "answered 502"],
    [200, "<html>a proxy</html>", "BAD_REPLY", "not an Aiki server"],
    [200, '{"results":[]}', "BAD_REPLY", "not an Aiki server"],
    [200, '{"results":[null]}', "BAD_REPLY", "not an Aiki server"],
  ])("the HTTP reply %i %s becomes %s", async (status, body, code, sentence) => {
    const api = await listen((_, __, response) => response.writeHead(status).end(body));
    await expect(api.read({ runs: [{ runId: "a" }] })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(sentence),
    });
  });

  it("Retry-After is read as seconds and as a date", async () => {
    const headers = ["2", new Date(Date.parse("2024-01-01T00:00:05Z")).toUTCString()];
    const date = new Date(Date.parse("2024-01-01T00:00:00Z")).toUTCString();
    const api = await listen((_, __, response) =>
      response.writeHead(503, { "retry-after": headers.shift(), date }).end("{}"),
    );
    const delays = [];
    for (const _ of [1, 2]) {
      delays.push(retryAfterOf(await api.find({}).catch((error: unknown) => error)));
    }
    expect(delays).toEqual([2_000, 5_000]);
  });

  it("a request rejects if no server listens", async () => {
    const url = "http://127.0.0.1:1";
    const api = httpApi({ url, apiKey: null }, env, isFetch ? fetchTransport : await nodeTransport(url));
    await expect(api.find({})).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringMatching(/http:\/\/127\.0\.0\.1:1 cannot be reached/),
    });
  });

  it("aborting a long poll closes its connection", async () => {
    let onClosed: () => void = () => {};
    const closed = new Promise<void>((resolve) => {
      onClosed = resolve;
    });
    const controller = new AbortController();
    const api = await listen((_, __, response) => {
      response.on("close", onClosed);
      controller.abort();
    });
    const watched = [{ type: "status" as const, runId: "a", statuses: [] }];
    await expect(api.watch({ watched, waitMs: 60_000 }, { signal: controller.signal })).rejects.toMatchObject({
      code: "ABORTED",
    });
    await closed;
  });

  it("a request times out if the server never answers", async () => {
    let expire: () => void = () => {};
    const expiring = {
      ...env,
      after: (_: number, then: () => void) => {
        expire = then;
        return () => {};
      },
    };
    const api = await listen(() => expire(), expiring);
    await expect(api.find({})).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("did not answer within 10 s"),
    });
  });
});
