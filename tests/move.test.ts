/** Moving runs from one database to another. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import type { Entry } from "@aikirun/lib/protocol";
import { type Moved, type MoveParams, move, type Server, server } from "@aikirun/server";
import { task } from "@aikirun/task";
import { worker } from "@aikirun/worker";
import { event, workflow } from "@aikirun/workflow";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Run } from "../packages/server/src/core/run.ts";
import { openPostgres } from "../packages/server/src/storage/postgres/postgres.ts";
import { openSqlite } from "../packages/server/src/storage/sqlite/sqlite.ts";
import type { Storage } from "../packages/server/src/storage/storage.ts";
import type { MoverConfig } from "./mover-process.ts";
import { type TestDatabase, testDatabase } from "./real/postgres.ts";
import { proxyTo } from "./real/proxy.ts";
import { entryWith, queuedRun, runId, runningState, type StoredState } from "./suites/records.ts";

const found = await testDatabase();
afterAll(() => found?.drop());

describe.skipIf(found === null)("moving", { timeout: 60_000 }, () => {
  if (found === null) return;
  contents(found);
  refusals(found);
  interruptions(found);
  lives(found);
});

/** The files of one test, and an empty schema. */
function stand(database: TestDatabase): { file: (name: string) => string; toEnd: Array<() => unknown> } {
  let directory = "";
  const toEnd: Array<() => unknown> = [];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "aiki-move-"));
    await database.sql("DROP SCHEMA IF EXISTS aiki CASCADE");
  });
  afterEach(async () => {
    for (const end of toEnd.splice(0).reverse()) await end();
    await rm(directory, { recursive: true, maxRetries: 3 });
  });
  return { file: (name) => `sqlite:${join(directory, name)}`, toEnd };
}

function moving(from: string, to: string, more: Partial<MoveParams> = {}): Promise<Moved> {
  return move({ from, to, logger: silentLogger, ...more });
}

async function within<Result>(database: string, work: (storage: Storage) => Promise<Result>): Promise<Result> {
  const storage = database.startsWith("sqlite:")
    ? await openSqlite({ path: database.slice("sqlite:".length), env: { now: () => 1 } })
    : await openPostgres({ url: database, connections: 2 });
  try {
    return await work(storage);
  } finally {
    await storage.close();
  }
}

interface Everything {
  runs: Run[];
  entries: Entry[][];
}

function everythingIn(database: string): Promise<Everything> {
  return within(database, (storage) =>
    storage.read(async (reader) => {
      const runs = await reader.all(null, 100_000);
      const requests = runs.map(({ id }) => ({ runId: id, after: 0, limit: 100_000, bytes: 1e9 }));
      return { runs, entries: await reader.journal(requests) };
    }),
  );
}

async function countIn(database: string): Promise<number> {
  return (await everythingIn(database)).runs.length;
}

function filled(database: string, runs: Run[], entries: Entry[] = []): Promise<void> {
  return within(database, (storage) =>
    storage.transaction(async (tx) => {
      expect(await tx.insert(runs)).toHaveLength(runs.length);
      expect(await tx.save({ changes: [], holds: [], entries })).toEqual([]);
    }),
  );
}

const states: StoredState[] = [
  { status: "queued", resumable: null, redeliveries: 2, redeliverAt: 77 },
  { status: "sleeping", resumable: { session: "s", fence: 3, tail: 9, attempt: 2 }, children: 0 },
  runningState(),
  { status: "completed", output: '{"__proto__":1e21}' },
  { status: "completed" },
  { status: "failed", error: { name: "E", message: "nul\0 lone\ud800", cause: { name: "F", message: "" } } },
  { status: "stalled", reason: "diverged", call: "task:new#0", unclaimed: ["task:old#0"] },
];

/** Runs of every kind in two namespaces, some with more entries than one read returns. */
function population(): { runs: Run[]; entries: Entry[] } {
  const runs = Array.from({ length: 230 }, (_, n) =>
    queuedRun(n, {
      namespace: n % 3 === 0 ? "other" : "default",
      shardKey: n % 2 === 0 ? "eu" : null,
      priority: n % 5,
      referenceId: n % 7 === 0 ? `r-${n}\0` : null,
      input: n % 11 === 0 ? null : JSON.stringify("é".repeat(n)),
      options: { tags: ["a", `\ud800${n}`] },
      parent: n % 13 === 0 ? { id: runId(1), address: "child#0" } : null,
      state: states[n % states.length] ?? { status: "completed" },
      dueAt: n % 4 === 0 ? null : 1_000_000 + n,
      timeoutAt: n % 9 === 0 ? 5 : null,
      waits: n % 7 === 1 ? [{ address: "sleep::#0", type: "sleep", openedAt: 0, until: 99 }] : [],
      events: new Map([
        ["__proto__", n % 6 === 5 ? { arrived: n, taken: 4, returned: [1, 3] } : { arrived: n, taken: 0 }],
      ]),
      build: n % 5 === 0 ? { id: "build-1", since: n } : null,
      revision: n,
      fence: n % 3,
    }),
  );
  const lengths = new Map([
    [0, 1],
    [60, 5_000],
    [61, 3],
    [120, 40],
    [229, 1_001],
  ]);
  const entries = [...lengths].flatMap(([n, length]) =>
    Array.from({ length }, (_, at) =>
      entryWith(
        runId(n),
        at + 1,
        { type: "returned", output: JSON.stringify(`${n} ${at}\u0001`) },
        { startedAt: at, ...(at % 2 === 0 ? {} : { callSite: { madeAfter: at, identity: `i${at}`, branch: "b" } }) },
      ),
    ),
  );
  return { runs, entries };
}

function contents(database: TestDatabase): void {
  const { file } = stand(database);

  it("move copies every run and entry exactly from SQLite to PostgreSQL and back, and counts them", async () => {
    const { runs, entries } = population();
    await filled(file("a.db"), runs, entries);
    const before = await everythingIn(file("a.db"));
    const parts: string[] = [];
    const there = await moving(file("a.db"), database.url, {
      onProgress: ({ part, runs }) => void parts.push(`${part} ${runs}`),
    });
    expect(there).toEqual({
      runs: 230,
      entries: 6_045,
      statuses: { queued: 33, sleeping: 33, running: 33, completed: 66, failed: 33, stalled: 32 },
      already: false,
    });
    const counts = [...Array.from({ length: 11 }, (_, page) => 20 * (page + 1)), 230];
    expect(parts).toEqual(["copying", "verifying"].flatMap((part) => counts.map((n) => `${part} ${n}`)));
    expect(await everythingIn(database.url)).toEqual(before);
    expect(await moving(database.url, file("b.db"))).toEqual(there);
    expect(await everythingIn(file("b.db"))).toEqual(before);
    expect(await everythingIn(file("a.db"))).toEqual(before);
  });

  it("move copies the fence floor", async () => {
    await filled(database.url, [queuedRun(1, { fence: 3 }), queuedRun(2, { fence: 12 })]);
    await database.sql("UPDATE aiki.identity SET fence_floor = 9");
    await moving(database.url, file("b.db"));
    const fences = async (of: string) => (await everythingIn(of)).runs.map(({ fence }) => fence);
    expect(await fences(file("b.db"))).toEqual([9, 12]);
    await database.sql("DELETE FROM aiki.run; UPDATE aiki.identity SET fence_floor = 10");
    await moving(file("b.db"), database.url);
    expect(await fences(database.url)).toEqual([9, 12]);
  });

  it("move does not copy workers", async () => {
    await filled(file("a.db"), [queuedRun(1)]);
    await within(file("a.db"), (storage) =>
      storage.transaction((tx) =>
        tx.saveWorkers([
          {
            namespace: "default",
            session: "s",
            worker: "w",
            serves: [],
            shardKeys: [],
            since: 1,
            seenAt: 1,
            liveUntil: 1e15,
          },
        ]),
      ),
    );
    await moving(file("a.db"), file("b.db"));
    expect(await within(file("b.db"), (storage) => storage.read((reader) => reader.workers("default", 0)))).toEqual([]);
  });
}

function refusals(database: TestDatabase): void {
  const { file, toEnd } = stand(database);

  it("move refuses invalid databases", async () => {
    await expect(moving("memory:", file("b.db"))).rejects.toMatchObject({ code: "INVALID_CONFIG" });
    await expect(moving(file("a.db"), "memory:")).rejects.toMatchObject({ code: "INVALID_CONFIG" });
    await expect(moving("mysql://x/y", file("b.db"))).rejects.toMatchObject({ code: "INVALID_CONFIG" });
    await expect(moving(file("a.db"), file("./a.db"))).rejects.toMatchObject({ code: "INVALID_CONFIG" });
    await expect(moving(database.url, `${database.url}?sslmode=disable`)).rejects.toMatchObject({
      code: "INVALID_CONFIG",
    });
  });

  it("move refuses a source without runs, and does not create a missing file", async () => {
    await expect(moving(file("missing.db"), database.url)).rejects.toMatchObject({ code: "MOVE_SOURCE_EMPTY" });
    await expect(moving(file("missing.db"), database.url)).rejects.toMatchObject({ code: "MOVE_SOURCE_EMPTY" });
    await expect(moving(database.url, file("b.db"))).rejects.toMatchObject({ code: "MOVE_SOURCE_EMPTY" });
  });

  it("move refuses a target with runs, names them, and does not change them", async () => {
    await filled(file("a.db"), [queuedRun(1), queuedRun(2)]);
    await filled(database.url, [queuedRun(1), queuedRun(3, { state: { status: "completed" } })]);
    const before = await everythingIn(database.url);
    await expect(moving(file("a.db"), database.url)).rejects.toMatchObject({
      code: "MOVE_TARGET_NOT_EMPTY",
      message: expect.stringMatching(/holds 2 runs \(1 queued, 1 completed\) with 0 entries/),
    });
    expect(await everythingIn(database.url)).toEqual(before);
  });

  it("move refuses a source that a server uses, on SQLite and PostgreSQL", async () => {
    for (const from of [file("a.db"), database.url]) {
      await filled(from, [queuedRun(1)]);
      const used = await server({ database: from, logger: silentLogger });
      const code = from === database.url ? "MOVE_SOURCE_IN_USE" : "DATABASE_LOCKED";
      await expect(moving(from, file("b.db"))).rejects.toMatchObject({ code });
      await used.close();
      expect(await countIn(file("b.db"))).toBe(0);
    }
  });

  it("move fails without an effect if a server has started on the source meanwhile", async () => {
    await filled(database.url, [queuedRun(1)]);
    const onProgress = async () => {
      const late = await server({ database: database.url, logger: silentLogger });
      toEnd.push(() => late.close());
    };
    const late = moving(database.url, file("b.db"), { onProgress });
    await expect(late).rejects.toMatchObject({ code: "MOVE_SOURCE_IN_USE" });
    expect(await countIn(file("b.db"))).toBe(0);
  });

  it.each([
    ["a row of the source", "UPDATE aiki.run SET revision = revision + 1"],
    ["an entry of the source", "UPDATE aiki.entry SET payload = '2'"],
    ["a missing run in the source", `DELETE FROM aiki.run WHERE id = '${runId(2)}'`],
    ["a new run in the source", copied("aiki.run", runId(9))],
  ])("move detects %s that changed meanwhile, and has no effect", async (_, change) => {
    await filled(
      database.url,
      [queuedRun(1), queuedRun(2)],
      [entryWith(runId(1), 1, { type: "returned", output: "1" })],
    );
    const onProgress: MoveParams["onProgress"] = async ({ part }) => {
      if (part === "copying") await database.sql(change);
    };
    const moved = moving(database.url, file("b.db"), { onProgress });
    await expect(moved).rejects.toMatchObject({ code: "MOVE_DIFFERS" });
    expect(await countIn(file("b.db"))).toBe(0);
  });

  it("move detects a run that was started in the target meanwhile", async () => {
    await filled(file("a.db"), [queuedRun(1), queuedRun(2)]);
    const onProgress: MoveParams["onProgress"] = async ({ part }) => {
      if (part === "copying") await filled(database.url, [queuedRun(9)]);
    };
    await expect(moving(file("a.db"), database.url, { onProgress })).rejects.toMatchObject({ code: "MOVE_DIFFERS" });
    expect((await everythingIn(database.url)).runs.map(({ id }) => id)).toEqual([runId(9)]);
  });
}

/** Copies the first row under another id. */
function copied(table: string, id: string): string {
  return `
    CREATE TEMPORARY TABLE one AS SELECT * FROM ${table} LIMIT 1;
    UPDATE one SET id = '${id}';
    INSERT INTO ${table} SELECT * FROM one`;
}

function interruptions(database: TestDatabase): void {
  const { file, toEnd } = stand(database);

  async function killed(config: MoverConfig): Promise<void> {
    const script = join(import.meta.dirname, "mover-process.ts");
    const node = ["--import", import.meta.resolve("tsx"), "--conditions=@aikirun/source", script];
    const child = spawn(process.execPath, [...node, JSON.stringify(config)], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    toEnd.push(() => child.kill("SIGKILL"));
    expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
  }

  it.each([
    ["copying", 100],
    ["verifying", 230],
  ] as const)("a move that is killed while %s leaves nothing behind and can be repeated", async (part, runs) => {
    const all = population();
    await filled(file("a.db"), all.runs, all.entries);
    const before = await everythingIn(file("a.db"));
    for (const to of [database.url, file("b.db")]) {
      await killed({ from: file("a.db"), to, killAt: { part, runs } });
      expect(await countIn(to)).toBe(0);
      expect(await moving(file("a.db"), to)).toMatchObject({ runs: 230, already: false });
      expect(await everythingIn(to)).toEqual(before);
    }
  });

  it("a move whose commit got no reply can be repeated, and reports that it was committed", async () => {
    const { runs, entries } = population();
    await filled(file("a.db"), runs, entries);
    await filled(database.url, []);
    const proxy = await proxyTo(database.url);
    toEnd.push(() => proxy.close());
    const onProgress: MoveParams["onProgress"] = ({ part, runs }) => {
      if (part === "verifying" && runs === 230) proxy.loseReplyTo("COMMIT\0");
    };
    const lost = moving(file("a.db"), proxy.url, { onProgress });
    await expect(lost).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
    expect(await moving(file("a.db"), database.url)).toMatchObject({ runs: 230, entries: 6_045, already: true });
  });
}

/** A workflow that runs in both databases and counts its effects. */
function lives(database: TestDatabase): void {
  const { file, toEnd } = stand(database);

  it("a run that was started on SQLite completes on PostgreSQL without repeating its effects", async () => {
    const charged: string[] = [];
    const charge = task({
      name: "charge",
      handler: async (order: string) => {
        charged.push(order);
        return `charged ${order}`;
      },
    });
    const version = workflow({ name: "order" }).v("1.0.0", {
      events: { approved: event<{ by: string }>() },
      async handler(run, order: string) {
        const receipt = await charge.start(run, order);
        const [approval] = await Promise.all([run.events.approved.wait(), run.sleep({ seconds: 2 })]);
        const again = await charge.start(run, `${order} again`);
        return [receipt, approval.by, again];
      },
    });

    async function live(where: string) {
      const aikiServer = await server({ database: where, logger: silentLogger });
      const aiki = await client({ server: aikiServer, logger: silentLogger });
      const hand = worker(aiki, { id: "worker-1" });
      hand.registry.add(version);
      await hand.start();
      const end = async () => {
        await hand.stop();
        await aiki.close();
        await aikiServer.close();
      };
      toEnd.push(end);
      return { aiki, end };
    }

    const before = await live(file("a.db"));
    const { id } = await version.start(before.aiki, "o-1", { referenceId: "o-1" });
    await before.aiki.runs.get(id).waitFor("awaiting_event");
    await before.end();
    await moving(file("a.db"), database.url);
    const after = await live(database.url);
    const handle = after.aiki.runs.get(id, version);
    expect((await version.start(after.aiki, "o-1", { referenceId: "o-1" })).id).toBe(id);
    await handle.events.approved.send({ by: "ada" });
    expect(await handle.result()).toEqual(["charged o-1", "ada", "charged o-1 again"]);
    expect(charged).toEqual(["o-1", "o-1 again"]);
    const entries = await everythingIn(database.url);
    expect(entries.runs.map(({ state }) => state.status)).toEqual(["completed"]);
  });

  it("a worker that runs during a move continues its run under the same fence", async () => {
    let begun = (): void => undefined;
    let finish = (): void => undefined;
    const isBegun = new Promise<void>((then) => {
      begun = then;
    });
    const gate = new Promise<void>((then) => {
      finish = then;
    });
    const fences: number[] = [];
    const slow = task({
      name: "slow",
      handler: async (_: null, { fence }) => {
        fences.push(fence);
        begun();
        await gate;
        return "done";
      },
    });
    const version = workflow({ name: "slow" }).v("1.0.0", { handler: (run, _: null) => slow.start(run, null) });
    let after: Server | null = null;
    toEnd.push(() => after?.close());
    const before = await server({ database: file("a.db"), logger: silentLogger });
    const { url, port } = await before.listen({ port: 0 });
    const aiki = await client({ url, logger: silentLogger });
    const hand = worker(aiki, { id: "worker-1" });
    hand.registry.add(version);
    await hand.start();
    toEnd.push(async () => {
      await hand.stop();
      await aiki.close();
    });
    const { id } = await version.start(aiki, null);
    await isBegun;
    await before.close();
    await moving(file("a.db"), database.url);
    after = await server({ database: database.url, logger: silentLogger });
    await after.listen({ port });
    finish();
    expect(await aiki.runs.get(id).result()).toBe("done");
    expect(fences).toEqual([1]);
  });
}
