/** Optimistic commits on PostgreSQL: one statement writes the whole batch, or nothing and returns false. */

import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { slackMs } from "../../packages/server/src/storage/postgres/clock.ts";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import type { OptimisticBatch, OptimisticWriting, Storage } from "../../packages/server/src/storage/storage.ts";
import { testDatabase } from "../real/postgres.ts";
import { proxyTo } from "../real/proxy.ts";
import { next, queuedRun, returnedEntry, runId, runningState } from "./records.ts";

const database = await testDatabase();
afterAll(() => database?.drop());

describe.skipIf(database === null)("an optimistic commit", () => {
  if (database === null) return;
  const executed: string[] = [];
  let storage: Storage;
  let optimistic: OptimisticWriting;

  beforeEach(async () => {
    storage = await openPostgres({ url: database.url, connections: 3, observe: (sql) => executed.push(sql) });
    await database.sql("DELETE FROM aiki.run; DELETE FROM aiki.entry");
    optimistic = await optimisticOf(storage);
    executed.length = 0;
  });
  afterEach(() => storage.close());

  /** Reads first, so that the storage knows the clock of the database. */
  async function optimisticOf(opened: Storage): Promise<OptimisticWriting> {
    await opened.read(async (reader) => reader.now());
    if (opened.optimistic === undefined) throw new Error("This storage has no optimistic commit.");
    return opened.optimistic;
  }

  async function now(): Promise<number> {
    const known = optimistic.now();
    if (known !== null) return known.now;
    await storage.read(async (reader) => reader.now());
    return now();
  }

  /** Repeats a write if only its time was wrong, as happens on a busy machine. */
  async function write(batch: Partial<OptimisticBatch>): Promise<boolean> {
    const nothing = { fenceFloor: 0, inserts: [], changes: [], holds: [], entries: [] };
    for (let tries = 0; tries < 5; tries += 1) {
      if (await optimistic.write({ ...nothing, now: await now(), ...batch })) return true;
    }
    return false;
  }

  const stored = () => storage.read((reader) => reader.load([1, 2, 3, 4].map(runId)));
  const facts = async () =>
    (await stored()).map(({ id, revision, tail, state }) => [id, revision, tail, state.status]).sort();

  it("an optimistic commit writes starts, changes, holds and entries in one statement", async () => {
    expect(await write({ inserts: [queuedRun(1), queuedRun(2)] })).toBe(true);
    executed.length = 0;
    const batch = {
      fenceFloor: 0,
      inserts: [queuedRun(3)],
      changes: [next(queuedRun(1), { state: runningState(), tail: 1 })],
      holds: [{ id: runId(2), revision: 1 }],
      entries: [returnedEntry(runId(1), 1), returnedEntry(runId(2), 1)],
    };
    expect(await optimistic.write({ ...batch, now: await now() })).toBe(true);
    expect(executed.filter((sql) => !sql.includes("BEGIN") && !sql.startsWith("COMMIT"))).toHaveLength(1);
    expect(await facts()).toEqual([
      [runId(1), 2, 1, "running"],
      [runId(2), 1, 1, "queued"],
      [runId(3), 1, 0, "queued"],
    ]);
  });

  it("an optimistic commit inserts a run with the changes of the same batch", async () => {
    const run = queuedRun(1);
    const batch = { inserts: [run], changes: [next(run, { state: { status: "cancelled" } })] };
    expect(await write({ ...batch, entries: [returnedEntry(run.id, 1)] })).toBe(true);
    expect(await facts()).toEqual([[run.id, 2, 1, "cancelled"]]);
  });

  it("an empty optimistic commit sends no statement", async () => {
    expect(await optimistic.write({ now: 0, fenceFloor: 0, inserts: [], changes: [], holds: [], entries: [] })).toBe(
      true,
    );
    expect(executed).toEqual([]);
  });

  const standing = queuedRun(1, { referenceId: "o-1" });
  const other = queuedRun(2);
  const moved = { ...standing, revision: 7 };
  it.each<[string, Partial<OptimisticBatch>]>([
    ["a changed row is not at its revision", { changes: [next(moved, {}), next(other, {})] }],
    ["a held row is not at its revision", { holds: [moved, other], entries: [returnedEntry(other.id, 1)] }],
    ["a held row is not at its revision and another is changed", { changes: [next(other, {})], holds: [moved] }],
    ["a row does not exist", { changes: [next(queuedRun(9), {}), next(other, {})] }],
    ["an id is taken", { inserts: [queuedRun(3), { ...queuedRun(1), name: "another" }] }],
    ["a reference is taken", { inserts: [queuedRun(3), queuedRun(4, { referenceId: "o-1" })] }],
    ["a seq of the journal is taken", { changes: [next(other, {})], entries: [returnedEntry(standing.id, 1)] }],
    ["an address is taken", { changes: [next(other, {})], entries: [{ ...returnedEntry(standing.id, 1), seq: 2 }] }],
  ])("an optimistic commit writes nothing when %s", async (_, batch) => {
    expect(await write({ inserts: [standing, other], entries: [returnedEntry(standing.id, 1)] })).toBe(true);
    const before = await facts();
    expect(await write(batch)).toBe(false);
    expect(await facts()).toEqual(before);
  });

  it("an optimistic commit writes nothing if its time is ahead of the database's clock, or far behind", async () => {
    for (const wrong of [1_000, -slackMs - 1_000]) {
      const batch = { fenceFloor: 0, inserts: [queuedRun(1)], changes: [], holds: [], entries: [] };
      expect(await optimistic.write({ ...batch, now: (await now()) + wrong })).toBe(false);
    }
    expect(await facts()).toEqual([]);
  });

  it("the time of an optimistic commit is slightly behind the clock of the database, never ahead", async () => {
    for (let n = 0; n < 50; n += 1) {
      const known = await now();
      const read = await storage.read(async (reader) => reader.now());
      expect(read).toBeGreaterThanOrEqual(known);
      expect(read - known).toBeLessThan(5_000);
    }
  });

  it("an optimistic commit without a reply is retryable, and the retry writes nothing twice", async () => {
    const proxy = await proxyTo(database.url);
    const far = await openPostgres({ url: proxy.url, connections: 3 });
    try {
      const lossy = await optimisticOf(far);
      const batch = { fenceFloor: 0, inserts: [queuedRun(1)], changes: [], holds: [], entries: [] };
      proxy.loseReplyTo("INSERT INTO aiki.run");
      await expect(lossy.write({ ...batch, now: lossy.now()?.now ?? 0 })).rejects.toMatchObject({
        code: "STORAGE_UNAVAILABLE",
      });
      // The first write may have been applied or not.
      await write(batch);
      await expect.poll(facts).toEqual([[runId(1), 1, 0, "queued"]]);
    } finally {
      await far.close();
      await proxy.close();
    }
  });

  it("an optimistic commit is planned once for each connection, and again after the schema has changed", async () => {
    const run = queuedRun(1);
    expect(await write({ inserts: [run] })).toBe(true);
    const load = () => storage.transaction((transaction) => transaction.load([run.id]));
    await load();
    await database.sql("ALTER TABLE aiki.run ADD COLUMN added_later text");
    // Each connection may have an outdated plan; it is discarded when it first fails.
    await expect
      .poll(() =>
        load().then(
          (rows) => rows.length,
          () => 0,
        ),
      )
      .toBe(1);
    await database.sql("ALTER TABLE aiki.run DROP COLUMN added_later");
  });
});
