import type { ClaimedRun } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { codes, type EngineRig, only, rig, type TestSession, workerFields } from "../../test/rig.ts";
import { awaits, complete, go, kinds, returned, sleeps, suspend } from "../../test/runs.ts";
import type { StorageFault } from "../../test/storage.ts";

async function held(session: TestSession, more: Parameters<TestSession["start"]>[0] = {}): Promise<ClaimedRun> {
  await session.start(more);
  return session.claimOne();
}

/** The faults of a batch, and of each of its operations when they are repeated alone. */
const faults: Array<[string, Exclude<StorageFault, "none">]> = [
  ["a transaction that never began", "before"],
  ["a commit that failed", "during"],
  ["a commit whose answer was lost", "after"],
];

/** The fence of a run after its claim was repeated. */
const fenceAfter: Readonly<Record<Exclude<StorageFault, "none">, number>> = { before: 1, during: 1, after: 2 };

describe.each(faults)("after %s", (name, fault) => {
  async function twice<T>({ storage }: EngineRig, send: () => Promise<T>): Promise<T> {
    storage.faults.push(fault);
    await expect(send()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    return send();
  }

  it(`after ${name}, a repeated start makes one run`, async () => {
    const all = rig();
    const session = all.openSession();
    const spec = session.spec({ referenceId: "ref", inputHash: "h", input: "1" });
    expect(await twice(all, () => session.tryStart(spec))).toMatchObject({ ok: true, id: spec.id });
    expect((await all.api.find({})).runs).toHaveLength(1);
  });

  it(`after ${name}, a repeated claim gets the same runs, and no others`, async () => {
    const all = rig();
    const session = all.openSession();
    const ids = [await session.start(), await session.start()];
    const repeats: string[] = [];
    const runs = await twice(all, () => {
      const request = session.request({ limit: 1, repeats: [...repeats] });
      repeats.push(request.claimId);
      return session.claim(request);
    });
    expect(runs).toMatchObject([{ fence: fenceAfter[fault] }]);
    const running = await Promise.all(ids.map((id) => session.status(id)));
    expect(running.sort()).toEqual(["queued", "running"]);
  });

  it(`after ${name}, a repeated report is recorded once, and gets the first answer`, async () => {
    const all = rig();
    const session = all.openSession();
    const report = session.reporting(await held(session), go, {
      entries: [returned("task:a#0"), returned("task:b#0")],
    });
    const [result] = await twice(all, () => session.send(report));
    expect(result).toMatchObject({ ok: true, first: 1, tail: 2, entries: [], released: false });
    expect((await session.read(report.runId)).entries).toHaveLength(2);
  });

  it(`after ${name}, a repeated signal is applied once`, async () => {
    const all = rig();
    const session = all.openSession();
    const run = await held(session);
    await twice(all, () => session.signal(run.id, { type: "event", name: "paid" }, "signal-a"));
    const { entries } = await session.read(run.id);
    expect(kinds(entries)).toEqual(["arrived"]);
  });

  it(`after ${name}, every operation of a batch is applied once, and its callers see no failure`, async () => {
    const { storage, openSession, api } = rig();
    const session = openSession();
    const run = await held(session);
    // A server that has just scanned its queues relies on wake-ups.
    await session.claim();
    const waiting = await session.start();
    storage.faults.push(fault);
    const [report, claim, signal] = await Promise.all([
      session.send(session.reporting(run, go, { entries: [returned("task:a#0")] })),
      session.claim({ limit: 1 }),
      session.signal(run.id, { type: "event", name: "paid" }),
      session.start(),
    ]);
    expect(codes(report)).toEqual(["ok"]);
    expect(claim.map(({ id, fence }) => ({ id, fence }))).toEqual([{ id: waiting, fence: fenceAfter[fault] }]);
    expect(signal).toMatchObject({ ok: true });
    expect(kinds((await session.read(run.id)).entries)).toEqual(["returned", "arrived"]);
    expect((await api.find({})).runs).toHaveLength(3);
  });
});

describe("R8: an obstacle", () => {
  it.each(["revision", "address", "seq"] as const)(
    "a batch is decided again if another transaction changed a %s",
    async (kind) => {
      const { storage, openSession } = rig();
      const session = openSession();
      const run = await held(session);
      let left = 3;
      storage.obstruct = () => (left-- > 0 ? [{ runId: run.id, kind }] : []);
      await session.report(run, go, { entries: [returned("task:a#0")] });
      const { entries } = await session.read(run.id);
      expect(entries).toMatchObject([{ seq: 1, address: "task:a#0" }]);
    },
  );

  it("a run that cannot be written does not fail the others of its batch", async () => {
    const { storage, openSession } = rig();
    const session = openSession();
    const bad = await held(session);
    const good = await held(session);
    storage.obstruct = ({ changes }) =>
      changes.some(({ after }) => after.id === bad.id) ? [{ runId: bad.id, kind: "revision" }] : [];
    const [first, second] = await Promise.allSettled([session.report(bad, complete), session.report(good, complete)]);
    expect(first).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE" } });
    expect(second).toMatchObject({ status: "fulfilled", value: { released: true } });
    storage.obstruct = () => [];
    expect(await session.status(good.id)).toBe("completed");
    expect(await session.status(bad.id)).toBe("running");
  });
});

describe("a batch", () => {
  it("two callers of one batch with one reference id send one event", async () => {
    const { storage, openSession } = rig();
    const session = openSession();
    const id = await session.start();
    storage.takeCounts();
    const event = { type: "event", name: "paid", referenceId: "ref" } as const;
    const results = await Promise.all([
      session.signal(id, event),
      session.signal(id, event),
      session.signal(id, event),
    ]);
    expect(codes(results)).toEqual(["ok", "ok", "ok"]);
    expect(kinds((await session.read(id)).entries)).toEqual(["arrived"]);
    expect(storage.takeCounts().transactions).toBeLessThanOrEqual(2);
  });

  it("a report is answered with entries of the same batch", async () => {
    const { openSession } = rig();
    const session = openSession();
    const run = await held(session);
    await session.report(run, go, { opens: [awaits("paid")] });
    const [, [answer]] = await Promise.all([
      session.signal(run.id, { type: "event", name: "paid", data: "1" }),
      session.send(session.reporting(run, suspend, { entries: [returned("task:a#0")] })),
    ]);
    expect(answer).toMatchObject({ ok: true, released: false, inbox: 1, first: 3, tail: 3 });
    expect(answer?.ok === true ? kinds(answer.entries) : []).toEqual(["arrived", "received"]);
  });

  it("a claimed run has the facts of its batch", async () => {
    const { openSession } = rig();
    const session = openSession();
    const id = await session.start();
    const [, [run]] = await Promise.all([session.signal(id, { type: "event", name: "paid" }), session.claim()]);
    expect(run).toMatchObject({ id, inbox: 1, journal: [{ seq: 1, value: { type: "arrived" } }] });
    expect(run).not.toHaveProperty("journalCutAt");
  });

  it("an unknown run is refused alone, and the others of the request are handled", async () => {
    const { openSession, api, env } = rig();
    const session = openSession();
    const run = await held(session);
    const unknown = { ...run, id: env.id() };
    const reports = await session.send(
      session.reporting(unknown, go),
      session.reporting(run, go, { entries: [returned("a:#0")] }),
    );
    expect(codes(reports)).toEqual(["RUN_NOT_FOUND", "ok"]);
    const runs = [unknown, run].map(({ id, fence }) => ({ runId: id, fence }));
    expect(codes((await api.renew({ session: session.id, ...workerFields, runs })).results)).toEqual([
      "RUN_NOT_FOUND",
      "ok",
    ]);
    const signals = [unknown, run].map(({ id }) => ({
      signalId: env.id(),
      runId: id,
      signal: { type: "event", name: "paid" } as const,
    }));
    expect(codes((await api.signal({ signals })).results)).toEqual(["RUN_NOT_FOUND", "ok"]);
    expect(codes((await api.read({ runs: [{ runId: unknown.id }, { runId: run.id }] })).results)).toEqual([
      "RUN_NOT_FOUND",
      "ok",
    ]);
  });

  it("a report with two facts at one address is refused at once, without retries", async () => {
    const { storage, openSession } = rig();
    const session = openSession();
    const run = await held(session);
    storage.takeCounts();
    const entries = [returned("task:a#0", "1"), returned("task:a#0", "2")];
    expect(codes(await session.send(session.reporting(run, go, { entries })))).toEqual(["BAD_REQUEST"]);
    expect(storage.takeCounts().transactions).toBe(1);
  });

  it("a batch is applied even if its observer throws", async () => {
    const { openSession, batches } = rig();
    batches.push = () => {
      throw new Error("No room.");
    };
    const session = openSession();
    expect(await session.tryStart(session.spec())).toMatchObject({ ok: true, created: true });
  });
});

describe("two servers on one database", () => {
  it("two servers decide from rows that the other has changed, and lose nothing", async () => {
    const server = rig();
    const otherServer = server.another();
    const [session, otherSession] = [server.openSession(), otherServer.openSession()];
    const run = await held(session);
    await otherSession.signal(run.id, { type: "event", name: "paid" });
    await session.report(run, go, { entries: [returned("task:a#0")] });
    await otherSession.signal(run.id, { type: "event", name: "paid" });
    expect(kinds((await session.read(run.id)).entries)).toEqual(["arrived", "returned", "arrived"]);
  });

  it("two servers refuse a former holder whose run was claimed through the other", async () => {
    const server = rig();
    const otherServer = server.another();
    await otherServer.engine.start();
    const [session, otherSession] = [server.openSession(), otherServer.openSession()];
    const run = await held(session);
    await server.env.advance(100_000);
    const taken = await otherSession.claimOne();
    expect(taken).toMatchObject({ id: run.id, fence: 2, lostLeases: 1 });
    const entries = [returned("task:a#0")];
    expect(codes(await session.send(session.reporting(run, go, { entries })))).toEqual(["FENCED"]);
    expect(codes(await session.send(session.reporting(run, go)))).toEqual(["FENCED"]);
    const fact = await otherSession.read(run.id);
    expect(kinds(fact.entries)).toEqual(["recovered"]);
    await otherServer.engine.close();
  });

  it("two servers claim what the other has queued, even if their own row is stale", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    const run = await held(session);
    await server.env.advance(5_000);
    const released = await otherServer.api.report({
      session: session.id,
      worker: "worker",
      reports: [session.reporting(run, { type: "release", reason: "shutdown" })],
    });
    expect(codes(released.results)).toEqual(["ok"]);
    expect(await session.claimOne()).toMatchObject({ id: run.id, fence: 2 });
  });

  it("a server with a stale row does not answer from it if nothing would be written", async () => {
    const server = rig();
    const otherServer = server.another();
    const [session, otherSession] = [server.openSession(), otherServer.openSession()];
    const id = await session.start();
    await session.signal(id, { type: "pause" });
    await otherSession.signal(id, { type: "resume" });
    expect(await session.signal(id, { type: "pause" })).toMatchObject({ ok: true, status: "paused" });
    expect(await otherSession.status(id)).toBe("paused");
  });

  it("a server with a stale row refuses only after it has loaded the row", async () => {
    const server = rig();
    const otherServer = server.another();
    const [session, otherSession] = [server.openSession(), otherServer.openSession()];
    const run = await held(session);
    await otherServer.api.report({
      session: session.id,
      worker: "worker",
      reports: [session.reporting(run, suspend, { opens: [sleeps(60_000)] })],
    });
    expect(await session.signal(run.id, { type: "wake" })).toMatchObject({ ok: true, status: "queued" });
    expect(await otherSession.status(run.id)).toBe("queued");
  });

  it("a run that was suspended through one server can be reclaimed through another", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    const run = await held(session);
    await otherServer.api.report({
      session: session.id,
      worker: "worker",
      reports: [session.reporting(run, suspend, { opens: [awaits("paid")] })],
    });
    const again = only(await session.claim({ reclaim: [{ runId: run.id, fence: 1 }] }));
    expect(again).toMatchObject({ id: run.id, fence: 2, isCached: true });
  });
});
