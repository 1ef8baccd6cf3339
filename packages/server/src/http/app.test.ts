import { AikiError, silentLogger } from "@aikirun/lib";
import { type Api, limits, type StartRequest, verbs } from "@aikirun/lib/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonLogger } from "../log.ts";
import { admitAll } from "./admit.ts";
import { createApp, type Fetch } from "./app.ts";
import { countedBodies } from "./bodies.ts";
import { hostsAllowed } from "./origin.ts";
import type { HttpContext } from "./respond.ts";

const runId = "0190c0de-0000-7000-8000-000000000001";
const spec = { id: runId, name: "order", versionId: "1.0.0", input: "1" };

/** An Api that accepts all requests and keeps the starts; `overrides` replace verbs. */
function scripted(overrides: Partial<Api> = {}): { api: Api; starts: StartRequest[] } {
  const starts: StartRequest[] = [];
  const api: Api = {
    start: async (request) => {
      starts.push(request);
      return { results: request.runs.map(({ id }) => ({ ok: true, id, created: true })) };
    },
    claim: async () => ({ runs: [] }),
    report: async ({ reports }) => ({ results: reports.map(() => fenced) }),
    renew: async ({ runs }) => ({ results: runs.map(() => ({ ok: true, pause: false, inbox: 0 })) }),
    signal: async ({ signals }) => ({ results: signals.map(() => fenced) }),
    watch: async () => ({ results: [] }),
    find: async () => ({ runs: [] }),
    read: async ({ runs }) => ({ results: runs.map(() => fenced) }),
    ...overrides,
  };
  return { api, starts };
}

const fenced = { ok: false, code: "FENCED", message: "" } as const;

function app({ api = scripted().api, ...options }: Partial<HttpContext> & { api?: Api } = {}): Fetch {
  return createApp({
    basePath: "",
    admit: admitAll(api),
    hosts: hostsAllowed([]),
    ready: async () => {},
    bodies: countedBodies(),
    closing: new AbortController().signal,
    logger: silentLogger,
    id: () => "error-1",
    ...options,
  });
}

function post(
  path: string,
  body: string | Uint8Array<ArrayBuffer> | ReadableStream,
  headers: Record<string, string> = {},
): Request {
  const type = { "content-type": "application/json" };
  return new Request(`http://localhost:9090${path}`, {
    method: "POST",
    body,
    headers: { ...type, ...headers },
    duplex: "half",
  });
}

async function code(reply: Response): Promise<string> {
  const { error } = JSON.parse(await reply.text());
  return error.code;
}

describe("the verbs over HTTP", () => {
  it("a posted request reaches the Api, and its reply is returned", async () => {
    const { api, starts } = scripted();
    const reply = await app({ api })(post("/v1/start", JSON.stringify({ runs: [spec] })));
    expect(reply.status).toBe(200);
    expect(JSON.parse(await reply.text())).toEqual({ results: [{ ok: true, id: runId, created: true }] });
    expect(starts).toEqual([{ runs: [spec] }]);
  });

  it("an invalid item is refused at its position, and the others are handled", async () => {
    const { api, starts } = scripted();
    const runs = [{ ...spec, priority: 5_000 }, spec, null, { ...spec, surprise: 1 }];
    const reply = await app({ api })(post("/v1/start", JSON.stringify({ runs })));
    const { results } = JSON.parse(await reply.text());
    expect(results.map((result: { code?: string }) => result.code ?? "ok")).toEqual([
      "BAD_REQUEST",
      "ok",
      "BAD_REQUEST",
      "BAD_REQUEST",
    ]);
    expect(results[0].message).toContain("runs[0].priority");
    expect(starts).toEqual([{ runs: [spec] }]);
  });

  it("a payload over the limit in UTF-8 is refused as LIMIT_EXCEEDED", async () => {
    const input = JSON.stringify("é".repeat(limits.payloadBytes / 2));
    const reply = await app()(post("/v1/start", JSON.stringify({ runs: [{ ...spec, input }] })));
    expect(JSON.parse(await reply.text()).results[0].code).toBe("LIMIT_EXCEEDED");
  });

  it("payloads are passed on unchanged and unparsed", async () => {
    const { api, starts } = scripted();
    const input = '{"__proto__":{"a":1},  "n":1e21,"s":"\\u0000\\ud800", not even JSON';
    await app({ api })(post("/v1/start", JSON.stringify({ runs: [{ ...spec, input }] })));
    expect(starts[0]?.runs[0]?.input).toBe(input);
  });

  it("names that a database could not distinguish are refused", async () => {
    for (const name of ["", "a\0b", "a\ud800", "x".repeat(256)]) {
      const reply = await app()(post("/v1/start", JSON.stringify({ runs: [{ ...spec, name }] })));
      expect(JSON.parse(await reply.text()).results[0].code).toBe("BAD_REQUEST");
    }
    const reply = await app()(
      post("/v1/start", JSON.stringify({ runs: [{ ...spec, name: "constructor / 注文 #1 🎉" }] })),
    );
    expect(JSON.parse(await reply.text()).results[0].ok).toBe(true);
  });

  it("an invalid envelope is answered with 400 and its issues", async () => {
    for (const body of ["{}", "[]", "null", '{"runs":1}', '{"runs":[],"x":1}', '{"runs":[],"__proto__":{}}']) {
      const reply = await app()(post("/v1/start", body));
      expect(reply.status).toBe(400);
      const { error } = JSON.parse(await reply.text());
      expect(error.code).toBe("BAD_REQUEST");
      expect(error.issues.length).toBeGreaterThan(0);
    }
  });

  it("the engine's BAD_REQUEST becomes 400, and UNAVAILABLE becomes 503 with Retry-After", async () => {
    const find = (thrown: Error) => app({ api: scripted({ find: () => Promise.reject(thrown) }).api });
    const bad = await find(new AikiError("BAD_REQUEST", "The cursor is unknown."))(post("/v1/find", "{}"));
    expect(bad.status).toBe(400);
    const unavailable = await find(new AikiError("UNAVAILABLE", "Storage is unreachable."))(post("/v1/find", "{}"));
    expect([unavailable.status, unavailable.headers.get("retry-after")]).toEqual([503, "1"]);
  });

  it("an unexpected error becomes 500 with an id and without stack", async () => {
    const api = scripted({ find: () => Promise.reject(new Error("secret detail")) }).api;
    const reply = await app({ api })(post("/v1/find", "{}"));
    expect(reply.status).toBe(500);
    const body = await reply.text();
    expect(body).toContain("error-1");
    expect(body).not.toMatch(/secret detail|at .*\.ts/);
  });

  it.each<[string, unknown, object]>([
    ["an error", new TypeError("no field"), { name: "TypeError", message: "no field", stack: expect.any(String) }],
    ["a text", "broken", { name: "NonError", message: "string thrown: broken" }],
    ["nothing", undefined, { name: "NonError", message: "undefined thrown: undefined" }],
  ])("an unexpected error is logged with its id: %s", async (_, thrown, shown) => {
    const lines: string[] = [];
    const logger = jsonLogger({ destination: { write: (line) => lines.push(line) } });
    const api = scripted({ find: () => Promise.reject(thrown) }).api;
    await app({ api, logger })(post("/v1/find", "{}"));
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ level: "error", errorId: "error-1", error: shown }]);
  });
});

describe("invalid requests", () => {
  const cases: Array<[string, () => Request, number, string]> = [
    ["an unknown verb", () => post("/v1/destroy", "{}"), 404, "NOT_FOUND"],
    ["an unknown path", () => post("/constructor", "{}"), 404, "NOT_FOUND"],
    ["a GET on a verb", () => new Request("http://localhost/v1/start"), 405, "METHOD_NOT_ALLOWED"],
    ["a POST on the page", () => post("/", "{}"), 405, "METHOD_NOT_ALLOWED"],
    ["a form", () => post("/v1/start", "a=1", { "content-type": "text/plain" }), 415, "UNSUPPORTED_MEDIA_TYPE"],
    [
      "JSON in name only",
      () => post("/v1/start", "{}", { "content-type": "application/jsonp" }),
      415,
      "UNSUPPORTED_MEDIA_TYPE",
    ],
    ["broken JSON", () => post("/v1/start", '{"runs":['), 400, "BAD_REQUEST"],
    ["nothing", () => post("/v1/start", ""), 400, "BAD_REQUEST"],
    ["broken UTF-8", () => post("/v1/start", new Uint8Array([0x22, 0xff, 0x22])), 400, "BAD_REQUEST"],
    ["deep nesting", () => post("/v1/start", "[".repeat(50_000) + "]".repeat(50_000)), 400, "BAD_REQUEST"],
    ["a declared excess", () => post("/v1/start", "{}", { "content-length": "8000001" }), 413, "PAYLOAD_TOO_LARGE"],
    ["another host", () => post("/v1/start", "{}", { host: "evil.example" }), 403, "FORBIDDEN_HOST"],
    ["another origin", () => post("/v1/start", "{}", { origin: "http://evil.example" }), 403, "FORBIDDEN_ORIGIN"],
    ["a null origin", () => post("/v1/start", "{}", { origin: "null" }), 403, "FORBIDDEN_ORIGIN"],
    ["another port's origin", () => post("/v1/start", "{}", { origin: "http://localhost:1" }), 403, "FORBIDDEN_ORIGIN"],
  ];
  it.each(cases)("%s is refused with its own status", async (_, request, status, expected) => {
    const reply = await app()(request());
    expect([reply.status, await code(reply)]).toEqual([status, expected]);
  });

  it("a streamed body is cut off as soon as it exceeds the limit", async () => {
    let sent = 0;
    const endless = new ReadableStream({
      pull(controller) {
        sent += 1_000_000;
        controller.enqueue(new Uint8Array(1_000_000));
      },
    });
    const reply = await app()(post("/v1/start", endless));
    expect([reply.status, await code(reply)]).toEqual([413, "PAYLOAD_TOO_LARGE"]);
    expect(sent).toBeLessThan(limits.requestBytes + 4_000_000);
  });

  it("large bodies beyond the server's budget are refused as UNAVAILABLE; small ones are read", async () => {
    let answer = () => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const { api } = scripted({
      start: async ({ runs }) => {
        await answered;
        return { results: runs.map(({ id }) => ({ ok: true, id, created: true })) };
      },
    });
    const fetch = app({ api, bodies: countedBodies(3_000_000) });
    const body = JSON.stringify({ runs: [{ ...spec, input: JSON.stringify("x".repeat(1_900_000)) }] });
    const length = { "content-length": String(body.length) };
    const chunks = () => new Blob([body]).stream();
    const first = fetch(post("/v1/start", body, length));
    for (const request of [post("/v1/start", body, length), post("/v1/start", chunks())]) {
      const refused = await fetch(request);
      expect([refused.status, refused.headers.get("retry-after"), await code(refused)]).toEqual([
        503,
        "1",
        "UNAVAILABLE",
      ]);
    }
    expect((await fetch(post("/v1/find", "{}"))).status).toBe(200);
    answer();
    expect((await first).status).toBe(200);
    const large = (await Promise.all([fetch(post("/v1/start", chunks())), fetch(post("/v1/find", "{}"))])).map(
      ({ status }) => status,
    );
    expect(large).toEqual([200, 200]);
    expect((await fetch(post("/v1/start", body, length))).status).toBe(200);
  });

  it("an announced body that does not arrive uses none of the budget", async () => {
    const { api } = scripted({
      start: async ({ runs }) => ({ results: runs.map(({ id }) => ({ ok: true, id, created: true })) }),
    });
    const fetch = app({ api, bodies: countedBodies(3_000_000) });
    const body = JSON.stringify({ runs: [{ ...spec, input: JSON.stringify("x".repeat(1_900_000)) }] });
    const length = { "content-length": String(body.length) };
    const { readable, writable } = new TransformStream();
    const unanswered = fetch(post("/v1/start", readable, length));
    expect((await fetch(post("/v1/start", body, length))).status).toBe(200);
    await writable.close();
    expect((await unanswered).status).toBe(400);
  });

  it("hosts and origins of this machine, and those in allowedHosts, are served", async () => {
    const fetch = app({ hosts: hostsAllowed(["aiki.example.com"]) });
    for (const host of ["localhost:9090", "LOCALHOST", "127.0.0.1:1", "[::1]:9090", "aiki.example.com"]) {
      const reply = await fetch(post("/v1/find", "{}", { host, origin: `http://${host}` }));
      expect(reply.status).toBe(200);
    }
  });

  it("no body is answered with 5xx", async () => {
    const fetch = app();
    const almostValid = fc.record(
      {
        runs: fc.anything(),
        signals: fc.array(fc.record({ signalId: fc.string(), runId: fc.constant(runId), signal: fc.anything() })),
        reports: fc.array(fc.record({ runId: fc.constant(runId), entries: fc.anything(), next: fc.anything() })),
        watched: fc.anything(),
        session: fc.string(),
        worker: fc.string(),
        waitMs: fc.anything(),
        cursor: fc.anything(),
      },
      { requiredKeys: [] },
    );
    const body = fc.oneof(fc.string(), fc.json({ maxDepth: 6 }), almostValid.map(jsonOf));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...verbs), body, async (verb, text) => {
        const reply = await fetch(post(`/v1/${verb}`, text));
        expect([200, 400]).toContain(reply.status);
        JSON.parse(await reply.text());
      }),
      { numRuns: 600 },
    );
  });
});

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value, (_, part) => (typeof part === "bigint" ? `${part}` : part)) ?? "null";
  } catch {
    return "null";
  }
}

describe("long polls", () => {
  /** A claim that waits until its signal aborts. */
  function waiting(): { api: Api; begun: Promise<void>; aborted: Promise<void> } {
    let onBegun = () => {};
    let onAborted = () => {};
    const begun = new Promise<void>((resolve) => (onBegun = resolve));
    const aborted = new Promise<void>((resolve) => (onAborted = resolve));
    const claim: Api["claim"] = (_, options) =>
      new Promise((_resolve, reject) => {
        onBegun();
        options?.signal?.addEventListener("abort", () => {
          onAborted();
          reject(new AikiError("ABORTED", "The caller gave up."));
        });
      });
    return { api: scripted({ claim }).api, begun, aborted };
  }

  const body = JSON.stringify({
    claimId: "c",
    session: "s",
    worker: "w",
    serves: [],
    shardKeys: [],
    limit: 1,
    leaseMs: 1_000,
    waitMs: 60_000,
  });

  it("a client that disconnects aborts its call", async () => {
    const { api, begun, aborted } = waiting();
    const client = new AbortController();
    const request = new Request(post("/v1/claim", body), { signal: client.signal });
    const reply = app({ api })(request);
    await begun;
    client.abort();
    await aborted;
    expect((await reply).status).toBe(503);
  });

  it("a server that closes answers long polls", async () => {
    const { api, begun } = waiting();
    const closing = new AbortController();
    const fetch = app({ api, closing: closing.signal });
    const reply = fetch(post("/v1/claim", body));
    await begun;
    closing.abort();
    expect((await reply).status).toBe(503);
    expect((await fetch(post("/v1/find", "{}"))).status).toBe(503);
  });
});

describe("health checks, the root page and headers", () => {
  it("health checks say whether the server and storage answer, under any host", async () => {
    const probe = (path: string) => new Request(`http://10.0.0.7:9090${path}`);
    const unready = app({ ready: () => Promise.reject(new Error("disk failed")) });
    expect((await app()(probe("/health/live"))).status).toBe(200);
    const ready = await app()(probe("/health/ready"));
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({ status: "ready" });
    expect((await unready(probe("/health/live"))).status).toBe(200);
    expect((await unready(probe("/health/ready"))).status).toBe(503);
  });

  it("the root page and every page that a browser opens is the dashboard, below the base path too", async () => {
    const own = app({ basePath: "/x/y" });
    const html = { accept: "text/html,application/xhtml+xml" };
    for (const path of ["/", "/runs/1", "/x/y", "/x/y/", "/x/y/runs/1"]) {
      const reply = await own(new Request(`http://localhost${path}`, { headers: html }));
      expect([path, reply.status, reply.headers.get("content-type")]).toEqual([path, 200, "text/html; charset=utf-8"]);
      expect(await reply.text()).toContain('<head><base href="/x/y/">');
      expect(reply.headers.get("content-security-policy")).toContain("default-src 'none'; script-src 'self'");
    }
    const program = await own(new Request("http://localhost/runs/1", { headers: { accept: "application/json" } }));
    expect(program.status).toBe(404);
    const posted = await own(new Request("http://localhost/x/y/", { method: "POST" }));
    expect([posted.status, posted.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    const verb = new Request("http://localhost/x/y/v1/find", {
      method: "POST",
      body: "{}",
      headers: { "content-type": "application/json" },
    });
    expect((await own(verb)).status).toBe(200);
    expect((await own(new Request("http://localhost/x/y/health/live"))).status).toBe(200);
    expect((await own(new Request("http://localhost/x/v1/find", { method: "POST" }))).status).toBe(404);
  });

  it("a path that is no file of the dashboard reads no other file", async () => {
    for (const path of [
      "/assets/..%2f..%2fpackage.json",
      "/..%2findex.html",
      "/assets/",
      "/index.html/../x",
      "/icon",
    ]) {
      expect((await app()(new Request(`http://localhost${path}`))).status).toBe(404);
    }
    const rebound = new Request("http://evil.example/", { headers: { accept: "text/html" } });
    expect((await app()(rebound)).status).toBe(403);
  });

  it("every kind of reply has the security headers, and no CORS headers", async () => {
    const requests = [
      new Request("http://localhost/"),
      new Request("http://localhost/nothing"),
      post("/v1/find", "{}"),
      post("/v1/find", "{"),
    ];
    for (const request of requests) {
      const { headers } = await app()(request);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("referrer-policy")).toBe("no-referrer");
      expect(headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
      expect(headers.get("access-control-allow-origin")).toBeNull();
    }
  });
});
