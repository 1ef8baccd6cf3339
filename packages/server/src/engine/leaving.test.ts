import { describe, expect, it } from "vitest";
import { codes, only, rig, type TestSession, workerFields } from "../../test/rig.ts";
import { go, returned, sleeps, suspend } from "../../test/runs.ts";

async function leave(session: TestSession, runs: Array<{ runId: string; fence: number }> = []) {
  return (await session.api.renew({ session: session.id, ...workerFields, runs, leaving: true })).results;
}

describe("a session that leaves", () => {
  it("a session that leaves releases all its runs at once, and no crash is counted", async () => {
    const { openSession } = rig();
    const [session, other] = [openSession(), openSession()];
    const ids = [await session.start(), await session.start()];
    const runs = await session.claim();
    await session.report(runs[0] ?? only([]), go, { entries: [returned("task:a#0")] });
    expect(await leave(session)).toEqual([]);
    const claimed = await other.claim();
    expect(claimed.map(({ id, fence, lostLeases, isCached }) => ({ id, fence, lostLeases, isCached }))).toEqual(
      ids.map((id) => ({ id, fence: 2, lostLeases: 0, isCached: false })),
    );
    expect((await session.read(ids[0] ?? "")).entries).toHaveLength(1);
  });

  it("a session that leaves wakes a pending claim", async () => {
    const { openSession } = rig();
    const [session, other] = [openSession(), openSession()];
    const id = await session.start();
    await session.claimOne();
    const waiting = other.claim({ waitMs: 60_000 });
    await leave(session);
    expect(await waiting).toMatchObject([{ id }]);
  });

  it("a session that leaves releases runs of claims whose answers it did not receive", async () => {
    const { openSession, engine, env } = rig();
    const session = openSession();
    await session.start();
    await session.claimOne();
    await leave(session);
    await engine.start();
    await env.advance(100_000);
    expect((await openSession().claimOne()).lostLeases).toBe(0);
    await engine.close();
  });

  it("a report after its session has left is fenced and records nothing", async () => {
    const session = rig().openSession();
    const id = await session.start();
    const report = session.reporting(await session.claimOne(), go, { entries: [returned("task:a#0")] });
    await leave(session);
    expect(codes(await session.send(report))).toEqual(["FENCED"]);
    expect((await session.read(id)).entries).toEqual([]);
  });

  it("a session that leaves releases no run of another session or namespace", async () => {
    const { openSession, engine } = rig();
    const [session, other] = [openSession(), openSession()];
    const otherNamespace = openSession("other");
    const ids = [await session.start(), await otherNamespace.start()];
    await other.claimOne();
    await otherNamespace.claimOne({ session: session.id });
    await leave(session);
    expect(await session.status(ids[0] ?? "")).toBe("running");
    expect(await otherNamespace.status(ids[1] ?? "")).toBe("running");
    await engine.close();
  });

  it("a session that leaves releases runs with a pause request as paused", async () => {
    const session = rig().openSession();
    const id = await session.start();
    await session.claimOne();
    await session.signal(id, { type: "pause" });
    await leave(session);
    expect(await session.status(id)).toBe("paused");
    await session.signal(id, { type: "resume" });
    expect(await session.status(id)).toBe("queued");
  });

  it("a session that has left cannot reclaim a run that it suspended and names", async () => {
    const session = rig().openSession();
    const id = await session.start();
    const run = await session.claimOne();
    await session.report(run, suspend, { opens: [sleeps(60_000)] });
    const results = await leave(session, [{ runId: id, fence: run.fence }]);
    expect(results).toMatchObject([{ ok: false, code: "FENCED" }]);
    expect(await session.status(id)).toBe("sleeping");
    expect(await session.claim({ reclaim: [{ runId: id, fence: run.fence }] })).toEqual([]);
    await session.signal(id, { type: "wake" });
    expect(await session.claimOne()).toMatchObject({ isCached: false });
  });

  it("when a session leaves, its suspended runs whose handlers may be busy are queued for a replay", async () => {
    const { openSession, engine, env } = rig();
    const session = openSession();
    const ids = [await session.start(), await session.start()];
    const [run, settled] = await session.claim();
    if (run === undefined || settled === undefined) throw new Error("The claim returned fewer than two runs.");
    await session.report(run, { type: "suspend", children: 0, mayBeBusyMs: 300_000 }, { opens: [sleeps(3_600_000)] });
    await session.report(settled, suspend, { opens: [sleeps(3_600_000)] });
    await leave(session);
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
    const session = openSession();
    await session.api.start({ runs: Array.from({ length: 1_000 }, () => session.spec()) });
    await session.api.start({ runs: Array.from({ length: 100 }, () => session.spec()) });
    await session.claim({ limit: 1_000 });
    await session.claim({ limit: 100 });
    storage.takeCounts();
    storage.faults.push("none", "before");
    await expect(leave(session)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(storage.takeCounts().updates).toBe(500);
    await leave(session);
    expect(storage.takeCounts()).toMatchObject({ updates: 600, transactions: 2 });
    expect(await openSession().claim({ limit: 1_000 })).toHaveLength(1_000);
  });

  it("a session may leave through another server, even if that server has stale rows", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    const id = await session.start();
    await otherServer.openSession().signal(id, { type: "event", name: "e" });
    await session.claimOne();
    const results = await otherServer.api.renew({ session: session.id, ...workerFields, runs: [], leaving: true });
    expect(results.results).toEqual([]);
    expect(await session.status(id)).toBe("queued");
  });

  it("after a session has left, the next worker receives entries recorded through another server", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = otherServer.openSession();
    const id = await session.start();
    const run = await session.claimOne();
    // The report does not write the row, so the other server's cached row has the old tail.
    const report = session.reporting(run, go, { entries: [returned("task:a#0")] });
    await server.api.report({ session: session.id, worker: "worker", reports: [report] });
    await leave(session);
    expect(await otherServer.openSession().claimOne()).toMatchObject({ id, journal: [{ address: "task:a#0" }] });
  });

  it("after a session has left, the next claim has its build, whichever server got its report", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = otherServer.openSession();
    await session.start();
    const { serves } = session.request();
    const run = only(await session.claim({ serves: serves.map((served) => ({ ...served, build: "b" })) }));
    const report = session.reporting(run, go, { entries: [returned("task:a#0")], build: "b" });
    await server.api.report({ session: session.id, worker: "worker", reports: [report] });
    await leave(session);
    expect((await otherServer.openSession().claimOne()).build).toEqual({ id: "b", since: 0 });
  });
});
