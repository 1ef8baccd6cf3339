/** How every storage counts queued and stalled runs and live workers. */

import { describe, expect, it } from "vitest";
import type { Run } from "../../packages/server/src/core/run.ts";
import type { Stats, StatsLimits } from "../../packages/server/src/storage/stats.ts";
import type { Storage } from "../../packages/server/src/storage/storage.ts";
import { next, queuedRun, runId, runningState } from "./records.ts";
import { registered } from "./workers.suite.ts";

const all: StatsLimits = { queues: 100, queued: 100, stalled: 100 };

/** In an order that every dialect has. */
export function ordered({ queues, stalled, workers }: Stats): Stats {
  const byText = <Item>(items: readonly Item[], key: (item: Item) => unknown) =>
    items.toSorted((left, right) => (JSON.stringify(key(left)) < JSON.stringify(key(right)) ? -1 : 1));
  return {
    queues: byText(queues, ({ namespace, name, versionId, shardKey }) => [namespace, name, versionId, shardKey]),
    stalled: byText(stalled, ({ namespace, name, versionId, reason }) => [namespace, name, versionId, reason]),
    workers: byText(workers, ({ namespace, session }) => [namespace, session]),
  };
}

/** Reverts migration 7 of SQLite to the schema of migration 6. */
export const sqliteBeforeStats: readonly string[] = [
  "DROP INDEX run_stalled",
  "DROP INDEX run_queued",
  "ALTER TABLE run DROP COLUMN queued_at",
  "ALTER TABLE run DROP COLUMN stall_reason",
  "CREATE INDEX run_queued ON run (namespace, name, version_id, shard_key, priority DESC, id) WHERE status = 'queued'",
];

/** Reverts migration 8 of PostgreSQL to the schema of migration 7. With the columns, their indexes are dropped. */
export const beforeStats = `
  ALTER TABLE aiki.run DROP COLUMN queued_at, DROP COLUMN stall_reason;
  CREATE INDEX run_queued
    ON aiki.run (namespace, name, version_id, (coalesce(shard_key, U&'\\0001')), priority DESC, id)
    WHERE status = 'queued';`;

/** Runs that stats must count even if an older version of Aiki recorded them. */
export const earlierRuns: Run[] = [
  queuedRun(1, { since: 5_000, lastError: { name: "E", message: '"since":7,"waits":"reason":"idle"\u0000\ud800' } }),
  queuedRun(2, {
    state: {
      status: "stalled",
      reason: "diverged",
      call: 'task:"reason":"idle"#0',
      unclaimed: ['"reason":"idle"\u0000\ud800'],
    },
  }),
];

const version = { namespace: "default", name: "order", versionId: "1.0.0" };

export const earlierStats: Stats = {
  queues: [{ ...version, shardKey: null, count: 1, since: 5_000 }],
  stalled: [{ ...version, reason: "diverged", count: 1 }],
  workers: [],
};

export function statsOf(storage: Storage): Promise<Stats> {
  return storage.read((reader) => reader.stats(0, all));
}

export function stats(storage: () => Storage, strangeNames: readonly string[]): void {
  const insert = (runs: Run[]) => storage().transaction((tx) => tx.insert(runs));
  const read = async (limits: Partial<StatsLimits> = {}, at = 0): Promise<Stats> =>
    ordered(await storage().read((reader) => reader.stats(at, { ...all, ...limits })));
  const queue = { ...version, shardKey: null };

  describe("stats", () => {
    it("an empty storage has no numbers", async () => {
      expect(await read()).toEqual({ queues: [], stalled: [], workers: [] });
    });

    it("every queue has the number of its runs and the earliest time at which one of them was queued", async () => {
      await insert([
        queuedRun(1, { since: 5_000 }),
        queuedRun(2, { since: 3_000, priority: -1 }),
        queuedRun(3, { since: 4_000, priority: 9 }),
        queuedRun(4, { since: 9_000, shardKey: "eu" }),
        queuedRun(5, { since: 8_000, shardKey: "us" }),
        queuedRun(6, { since: 7_000, versionId: "2.0.0" }),
        queuedRun(7, { since: 6_000, name: "ship" }),
        queuedRun(8, { since: 5_000, namespace: "team" }),
        queuedRun(9, { state: runningState() }),
        queuedRun(10, { name: "bill", state: { status: "scheduled", at: 9_000 } }),
      ]);
      expect((await read()).queues).toEqual([
        { ...queue, shardKey: "eu", count: 1, since: 9_000 },
        { ...queue, shardKey: "us", count: 1, since: 8_000 },
        { ...queue, count: 3, since: 3_000 },
        { ...queue, versionId: "2.0.0", count: 1, since: 7_000 },
        { ...queue, name: "ship", count: 1, since: 6_000 },
        { ...queue, namespace: "team", count: 1, since: 5_000 },
      ]);
    });

    it("a run counts while it is queued, from the time at which it became queued", async () => {
      const queued = queuedRun(1, { since: 5_000 });
      await insert([queued]);
      const running = next(queued, { state: runningState(), since: 6_000 });
      await storage().transaction((tx) => tx.save({ changes: [running], holds: [], entries: [] }));
      expect((await read()).queues).toEqual([]);
      const again = next(running.after, { state: queued.state, since: 7_000 });
      await storage().transaction((tx) => tx.save({ changes: [again], holds: [], entries: [] }));
      expect((await read()).queues).toEqual([{ ...queue, count: 1, since: 7_000 }]);
    });

    it("of a long queue the first runs are counted, in the order in which they are claimed", async () => {
      await insert([
        queuedRun(1, { since: 1_000, priority: -1 }),
        queuedRun(2, { since: 3_000 }),
        queuedRun(3, { since: 2_000 }),
        queuedRun(4, { since: 4_000, priority: 1 }),
      ]);
      expect((await read({ queued: 2 })).queues).toEqual([{ ...queue, count: 2, since: 3_000 }]);
      expect((await read({ queued: 3 })).queues).toEqual([{ ...queue, count: 3, since: 2_000 }]);
    });

    it("no more queues than the limit are counted, in the order of their names", async () => {
      await insert(["b", "a", "c"].map((name, n) => queuedRun(n, { name })));
      expect((await read({ queues: 2 })).queues.map(({ name }) => name)).toEqual(["a", "b"]);
    });

    it("stalled runs are counted by version and reason", async () => {
      const crashed = { status: "stalled", reason: "crash_loop", crashes: 6 } as const;
      const idle = { status: "stalled", reason: "idle", idleMs: 300_000 } as const;
      await insert([
        queuedRun(1, { state: crashed }),
        queuedRun(2, { state: crashed }),
        queuedRun(3, { state: idle }),
        queuedRun(4, { state: idle, name: "ship" }),
      ]);
      expect(await read()).toEqual({
        queues: [],
        stalled: [
          { ...version, reason: "crash_loop", count: 2 },
          { ...version, reason: "idle", count: 1 },
          { ...version, name: "ship", reason: "idle", count: 1 },
        ],
        workers: [],
      });
      expect((await read({ stalled: 3 })).stalled.reduce((sum, { count }) => sum + count, 0)).toBe(3);
    });

    it("a stalled run that continues is no longer counted", async () => {
      const stalled = queuedRun(1, { state: { status: "stalled", reason: "idle", idleMs: 1 } });
      await insert([stalled]);
      const ended = next(stalled, { state: { status: "cancelled" } });
      await storage().transaction((tx) => tx.save({ changes: [ended], holds: [], entries: [] }));
      expect((await read()).stalled).toEqual([]);
    });

    it("live workers of all namespaces are loaded as they were saved", async () => {
      const theirs = registered("b", { namespace: "team" });
      const gone = registered("c", { liveUntil: 0 });
      await storage().transaction((tx) => tx.saveWorkers([registered("a"), theirs, gone]));
      expect((await read({}, 1)).workers).toEqual([registered("a"), theirs]);
    });

    it("unusual names of queues stay distinct", async () => {
      const runs = strangeNames
        .filter((name) => name !== "")
        .flatMap((name, n) => [
          queuedRun(2 * n, { name, namespace: name, versionId: name, shardKey: name }),
          queuedRun(2 * n + 1, { name, namespace: name, versionId: name }),
        ]);
      await insert(runs);
      const { queues } = await read();
      expect(queues).toHaveLength(runs.length);
      expect(new Set(queues.map(({ name, shardKey }) => JSON.stringify([name, shardKey]))).size).toBe(runs.length);
    });

    it("a transaction counts what it has written", async () => {
      await storage().transaction(async (tx) => {
        await tx.insert([queuedRun(1, { id: runId(7) })]);
        expect((await tx.stats(0, all)).queues).toEqual([{ ...queue, count: 1, since: 1_001 }]);
      });
    });
  });
}
