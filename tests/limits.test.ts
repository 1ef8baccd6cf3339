/** The limits of a server for requests, and the headers of its replies, tested through a socket. */

import { connect } from "node:net";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { silentLogger } from "@aikirun/lib";
import { limits } from "@aikirun/lib/protocol";
import { type Server, server } from "@aikirun/server";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { signed } from "./suites/actors.ts";

let aiki: Server;
let url = "";
let port = 0;
let bearer = "";
let reader = "";

beforeAll(async () => {
  aiki = await server({ database: "memory:", auth: true, allowedHosts: ["localhost"], logger: silentLogger });
  ({ url, port } = await aiki.listen({ port: 0 }));
  bearer = `Bearer ${(await aiki.keys.create({ name: "all", scopes: ["admin"] })).secret}`;
  reader = `Bearer ${(await aiki.keys.create({ name: "reads", scopes: ["runs:read"] })).secret}`;
});
afterAll(() => aiki.close());

/** The reply of the server to these bytes, until it closes the connection. */
function raw(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    let received = "";
    socket.on("data", (chunk) => {
      received += String(chunk);
    });
    socket.on("close", () => resolve(received));
    // The server may close the connection after its reply while the client is still sending.
    socket.on("error", (error) => (received === "" ? reject(error) : resolve(received)));
  });
}

function post(
  verb: string,
  body: string | Uint8Array<ArrayBuffer>,
  more: Record<string, string> = {},
): Promise<Response> {
  const headers = { "content-type": "application/json", authorization: bearer, ...more };
  return fetch(`${url}/v1/${verb}`, { method: "POST", headers, body });
}

const head = "Host: localhost\r\nConnection: close\r\n";

describe("request headers", () => {
  it("request headers of 16 KB are refused with 431, slightly smaller ones are accepted", async () => {
    const of = (bytes: number) => raw(`GET /health/live HTTP/1.1\r\n${head}X-Long: ${"a".repeat(bytes)}\r\n\r\n`);
    expect(await of(16_500)).toMatch(/^HTTP\/1\.1 431 .*\r\nConnection: close\r\n\r\n$/);
    expect(await of(15_500)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    ["two lengths", `POST /v1/find HTTP/1.1\r\n${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
    ["a length and chunks", `POST /v1/find HTTP/1.1\r\n${head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n`],
    ["a folded line", `GET / HTTP/1.1\r\n${head}X: a\r\n\tb\r\nBad\r\n\r\n`],
    ["a NUL", `GET /\0 HTTP/1.1\r\n${head}\r\n`],
    ["no host", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"],
    ["an unknown method", `STEAL / HTTP/1.1\r\n${head}\r\n`],
    ["another protocol", "\x16\x03\x01\x02\x00\r\n\r\n"],
  ])("a request with %s is refused with 400 and nothing else", async (_, bytes) => {
    expect(await raw(bytes)).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n([^\r]+\r\n)+\r\n(0\r\n\r\n)?$/);
  });

  it.each(["TRACE", "OPTIONS", "PUT", "DELETE", "PATCH", "GET", "HEAD"])(
    "the method %s on a verb is refused with 405",
    async (method) => {
      expect(await raw(`${method} /v1/start HTTP/1.1\r\n${head}\r\n`)).toMatch(/^HTTP\/1\.1 405 /);
    },
  );
});

describe("a request body", () => {
  const padded = (bytes: number) => `{}${" ".repeat(bytes - 2)}`;

  it("a body of 8 MB is accepted, and one byte more is refused", async () => {
    expect((await post("find", padded(limits.requestBytes))).status).toBe(200);
    expect((await post("find", padded(limits.requestBytes + 1))).status).toBe(413);
  });

  it("a body without a length is counted while it arrives, and cut off at the limit", async () => {
    const start = `POST /v1/find HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${bearer}\r\n`;
    const half = `${(limits.requestBytes / 2).toString(16)}\r\n${" ".repeat(limits.requestBytes / 2)}\r\n`;
    const type = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    expect(await raw(`${start}${type}${half}${half}1\r\n \r\n`)).toMatch(/^HTTP\/1\.1 413 [\s\S]*PAYLOAD_TOO_LARGE/);
  });

  it.each([
    ["gzip", gzipSync],
    ["deflate", deflateSync],
    ["br", brotliCompressSync],
    ["identity", (text: string) => Buffer.from(text)],
  ])("a body with content-encoding %s is refused with 415", async (encoding, packed) => {
    const reply = await post("find", new Uint8Array(packed("{}")), { "content-encoding": encoding });
    expect([reply.status, await reply.text()]).toEqual([415, expect.stringContaining("UNSUPPORTED_MEDIA_TYPE")]);
  });

  it("a body with 200 levels is parsed, and one more level is refused", async () => {
    const nested = (levels: number) => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
    expect(await (await post("find", nested(200))).text()).not.toContain("nests deeper");
    const deeper = await post("find", nested(201));
    expect([deeper.status, await deeper.text()]).toEqual([400, expect.stringContaining("nests deeper than 200")]);
  });

  it("the connection of a refused body is used for the next request", async () => {
    const request = (authorization: string, closing: string) =>
      `POST /v1/find HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${authorization}\r\n${closing}` +
      "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    const answers = await raw(request("Bearer no", "") + request(bearer, "Connection: close\r\n"));
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 401", "HTTP/1.1 200"]);
  });
});

describe("a batch and a page", () => {
  const many = (count: number, item: unknown) => Array(count).fill(item);
  const session = { session: "s", worker: "w" };

  it.each([
    ["start", { runs: many(limits.batchItems, null) }, { runs: many(limits.batchItems + 1, null) }],
    ["signal", { signals: many(limits.batchItems, null) }, { signals: many(limits.batchItems + 1, null) }],
    [
      "report",
      { ...session, reports: many(limits.batchItems, null) },
      { ...session, reports: many(limits.batchItems + 1, null) },
    ],
    ["read", { runs: many(limits.batchItems, null) }, { runs: many(limits.batchItems + 1, null) }],
    [
      "renew",
      { ...signed, session: "s", runs: many(limits.watchedItems, null) },
      { ...signed, session: "s", runs: many(limits.watchedItems + 1, null) },
    ],
    [
      "watch",
      { watched: many(limits.watchedItems, { type: "status", runId: "x", statuses: [] }), waitMs: 0 },
      { watched: many(limits.watchedItems + 1, { type: "status", runId: "x", statuses: [] }), waitMs: 0 },
    ],
    ["claim", claiming(100, 100), claiming(101, 100)],
    ["claim", claiming(1_000, 0), claiming(1_001, 0)],
    ["find", { limit: 200 }, { limit: 201 }],
    ["watch", { watched: [], waitMs: 0 }, { watched: [], waitMs: limits.waitMs + 1 }],
  ])("the items of %s are limited, and one more is refused with 400", async (verb, most, more) => {
    expect((await post(verb, JSON.stringify(most))).status).toBe(200);
    expect((await post(verb, JSON.stringify(more))).status).toBe(400);
  });
});

function claiming(versions: number, shards: number): object {
  const serves = Array.from({ length: versions }, (_, n) => ({ name: `n${n}`, versionId: "1" }));
  const shardKeys = Array.from({ length: shards }, (_, n) => `s${n}`);
  const who = { claimId: v7(), session: v7(), worker: "w" };
  return { ...who, serves, shardKeys, limit: 1, leaseMs: 1_000, waitMs: 0 };
}

describe("security headers", () => {
  const find = (more: Record<string, string>, body = "{}") => post("find", body, more);
  const cancel = JSON.stringify({ signals: [{ signalId: "s", runId: v7(), signal: { type: "cancel" } }] });
  const replies: Array<[number, string, () => Promise<Response>]> = [
    [200, "an answer", () => find({})],
    [400, "a bad request", () => find({}, "{")],
    [401, "no key", () => find({ authorization: "" })],
    [403, "a missing scope", () => post("signal", cancel, { authorization: reader })],
    [403, "another origin", () => find({ origin: "https://evil.example" })],
    [404, "an unknown path", () => post("destroy", "{}")],
    [404, "a path outside the API", () => fetch(`${url}/robots.txt`)],
    [405, "another method", () => fetch(`${url}/v1/find`)],
    [405, "a method on health", () => fetch(`${url}/health/live`, { method: "DELETE" })],
    [413, "an excess", () => find({}, " ".repeat(limits.requestBytes + 1))],
    [415, "another type", () => find({ "content-type": "text/plain" })],
    [200, "life", () => fetch(`${url}/health/live`)],
    [200, "readiness", () => fetch(`${url}/health/ready`)],
  ];

  it.each(replies)("security headers are set on %i: %s", async (status, _, ask) => {
    const reply = await ask();
    expect(reply.status).toBe(status);
    expect(securing(reply)).toEqual({
      "cache-control": "no-store",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
      "content-type": "application/json",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
    });
    await reply.text();
  });

  it("security headers of the page permit scripts and styles of the server itself only", async () => {
    const headers = securing(await fetch(url));
    expect(headers["content-security-policy"]).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
        "base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
    );
    expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "x-frame-options": "DENY" });
  });

  it("security headers are set on the refusal of another host", async () => {
    const reply = await raw(`POST /v1/find HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n`);
    expect(reply).toMatch(/^HTTP\/1\.1 403 [\s\S]*nosniff[\s\S]*FORBIDDEN_HOST/);
  });
});

/** All headers except those of the transfer. A header that reveals the server or permits other origins would show. */
function securing(reply: Response): Record<string, string> {
  const travel = new Set([
    "connection",
    "keep-alive",
    "content-length",
    "date",
    "allow",
    "www-authenticate",
    "transfer-encoding",
  ]);
  return Object.fromEntries([...reply.headers].filter(([name]) => !travel.has(name)));
}
