import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { recordedTerminal } from "@aikirun/testing/recorded-terminal";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "../main.ts";
import { versionFindings } from "./command.ts";
import { clockFinding, machineFindings } from "./machine.ts";

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "aiki-doctor-"));
});
afterAll(() => rm(directory, { recursive: true, maxRetries: 3 }));

async function doctor(...args: string[]): Promise<{ status: number; out: string[]; err: string[] }> {
  const { terminal, out, err } = recordedTerminal();
  return { status: await main(["doctor", ...args], terminal), out, err };
}

async function answering(listener: RequestListener): Promise<{ url: string; close: () => Promise<void> }> {
  const other = createServer(listener);
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const address = other.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { url: `http://127.0.0.1:${port}`, close: () => new Promise((resolve) => other.close(() => resolve())) };
}

describe("aiki doctor", () => {
  it("a healthy server with a worker on a file has no error and no warning", async () => {
    const database = `sqlite:${join(directory, "aiki.db")}`;
    const aikiServer = await server({ database, logger: silentLogger });
    const { url } = await aikiServer.listen({ port: 0 });
    const empty = await doctor("--url", url, "--database", database);
    expect([empty.status, empty.out.at(-1)]).toEqual([0, "0 errors, 1 warning"]);
    const aiki = await client({ server: aikiServer, logger: silentLogger });
    const request = { claimId: randomUUID(), session: randomUUID(), worker: "w", shardKeys: [], limit: 1, waitMs: 0 };
    await aiki.api.claim({ ...request, serves: [{ name: "x", versionId: "1" }], leaseMs: 30_000 });
    const { status, out, err } = await doctor("--url", url, "--database", database);
    await aiki.close();
    await aikiServer.close();
    expect([status, err]).toEqual([0, []]);
    expect(out).toEqual([
      expect.stringMatching(/^✓ node +Node\.js \d+/),
      expect.stringMatching(/^✓ database +A server uses \S+aiki\.db \(process \d+ on .*\)\.$/),
      expect.stringMatching(/^✓ server +The server at \S+ is ready\.$/),
      "✓ workers   1 worker alive.",
      "✓ clocks    The clocks of this machine and the server agree within 2 s.",
      "Not checked: Redis (pass --redis or set AIKI_REDIS, if your servers use it).",
      "0 errors, 0 warnings",
    ]);
  });

  it("an error ends the command with status 1 and says what to do, also as JSON", async () => {
    const { url, close } = await answering(() => {});
    await close();
    const args = ["--url", url, "--redis", "redis://127.0.0.1:1", "--database", "memory:"];
    const { status, out, err } = await doctor(...args);
    expect([status, err]).toEqual([1, ["error: 2 errors, 1 warning."]]);
    expect(out).toContainEqual(expect.stringMatching(/^✗ server +No server answers at \S+ \(.*ECONNREFUSED/));
    expect(out).toContainEqual(expect.stringMatching(/^ +→ Start one with aiki server/));
    const json = await doctor(...args, "--json");
    const { findings } = JSON.parse(json.out.join("\n"));
    expect(json.status).toBe(1);
    expect(findings).toContainEqual(
      expect.objectContaining({ subject: "redis", level: "error", remedy: expect.any(String) }),
    );
  });

  it("a key that the server refuses is an error", async () => {
    const database = `sqlite:${join(directory, "keys.db")}`;
    const aikiServer = await server({ database, auth: true, logger: silentLogger });
    const { url } = await aikiServer.listen({ port: 0 });
    const { status, out } = await doctor("--url", url, "--database", database);
    await aikiServer.close();
    expect(status).toBe(1);
    expect(out).toContainEqual(expect.stringMatching(/^✗ workers +UNAUTHORIZED: /));
  });

  it.each([
    ["another program", 200, "<html>", /^✗ server +What answers at \S+ is not a server of Aiki/],
    ["a server without its database", 503, '{"error":{}}', /^✗ server .*cannot write to its database/],
  ])("%s is found", async (_, status, body, expected) => {
    const { url, close } = await answering((_, response) => response.writeHead(status).end(body));
    const { out } = await doctor("--url", `${url}/base`, "--database", "memory:");
    await close();
    expect(out).toContainEqual(expect.stringMatching(expected));
  });

  it("a server of another version is a warning", () => {
    expect(versionFindings("9.9.9")).toMatchObject([
      { level: "warning", message: expect.stringMatching(/^The server is version 9\.9\.9, and this command is /) },
    ]);
    expect(versionFindings("0.1.0")).toEqual([]);
  });

  it("an invalid url is refused, and its password is not shown", async () => {
    const { status, err } = await doctor("--url", "http://u:hunter2@h/");
    expect([status, err.join()]).toEqual([1, expect.stringMatching(/^error INVALID_CONFIG: .*\(option --url\)$/)]);
    expect(err.join()).not.toContain("hunter2");
  });
});

describe("the clocks and the machine", () => {
  const at = (aheadMs: number, uncertaintyMs = 500) => ({ aheadMs, uncertaintyMs });

  it.each([
    [at(2_400), undefined, "ok"],
    [at(2_600), undefined, "warning"],
    [at(-2_600), undefined, "warning"],
    [at(1_600), at(-1_600, 1), "warning"],
    [at(1_000), at(-1_000, 1), "ok"],
    [null, at(2_100, 200), "ok"],
    [null, at(2_100, 50), "warning"],
  ])("a server %j and a database %j give the level %s", (ofServer, ofDatabase, level) => {
    expect(clockFinding(ofServer, ofDatabase)?.level).toBe(level);
  });

  it("a clock that differs is named with its difference", () => {
    expect(clockFinding(at(90_000), at(-5_000))?.message).toBe(
      "The clocks of this machine, the server and the database differ: " +
        "the server is 1.5 min ahead of this machine, the database is 5 s behind this machine.",
    );
    expect(clockFinding(null, undefined)).toBeNull();
  });

  it.each([
    ["18.20.0", "error"],
    ["20.18.9", "error"],
    ["20.19.0", "ok"],
    ["24.1.0", "ok"],
  ])("Node.js %s gives the level %s", (version, level) => {
    expect(machineFindings(version)).toMatchObject([{ level }]);
  });
});
