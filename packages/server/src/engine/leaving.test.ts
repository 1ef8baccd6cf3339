import { describe, expect, it } from "vitest";
import { codes, only, rig, type TestSession, workerFields } from "../../test/rig.ts";
import { go, returned, sleeps, suspend } from "../../test/runs.ts";

async function leave(one: TestSession, runs: Array<{ runId: string; fence: number }> = []) {
  return (await one.api.renew({ session: one.session, ...workerFields, runs, leaving: true })).results;
}

describe("a session that leaves", () => {
  it("a session that leaves releases all its runs at once, and no crash is counted", async () => {
    const { openSession } = rig();
    const [one, other] = [openSession(), openSession()];
    const ids = [await one.start(), await one.start()];
    const runs = await one.claim();
    await one.report(runs[0] ?? only([]), go, { entries: [returned("task:a#0")] });
    expect(await leave(one)).toEqual([]);
    const claimed = await other.claim();
    expect(claimed.map(({ id, fence, lostLeases, isCached }) => ({ id, fence, lostLeases, isCached }))).toEqual(
      ids.map((id) => ({ id, fence: 2, lostLeases: 0, isCached: false })),
    );
    expect((await one.read(ids[0] ?? "")).entries).toHaveLength(1);
  });

  it("a session that leaves wakes a pending claim", async () => {
    const { openSession } = rig();
    const [one, other] = [openSession(), openSession()];
    const id = await one.start();
    await one.claimOne();
    const waiting = other.claim({ waitMs: 60_000 });
    await leave(one);
    expect(await waiting).toMatchObject([{ id }]);
  });

  it("a session that leaves releases runs of claims whose answers it did not receive", async () => {
    const { openSession, engine, env } = rig();
    const one = openSession();
    await one.start();
    await one.claimOne();
    await leave(one);
    await engine.start();
    await env.advance(100_000);
    expect((await openSession().claimOne()).lostLeases).toBe(0);
    await engine.close();
  });

  it("a report after its session has left is fenced and records nothing", async () => {
    const one = rig().openSession();
    const id = await one.start();
    const report = one.reporting(await one.claimOne(), go, { entries: [returned("task:a#0")] });
    await leave(one);
    expect(codes(await one.send(report))).toEqual(["FENCED"]);
    expect((await one.read(id)).entries).toEqual([]);
  });

  it("a session that leaves releases no run of another session or namespace", async () => {
    const { openSession, engine } = rig();
    const [one, other] = [openSession(), openSession()];
    const there = openSession("there");
    const ids = [await one.start(), await there.start()];
    await other.claimOne();
    await there.claimOne({ session: one.session });
    await leave(one);
    expect(await one.status(ids[0] ?? "")).toBe("running");
    expect(await there.status(ids[1] ?? "")).toBe("running");
    await engine.close();
  });

  it("a session that leaves releases runs with a pause request as paused", async () => {
    const one = rig().openSession();
    const id = await one.start();
    await one.claimOne();
    await one.signal(id, { type: "pause" });
    await leave(one);
    expect(await one.status(id)).toBe("paused");
    await one.signal(id, { type: "resume" });
    expect(await one.status(id)).toBe("queued");
  });

  it("a session that has left cannot reclaim a run that it suspended and names", async () => {
    const one = rig().openSession();
    const id = await one.start();
    const run = await one.claimOne();
    await one.report(run, suspend, { opens: [sleeps(60_000)] });
    const results = await leave(one, [{ runId: id, fence: run.fence }]);
    expect(results).toMatchObject([{ ok: false, code: "FENCED" }]);
    expect(await one.status(id)).toBe("sleeping");
    expect(await one.claim({ reclaim: [{ runId: id, fence: run.fence }] })).toEqual([]);
    await one.signal(id, { type: "wake" });
    expect(await one.claimOne()).toMatchObject({ isCached: false });
  });

  it("a session that leaves has runs replayed that may have been busy while suspended", async () => {
    const { openSession, engine, env } = rig();
    const one = openSession();
    const ids = [await one.start(), await one.start()];
    const [run, settled] = await one.claim();
    if (run === undefined || settled === undefined) throw new Error("The claim returned fewer than two runs.");
    await one.report(run, { type: "suspend", children: 0, mayBeBusyMs: 300_000 }, { opens: [sleeps(3_600_000)] });
    await one.report(settled, suspend, { opens: [sleeps(3_600_000)] });
    await leave(one);
    await engine.start();
    await env.advance(1_500);
    expect(await openSession().claim()).toMatchObject([{ id: run.id, isCached: false, lostLeases: 0 }]);
    expect(ids.toSorted()).toEqual([run.id, settled.id].toSorted());
    await engine.close();
  });

  it("a session that leaves receives RUN_NOT_FOUND for runs that no longer exist", async () => {
    const { openSession, env } = rig();
    expect(codes(await leave(openSession(), [{ runId: env.id(), fence: 1 }]))).toEqual(["RUN_NOT_FOUND"]);
  });

  it("a session that leaves releases 500 runs at a time, and a repeated call continues", async () => {
    const { openSession, storage } = rig();
    const one = openSession();
    await one.api.start({ runs: Array.from({ length: 1_000 }, () => one.spec()) });
    await one.api.start({ runs: Array.from({ length: 100 }, () => one.spec()) });
    await one.claim({ limit: 1_000 });
    await one.claim({ limit: 100 });
    storage.takeCounts();
    storage.faults.push("none", "before");
    await expect(leave(one)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(storage.takeCounts().updates).toBe(500);
    await leave(one);
    expect(storage.takeCounts()).toMatchObject({ updates: 600, transactions: 2 });
    expect(await openSession().claim({ limit: 1_000 })).toHaveLength(1_000);
  });

  it("a session may leave through another server, even if that has stale rows", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    const id = await one.start();
    await there.openSession().signal(id, { type: "event", name: "e" });
    await one.claimOne();
    const results = await there.api.renew({ session: one.session, ...workerFields, runs: [], leaving: true });
    expect(results.results).toEqual([]);
    expect(await one.status(id)).toBe("queued");
  });

  it("after a session has left, the next worker receives entries recorded through another server", async () => {
    const here = rig();
    const there = here.another();
    const one = there.openSession();
    const id = await one.start();
    const run = await one.claimOne();
    // The report does not write the row, so the other server's cached row has the old tail.
    const report = one.reporting(run, go, { entries: [returned("task:a#0")] });
    await here.api.report({ session: one.session, worker: "worker", reports: [report] });
    await leave(one);
    expect(await there.openSession().claimOne()).toMatchObject({ id, journal: [{ address: "task:a#0" }] });
  });

  it("after a session has left, its build is recorded, through whichever server it reported", async () => {
    const here = rig();
    const there = here.another();
    const one = there.openSession();
    await one.start();
    const { serves } = one.request();
    const run = only(await one.claim({ serves: serves.map((served) => ({ ...served, build: "b" })) }));
    const report = one.reporting(run, go, { entries: [returned("task:a#0")], build: "b" });
    await here.api.report({ session: one.session, worker: "worker", reports: [report] });
    await leave(one);
    expect((await there.openSession().claimOne()).build).toEqual({ id: "b", since: 0 });
  });
});
