/** The facts that the chaos test collects from processes and engines contain exactly the planted violation. */

import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { wakeUpGroup, wakeUpStreamLength } from "@aikirun/lib/protocol";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { noActions } from "../end-to-end/facts.ts";
import { run } from "../end-to-end/processes.ts";
import { testDatabase } from "../real/postgres.ts";
import { privateRedis } from "../real/redis.ts";
import { prng } from "../simulate/prng.ts";
import { openEngines } from "./engines.ts";
import { type ChaosFleet, loggedErrorsOf, type Member, openFleet } from "./fleet.ts";
import { openSessions, openStreams } from "./leftovers.ts";
import { startUsers } from "./users.ts";

const directory = await mkdtemp(join(tmpdir(), "aiki-collectors-"));
/** Milliseconds. */
const patience = { timeout: 20_000 };

const database = await testDatabase();
const redis = await privateRedis();
afterAll(async () => {
  await Promise.all([database?.drop(), redis?.kill()]);
  await rm(directory, { recursive: true, force: true });
});

function present<Engine>(engine: Engine | null): Engine {
  if (engine === null) throw new Error("The engine is missing.");
  return engine;
}

// If an engine is missing, `testDatabase` and `privateRedis` have printed a warning, or have thrown in CI.
describe.skipIf(database === null)("PostgreSQL after the chaos", () => {
  const open = (servers: number) => openSessions(present(database), servers);

  let sessions: Client[] = [];
  afterEach(async () => {
    await Promise.all(sessions.map((session) => session.end()));
    await expect.poll(() => open(0), patience).toEqual([]);
  });

  it.each([
    ["no idle session", 8, ["SELECT 1"], []],
    ["a transaction that is never ended", 1, ["BEGIN", "SELECT 1"], ["1 sessions are idle in transaction"]],
    ["a transaction that failed", 1, ["BEGIN", "SELECT 1 / 0"], ["1 sessions are idle in transaction (aborted)"]],
    ["more sessions than a server may have", 9, ["SELECT 1"], ["9 sessions for 1 servers"]],
    ["a lock that is held", 1, ["SELECT pg_advisory_lock(1)"], ["1 advisory locks are held"]],
  ])("openSessions reports %s", async (_, count, statements, lines) => {
    const params = { connectionString: present(database).url, application_name: "aiki" };
    sessions = Array.from({ length: count }, () => new Client(params));
    for (const session of sessions) {
      await session.connect();
      for (const statement of statements) await session.query(statement).catch(unlessMeant(statement));
    }
    expect(await open(1)).toEqual(lines);
  });
});

/** Ignores the division by zero, which is intended. */
function unlessMeant(statement: string): (thrown: unknown) => void {
  return (thrown) => {
    if (!statement.endsWith("/ 0")) throw thrown;
  };
}

describe.skipIf(redis === null)("Redis after the chaos", () => {
  const stream = "chaos:stream";
  const script = `for n = 1, ARGV[1] do redis.call("xadd", KEYS[1], "*", "run", n) end`;
  const publish = (times: number) => ["eval", script, 1, stream, times];
  const read = ["xreadgroup", "group", wakeUpGroup, "worker-1", "streams", stream, ">"];
  const readAndAcknowledge = [...read.slice(0, 4), "noack", ...read.slice(4)];

  beforeEach(async () => {
    await present(redis).send("flushall");
    await present(redis).send("xgroup", "create", stream, wakeUpGroup, "0", "mkstream");
  });

  it.each<[what: string, commands: Array<Array<string | number>>, lines: string[]]>([
    ["no stream whose messages were read", [publish(3), readAndAcknowledge], []],
    ["unread messages", [publish(1), readAndAcknowledge, publish(2)], [`2 of 3 messages of ${stream} are not read`]],
    ["unacknowledged messages", [publish(1), read], [`1 messages of ${stream} are not acknowledged`]],
    ["an unknown consumer group", [["xgroup", "create", stream, "others", "$"]], [`${stream} has a group others`]],
    [
      "consumers of workers that no longer exist",
      ["worker-1", "worker-2"].map((name) => ["xgroup", "createconsumer", stream, wakeUpGroup, name]),
      [`${stream} has 2 consumers for 1 workers`],
    ],
    [
      "a stream above its maximum length",
      [publish(wakeUpStreamLength + 1), readAndAcknowledge],
      [`${stream} holds ${wakeUpStreamLength + 1} messages`],
    ],
  ])("openStreams reports %s", async (_, commands, lines) => {
    for (const command of commands) await present(redis).send(...command);
    expect(await openStreams(present(redis), 1)).toEqual(lines);
  });
});

describe("a fleet", { timeout: 60_000 }, () => {
  let fleet: ChaosFleet;
  beforeAll(async () => {
    const engines = await openEngines("sqlite", directory);
    const witness = { ledger: join(directory, "effects"), sleeps: join(directory, "naps") };
    fleet = await openFleet({ engines, directory, witness, servers: 1, workers: 2 });
  }, 60_000);
  afterAll(() => fleet?.close());

  const member = (name: string): Member => {
    const found = fleet.members.find((one) => one.name === name);
    if (found === undefined) throw new Error(`There is no ${name}.`);
    return found;
  };

  it("a fleet reports a process that exits by itself, one that does not stop cleanly, and no other", async () => {
    const [killed, stopped, hanging] = ["worker-1", "worker-2", "server-1"].map(member);
    await killed?.kill();
    await killed?.start();
    expect(await stopped?.terminate()).toEqual({ code: 0, signal: null });
    expect(fleet.exits).toEqual([]);

    const { pid } = killed?.process ?? {};
    killed?.process?.signal("SIGKILL");
    const unexpected = `worker-1 (pid ${pid}) exited by itself with SIGKILL`;
    await expect.poll(() => fleet.exits, patience).toEqual([unexpected]);
    // The process is stopped, so it cannot exit before SIGKILL arrives.
    hanging?.process?.signal("SIGSTOP");
    const ending = hanging?.terminate();
    hanging?.process?.signal("SIGKILL");
    await ending;
    expect(fleet.exits).toEqual([unexpected, "server-1 received SIGTERM and exited with SIGKILL"]);
    expect(fleet.loggedErrors()).toEqual([]);
  });
});

describe("the output of a process", () => {
  beforeAll(() => {
    for (const name of ["NODE_NO_WARNINGS", "NODE_OPTIONS"]) vi.stubEnv(name, "");
  });
  afterAll(() => vi.unstubAllEnvs());

  it.each([
    ["a TypeError", "null.run()", /TypeError: /],
    ["an unhandled rejection", `void Promise.reject("lost")`, /Unhandled/],
    ["a warning of Node", `process.emitWarning("too many")`, /Warning: too many/],
    ["a fault of Aiki", `console.error("this is a fault of Aiki")`, /a fault of Aiki/],
  ])("loggedErrorsOf finds %s", async (_, code, line) => {
    const script = join(directory, "wrong.mjs");
    await writeFile(script, code);
    const process = run(script, {});
    await process.exited;
    expect(loggedErrorsOf(process).join("\n")).toMatch(line);
  });

  it("loggedErrorsOf ignores lines that faults explain", async () => {
    const script = join(directory, "well.mjs");
    await writeFile(script, `console.log("warning of a late worker"); console.error("lost LEASE_LOST")`);
    const process = run(script, {});
    await process.exited;
    expect(process.output).toMatch(/late worker/);
    expect(loggedErrorsOf(process)).toEqual([]);
  });
});

describe("users", () => {
  it("users report an error that no client should receive", async () => {
    const stranger = createServer((_, response) => response.writeHead(404).end()).listen(0, "127.0.0.1");
    await once(stranger, "listening");
    const address = stranger.address();
    const urls = [`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`];
    const users = await startUsers({ urls, prng: prng("users"), actions: noActions({}), count: 1 });
    try {
      await expect
        .poll(() => users.clientErrors, patience)
        .toEqual([expect.stringMatching(/^user-0-0 received BAD_REQUEST: /)]);
      expect([users.unfinished, users.finished]).toEqual([1, 0]);
    } finally {
      await users.close();
      stranger.close();
    }
  });
});
