/** What the chaos gathers from processes and engines holds the violation that was planted there, and nothing else. */

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
import { openSessions, openStreams } from "./aftermath.ts";
import { openEngines } from "./engines.ts";
import { alarmsOf, type ChaosFleet, gather, type Member } from "./fleet.ts";
import { invite } from "./users.ts";

const directory = await mkdtemp(join(tmpdir(), "aiki-collectors-"));
/** Milliseconds. */
const patience = { timeout: 20_000 };

const database = await testDatabase();
const redis = await privateRedis();
afterAll(async () => {
  await Promise.all([database?.drop(), redis?.kill()]);
  await rm(directory, { recursive: true, force: true });
});

function there<Engine>(engine: Engine | null): Engine {
  if (engine === null) throw new Error("The engine is not there.");
  return engine;
}

// Without them, `testDatabase` and `privateRedis` have said so loudly, and in CI they have thrown.
describe.skipIf(database === null)("PostgreSQL after the chaos", () => {
  const open = (servers: number) => openSessions(there(database), servers);

  let sessions: Client[] = [];
  afterEach(async () => {
    await Promise.all(sessions.map((session) => session.end()));
    await expect.poll(() => open(0), patience).toEqual([]);
  });

  it.each([
    ["nothing of sessions at rest", 8, ["SELECT 1"], []],
    ["a transaction that nobody ends", 1, ["BEGIN", "SELECT 1"], ["1 sessions are idle in transaction"]],
    ["one that failed", 1, ["BEGIN", "SELECT 1 / 0"], ["1 sessions are idle in transaction (aborted)"]],
    ["more sessions than a server may have", 9, ["SELECT 1"], ["9 sessions for 1 servers"]],
    ["a lock that is held", 1, ["SELECT pg_advisory_lock(1)"], ["1 advisory locks are held"]],
  ])("shows %s", async (_, count, statements, lines) => {
    const params = { connectionString: there(database).url, application_name: "aiki" };
    sessions = Array.from({ length: count }, () => new Client(params));
    for (const session of sessions) {
      await session.connect();
      for (const statement of statements) await session.query(statement).catch(unlessMeant(statement));
    }
    expect(await open(1)).toEqual(lines);
  });
});

/** A division by zero is a failure that was asked for. */
function unlessMeant(statement: string): (thrown: unknown) => void {
  return (thrown) => {
    if (!statement.endsWith("/ 0")) throw thrown;
  };
}

describe.skipIf(redis === null)("Redis after the chaos", () => {
  const stream = "chaos:stream";
  const ring = `for n = 1, ARGV[1] do redis.call("xadd", KEYS[1], "*", "run", n) end`;
  const ringing = (times: number) => ["eval", ring, 1, stream, times];
  const read = ["xreadgroup", "group", wakeUpGroup, "worker-1", "streams", stream, ">"];
  const readAndForget = [...read.slice(0, 4), "noack", ...read.slice(4)];

  beforeEach(async () => {
    await there(redis).send("flushall");
    await there(redis).send("xgroup", "create", stream, wakeUpGroup, "0", "mkstream");
  });

  it.each<[what: string, commands: Array<Array<string | number>>, lines: string[]]>([
    ["nothing of a stream that was read", [ringing(3), readAndForget], []],
    ["what nobody read", [ringing(1), readAndForget, ringing(2)], [`2 of 3 messages of ${stream} are not read`]],
    ["what nobody acknowledged", [ringing(1), read], [`1 messages of ${stream} are not acknowledged`]],
    ["a group of somebody else", [["xgroup", "create", stream, "others", "$"]], [`${stream} has a group others`]],
    [
      "readers that are no more",
      ["worker-1", "worker-2"].map((name) => ["xgroup", "createconsumer", stream, wakeUpGroup, name]),
      [`${stream} has 2 readers for 1 workers`],
    ],
    [
      "a stream that only grows",
      [ringing(wakeUpStreamLength + 1), readAndForget],
      [`${stream} holds ${wakeUpStreamLength + 1} messages`],
    ],
  ])("shows %s", async (_, commands, lines) => {
    for (const command of commands) await there(redis).send(...command);
    expect(await openStreams(there(redis), 1)).toEqual(lines);
  });
});

describe("a fleet", { timeout: 60_000 }, () => {
  let fleet: ChaosFleet;
  beforeAll(async () => {
    const engines = await openEngines("sqlite", directory);
    const witness = { ledger: join(directory, "effects"), naps: join(directory, "naps") };
    fleet = await gather({ engines, directory, witness, servers: 1, workers: 2 });
  }, 60_000);
  afterAll(() => fleet?.close());

  const member = (name: string): Member => {
    const found = fleet.members.find((one) => one.name === name);
    if (found === undefined) throw new Error(`There is no ${name}.`);
    return found;
  };

  it("tells of an end that nobody brought about, of one that was not clean, and of no other", async () => {
    const [killed, asked, slain] = ["worker-1", "worker-2", "server-1"].map(member);
    await killed?.kill();
    await killed?.start();
    expect(await asked?.ask()).toEqual({ code: 0, signal: null });
    expect(fleet.deaths).toEqual([]);

    const { pid } = killed?.process ?? {};
    killed?.process?.signal("SIGKILL");
    const death = `worker-1 (pid ${pid}) ended by itself with SIGKILL`;
    await expect.poll(() => fleet.deaths, patience).toEqual([death]);
    // It is stopped, so it cannot be quicker than the signal that ends it.
    slain?.process?.signal("SIGSTOP");
    const ending = slain?.ask();
    slain?.process?.signal("SIGKILL");
    await ending;
    expect(fleet.deaths).toEqual([death, "server-1 was asked to end, and ended with SIGKILL"]);
    expect(fleet.alarms()).toEqual([]);
  });
});

describe("a process that says that something is wrong with it", () => {
  beforeAll(() => {
    for (const name of ["NODE_NO_WARNINGS", "NODE_OPTIONS"]) vi.stubEnv(name, "");
  });
  afterAll(() => vi.unstubAllEnvs());

  it.each([
    ["an error that only a mistake throws", "null.run()", /TypeError: /],
    ["a rejection that nobody handles", `void Promise.reject("lost")`, /Unhandled/],
    ["a warning of Node's", `process.emitWarning("too many")`, /Warning: too many/],
    ["a failure that Aiki takes upon itself", `console.error("this is a fault of Aiki")`, /a fault of Aiki/],
  ])("is heard: %s", async (_, code, line) => {
    const script = join(directory, "wrong.mjs");
    await writeFile(script, code);
    const process = run(script, {});
    await process.exited;
    expect(alarmsOf(process).join("\n")).toMatch(line);
  });

  it("is heard, and not one that says how it is", async () => {
    const script = join(directory, "well.mjs");
    await writeFile(script, `console.log("warning of a late worker"); console.error("lost LEASE_LOST")`);
    const process = run(script, {});
    await process.exited;
    expect(process.output).toMatch(/late worker/);
    expect(alarmsOf(process)).toEqual([]);
  });
});

describe("users", () => {
  it("tell what no client should be told", async () => {
    const stranger = createServer((_, response) => response.writeHead(404).end()).listen(0, "127.0.0.1");
    await once(stranger, "listening");
    const address = stranger.address();
    const urls = [`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`];
    const users = await invite({ urls, prng: prng("users"), deeds: noActions({}), count: 1 });
    try {
      await expect
        .poll(() => users.surprises, patience)
        .toEqual([expect.stringMatching(/^user-0-0 was told BAD_REQUEST: /)]);
      expect([users.unfinished, users.finished]).toEqual([1, 0]);
    } finally {
      await users.close();
      stranger.close();
    }
  });
});
