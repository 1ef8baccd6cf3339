import type { ClaimedRun, NewEntry } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { only, rig, workerFields } from "../../test/rig.ts";
import { complete, go, returned, sleeps, suspend } from "../../test/runs.ts";

describe("database operations of one run", () => {
  it("a run with one task costs 3 commits and 4 row writes", async () => {
    const { storage, openSession } = rig();
    const session = openSession();
    await session.start();
    const run = await session.claimOne();
    await session.report(run, complete, { entries: [returned("task:charge#0")] });
    expect(storage.counts).toMatchObject({ transactions: 3, inserts: 1, updates: 2, entries: 1, loads: 0 });
  });

  it("a run with five steps costs 7 commits: 1 insert, 2 updates, 5 entries, and loads no row", async () => {
    const { storage, openSession } = rig();
    const session = openSession();
    await session.start();
    const run = await session.claimOne();
    for (let step = 1; step <= 4; step++) {
      await session.report(run, go, { entries: [returned(`task:t#${step}`)], after: step - 1 });
    }
    await session.report(run, complete, { entries: [returned("task:t#5")], after: 4 });
    expect(storage.counts).toMatchObject({ transactions: 7, inserts: 1, updates: 2, entries: 5, loads: 0 });
  });

  it("a report that only records entries locks the row and does not write it", async () => {
    const { storage, openSession } = rig();
    const session = openSession();
    const id = await session.start();
    const run = await session.claimOne();
    const before = (await session.read(id)).run.revision;
    await session.report(run, go, { entries: [returned("task:t#0")] });
    expect(storage.batches.at(-1)).toMatchObject({
      changes: [],
      holds: [{ id, revision: before }],
      entries: [{ seq: 1 }],
    });
    expect((await session.read(id)).run.revision).toBe(before);
  });

  it("recording the build costs no update if the claim named it", async () => {
    const { storage, openSession } = rig();
    const session = openSession();
    await session.start();
    const { serves } = session.request();
    const run = only(await session.claim({ serves: serves.map((served) => ({ ...served, build: "b" })) }));
    storage.takeCounts();
    for (const after of [0, 1]) {
      await session.report(run, go, { build: "b", entries: [returned(`task:t#${after}`)], after });
    }
    expect(storage.takeCounts()).toMatchObject({ updates: 0, entries: 2 });
  });

  it("recording the build costs one update in the first report, and none later", async () => {
    const { storage, openSession } = rig();
    const session = openSession();
    await session.start();
    const run = await session.claimOne();
    storage.takeCounts();
    await session.report(run, go, { build: "b", entries: [returned("task:t#0")] });
    expect(storage.takeCounts()).toMatchObject({ updates: 1, entries: 1 });
    await session.report(run, go, { build: "b", entries: [returned("task:t#1")], after: 1 });
    expect(storage.takeCounts()).toMatchObject({ updates: 0, entries: 1 });
  });

  it("a sleep costs one update each to suspend, wake and claim, and loads at most one row", async () => {
    const { storage, openSession, env, engine } = rig();
    await engine.start();
    const session = openSession();
    await session.start();
    const run = await session.claimOne();
    storage.takeCounts();
    await session.report(run, suspend, { opens: [sleeps(60_000)] });
    await env.advance(60_000);
    const [again] = await session.claim();
    expect(again).toMatchObject({ isCached: true, fence: 2, journal: [{ value: { type: "elapsed" } }] });
    const { loads, workerSaves, ...written } = storage.takeCounts();
    // The registry saved the worker at most twice: after its first claim, and after its second.
    expect(workerSaves).toBeLessThanOrEqual(2);
    expect(written).toMatchObject({ transactions: 3, updates: 3, entries: 1, inserts: 0 });
    expect(loads).toBeLessThanOrEqual(1);
    await engine.close();
  });
});

describe("database operations of a hundred runs", () => {
  const many = 100;
  const each = (make: (n: number) => NewEntry) => Array.from({ length: many }, (_, n) => make(n));

  it("a hundred runs at once share each commit", async () => {
    const { storage, openSession } = rig();
    const session = openSession();
    await Promise.all(Array.from({ length: many }, () => session.start()));
    expect(storage.takeCounts()).toMatchObject({ transactions: 1, inserts: many, updates: 0 });

    const runs: ClaimedRun[] = await session.claim({ limit: many });
    expect(storage.takeCounts()).toMatchObject({ transactions: 1, updates: many, loads: 0 });

    const entries = each((n) => returned(`task:t#${n}`));
    await Promise.all(runs.map((run, n) => session.report(run, complete, { entries: entries.slice(n, n + 1) })));
    expect(storage.takeCounts()).toMatchObject({ transactions: 1, updates: many, entries: many, loads: 0 });
    expect(storage.batches).toHaveLength(2);
  });

  it("a hundred runs are renewed in one commit", async () => {
    const { storage, openSession, api } = rig();
    const session = openSession();
    await Promise.all(Array.from({ length: many }, () => session.start()));
    const runs = await session.claim({ limit: many });
    storage.takeCounts();
    const { results } = await api.renew({
      session: session.id,
      ...workerFields,
      runs: runs.map(({ id, fence }) => ({ runId: id, fence })),
    });
    expect(results.every(({ ok }) => ok)).toBe(true);
    expect(storage.takeCounts()).toMatchObject({ transactions: 1, updates: many, loads: 0 });
  });
});
