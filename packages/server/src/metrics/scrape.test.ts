import { silentLogger } from "@aikirun/lib";
import type { Scope } from "@aikirun/lib/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { type Server, server } from "../server.ts";

let aiki: Server;

afterEach(() => aiki.close());

async function open(params: object = {}): Promise<Server> {
  aiki = await server({ database: "memory:", logger: silentLogger, ...params });
  return aiki;
}

async function start(namespace: string): Promise<void> {
  const id = `0190c0de-0000-7000-8000-00000000000${namespace.length}`;
  await aiki.api(namespace).start({ runs: [{ id, name: "order", versionId: "1.0.0" }] });
}

function scrape(url: string, secret?: string): Promise<Response> {
  const headers = secret === undefined ? {} : { authorization: `Bearer ${secret}` };
  return aiki.fetch(new Request(url, { headers }));
}

async function namespaces(reply: Response): Promise<string[]> {
  expect(reply.status).toBe(200);
  const text = await reply.text();
  return [...text.matchAll(/^aiki_runs_started_total\{namespace="(\w+)"/gm)].map(([, namespace = ""]) => namespace);
}

describe("GET /metrics", () => {
  it("a server without keys shows the metrics of all namespaces in the text format of Prometheus", async () => {
    await open();
    await start("default");
    await start("team");
    const reply = await scrape("http://localhost/metrics");
    expect(reply.headers.get("content-type")).toContain("text/plain; version=0.0.4");
    expect(await namespaces(reply)).toEqual(["default", "team"]);
  });

  it("a server without keys refuses a host that a page may have rebound", async () => {
    await open();
    expect((await scrape("http://evil.example/metrics")).status).toBe(403);
  });

  it.each<[Scope, string[] | number]>([
    ["metrics:read", ["default", "team"]],
    ["runs:read", ["team"]],
    ["admin", ["team"]],
    ["workers:run", 403],
    ["runs:start", 403],
  ])("a key of one namespace with the scope %s sees %j", async (scope, expected) => {
    await open({ auth: true });
    await start("default");
    await start("team");
    const { secret } = await aiki.keys.create({ name: "n", namespace: "team", scopes: [scope] });
    const reply = await scrape("http://localhost/metrics", secret);
    expect(typeof expected === "number" ? reply.status : await namespaces(reply)).toEqual(expected);
  });

  it("a server with keys refuses a request without one", async () => {
    await open({ auth: true });
    expect((await scrape("http://localhost/metrics")).status).toBe(401);
  });
});
