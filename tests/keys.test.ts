/** `aiki keys` as operators use it: processes, pipes, and servers that run meanwhile. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { silentLogger } from "@aikirun/lib";
import { apiKeys, type Server, server } from "@aikirun/server";
import { v7 } from "uuid";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { Connection } from "../packages/server/src/storage/sqlite/connection.ts";
import { type Driver, loadDriver } from "../packages/server/src/storage/sqlite/driver.ts";
import { lockDatabase } from "../packages/server/src/storage/sqlite/lock.ts";
import { isSafe } from "../packages/server/src/storage/sqlite/open.ts";
import { testDatabase } from "./real/postgres.ts";

const bin = fileURLToPath(new URL("../packages/cli/bin/aiki.js", import.meta.url));
const maker = fileURLToPath(new URL("./suites/key-maker-process.ts", import.meta.url));
const shape = /^ak_[0-9A-Za-z]{11}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}\n$/;
const patience = { timeout: 30_000, interval: 100 };

const driver: Driver = await loadDriver();
const postgres = await testDatabase();
afterAll(() => postgres?.drop());

let directory = "";
let path = "";
const ends: Array<() => unknown> = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "aiki-keys-"));
  path = join(directory, "aiki.db");
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await rm(directory, { recursive: true, force: true, maxRetries: 5 });
});

interface CommandOutput {
  status: number | null;
  out: string;
  err: string;
}

interface StartedCommand {
  child: ChildProcess;
  result: Promise<CommandOutput>;
  /** The output so far. */
  output(): string;
}

function begin(args: string[], env: NodeJS.ProcessEnv = {}): StartedCommand {
  const options = { env: { ...process.env, ...env } };
  const child = spawn(process.execPath, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  ends.push(() => child.kill("SIGKILL"));
  const output = { out: "", err: "" };
  child.stdout.on("data", (chunk) => {
    output.out += String(chunk);
  });
  child.stderr.on("data", (chunk) => {
    output.err += String(chunk);
  });
  const result = new Promise<CommandOutput>((resolve) => {
    child.once("close", (status) => resolve({ status, ...output }));
  });
  return { child, result, output: () => output.out + output.err };
}

const aiki = (...args: string[]): Promise<CommandOutput> => begin([bin, "keys", ...args]).result;

async function serving(database: string): Promise<{ aikiServer: Server; status(key: string): Promise<number> }> {
  const aikiServer = await server({ database, auth: true, logger: silentLogger });
  ends.push(() => aikiServer.close());
  const { url } = await aikiServer.listen({ port: 0 });
  const status = async (key: string) => {
    const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
    return (await fetch(`${url}/v1/find`, { method: "POST", headers, body: "{}" })).status;
  };
  return { aikiServer, status };
}

/** Creates, lists and revokes keys in another process while a server runs. */
async function createsListsAndRevokes(database: string): Promise<void> {
  const { aikiServer, status } = await serving(database);
  const created = await aiki("create", "--name", "ci", "--expires-in", "90d", "--database", database);
  expect(created).toMatchObject({ status: 0, out: expect.stringMatching(shape) });
  const key = created.out.trim();
  const [, id = ""] = key.split("_");
  expect(created.err).toContain(`Key ${id} gives access to namespace default for runs:start,`);
  expect(created.err).not.toContain(key);
  expect(await status(key)).toBe(200);
  await expect.poll(async () => (await aikiServer.keys.list())[0]?.lastUsedAt).toBeGreaterThan(0);

  const listed = await aiki("list", "--database", database);
  expect(listed.out).toMatch(new RegExp(`${id} +ci +default .* ago +valid for 90 days +runs:start,`));
  expect(JSON.parse((await aiki("list", "--json", "--database", database)).out)).toMatchObject([{ id, name: "ci" }]);

  const revoked = await aiki("revoke", id, "--database", database);
  expect(revoked).toMatchObject({ status: 0, out: expect.stringContaining(`Key ${id} (ci) is revoked`) });
  await expect.poll(() => status(key), patience).toBe(401);
  expect((await aiki("list", "--database", database)).out).toMatch(/revoked .* ago/);
  expect(await aiki("revoke", "nobody", "--database", database)).toMatchObject({
    status: 1,
    err: expect.stringContaining("KEY_NOT_FOUND"),
  });
}

describe("aiki keys", { timeout: 60_000 }, () => {
  it("aiki keys creates keys for a namespace and scopes before the first server starts", async () => {
    const database = `sqlite:${path}`;
    const made = await aiki(
      "create",
      "--name",
      "n",
      "--namespace",
      "t",
      "--scopes",
      "admin,runs:read",
      "--database",
      database,
    );
    expect(made).toMatchObject({ status: 0, out: expect.stringMatching(shape) });
    const { aikiServer, status } = await serving(database);
    expect(await aikiServer.keys.list()).toMatchObject([{ namespace: "t", scopes: ["runs:read", "admin"] }]);
    expect(await status(made.out.trim())).toBe(200);
  });

  it.each([
    [["create"], "--name"],
    [["create", "--name", "n", "--scopes", "everything"], "Scopes are runs:start, "],
    [["create", "--name", "n", "--expires-in", "soon"], "Write 90d"],
    [["create", "--name", "n", "--expires-in", "0d"], "Write 90d"],
    [["revoke"], "missing required argument"],
  ])("aiki keys %j exits with 2 and prints what is wrong", async (args, sentence) => {
    expect(await aiki(...args)).toMatchObject({ status: 2, out: "", err: expect.stringContaining(sentence) });
  });

  it.skipIf(postgres === null)("aiki keys works while servers run on PostgreSQL", () =>
    createsListsAndRevokes(postgres?.url ?? ""),
  );
});

describe("aiki keys on a SQLite file that a server has open", { timeout: 60_000 }, () => {
  const version = String(new Connection(driver, ":memory:").first("SELECT sqlite_version() AS version")?.version);
  const isFixed = isSafe(version.split(".").map(Number));

  it.runIf(isFixed)("aiki keys works while a server has a SQLite file open, if both SQLite versions are safe", () =>
    createsListsAndRevokes(`sqlite:${path}`),
  );

  it.runIf(isFixed)("aiki keys and a server write to one SQLite file without damage", async () => {
    const database = `sqlite:${path}`;
    const { aikiServer, status } = await serving(database);
    let isDone = false;
    let started = 0;
    const load = async () => {
      while (!isDone) {
        const runs = Array.from({ length: 20 }, () => ({ id: v7(), name: "n", versionId: "1" }));
        const { results } = await aikiServer.api().start({ runs });
        started += results.filter(({ ok }) => ok).length;
      }
    };
    const made = begin(["--import", "tsx", "--conditions=@aikirun/source", maker, database, "100"]).result.finally(
      () => {
        isDone = true;
      },
    );
    const [{ out, err }] = await Promise.all([made, load(), load()]);
    expect([out, err]).toEqual([expect.stringMatching(shape), ""]);
    expect(await status(out.trim())).toBe(200);
    expect(await aikiServer.keys.list()).toHaveLength(100);
    expect(started).toBeGreaterThan(0);
    await aikiServer.close();
    const connection = new Connection(driver, path);
    expect(connection.pragma("integrity_check")).toBe("ok");
    expect(connection.first("SELECT count(*) AS count FROM run")).toMatchObject({ count: started });
    connection.close();
  });

  it.each([
    ["an older SQLite", { sqlite: "3.40.1" }, "SQLite 3.40.1 may damage"],
    ["another machine", { host: "elsewhere" }, "the server is on elsewhere"],
    ["an unknown server", { sqlite: "" }, "may damage"],
  ])("aiki keys refuses a SQLite file in use by %s, and prints what to do", async (_, holder, reason) => {
    await (await apiKeys({ database: `sqlite:${path}`, logger: silentLogger })).close();
    const lock = lockDatabase(driver, path);
    lock.release();
    const held = new Connection(driver, `${path}.lock`);
    for (const [column, value] of Object.entries(holder)) held.run(`UPDATE holder SET ${column} = ?`, value);
    held.script("BEGIN IMMEDIATE");
    ends.push(() => {
      held.rollBack();
      held.close();
    });
    await expect(apiKeys({ database: `sqlite:${path}`, logger: silentLogger })).rejects.toMatchObject({
      code: "DATABASE_LOCKED",
      message: expect.stringMatching(new RegExp(`${reason}.*Stop the server`)),
    });
  });
});

describe("aiki server", { timeout: 60_000 }, () => {
  const start = (args: string[], env: NodeJS.ProcessEnv = {}) =>
    begin([bin, "server", "--port", "0", "--database", "memory:", ...args], env);

  it.each([
    ["--auth", ["--auth"], {}],
    ["AIKI_AUTH", [], { AIKI_AUTH: "true" }],
  ])("aiki server requires keys with %s, and then binds any address", async (_, args, env) => {
    const { child, result, output } = start(["--host", "0.0.0.0", ...args], env);
    await expect.poll(output, patience).toMatch(/http:\/\/localhost:\d+/);
    const [url = ""] = /http:\/\/localhost:\d+/.exec(output()) ?? [];
    expect((await fetch(`${url}/v1/find`, { method: "POST", body: "{}" })).status).toBe(401);
    child.kill("SIGTERM");
    expect((await result).status).toBe(0);
  });

  it("aiki server without keys, or with an invalid AIKI_AUTH, binds only local addresses", async () => {
    expect(await start(["--host", "0.0.0.0"]).result).toMatchObject({
      status: 1,
      err: expect.stringContaining("auth: true"),
    });
    const misspelt = await start([], { AIKI_AUTH: "yes" }).result;
    expect(misspelt).toMatchObject({ status: 1, err: expect.stringContaining('AIKI_AUTH is "yes"') });
  });
});

it("aiki runs sends the key in AIKI_API_KEY", { timeout: 60_000 }, async () => {
  const aikiServer = await server({ database: "memory:", auth: true, logger: silentLogger });
  ends.push(() => aikiServer.close());
  const { url } = await aikiServer.listen({ port: 0 });
  const { secret } = await aikiServer.keys.create({ name: "operator", scopes: ["runs:read"] });
  const list = [bin, "runs", "list", "--url", url];
  expect(await begin(list, { AIKI_API_KEY: secret }).result).toMatchObject({ status: 0, out: "No runs match.\n" });
  expect(await begin(list).result).toMatchObject({ status: 1, err: expect.stringContaining("UNAUTHORIZED") });
});
