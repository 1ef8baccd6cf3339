import type { ClaimedRun } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { codes, type EngineRig, only, rig, type TestSession, workerFields } from "../../test/rig.ts";
import { awaits, complete, go, kinds, returned, sleeps, suspend } from "../../test/runs.ts";
import type { StorageFault } from "../../test/storage.ts";

async function held(one: TestSession, more: Parameters<TestSession["start"]>[0] = {}): Promise<ClaimedRun> {
  await one.start(more);
  return one.claimOne();
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
    const one = all.openSession();
    const spec = one.spec({ referenceId: "ref", inputHash: "h", input: "1" });
    expect(await twice(all, () => one.tryStart(spec))).toMatchObject({ ok: true, id: spec.id });
    expect((await all.api.find({})).runs).toHaveLength(1);
  });

  it(`after ${name}, a repeated claim gets the same runs, and no others`, async () => {
    const all = rig();
    const one = all.openSession();
    const ids = [await one.start(), await one.start()];
    const repeats: string[] = [];
    const runs = await twice(all, () => {
      const request = one.request({ limit: 1, repeats: [...repeats] });
      repeats.push(request.claimId);
      return one.claim(request);
    });
    expect(runs).toMatchObject([{ fence: fenceAfter[fault] }]);
    const running = await Promise.all(ids.map((id) => one.status(id)));
    expect(running.sort()).toEqual(["queued", "running"]);
  });

  it(`after ${name}, a repeated report is recorded once, and gets the first answer`, async () => {
    const all = rig();
    const one = all.openSession();
    const report = one.reporting(await held(one), go, { entries: [returned("task:a#0"), returned("task:b#0")] });
    const [result] = await twice(all, () => one.send(report));
    expect(result).toMatchObject({ ok: true, first: 1, tail: 2, entries: [], released: false });
    expect((await one.read(report.runId)).entries).toHaveLength(2);
  });

  it(`after ${name}, a repeated signal is applied once`, async () => {
    const all = rig();
    const one = all.openSession();
    const run = await held(one);
    await twice(all, () => one.signal(run.id, { type: "event", name: "paid" }, "signal-a"));
    const { entries } = await one.read(run.id);
    expect(kinds(entries)).toEqual(["arrived"]);
  });

  it(`after ${name}, every operation of a batch is applied once, and its callers see no failure`, async () => {
    const { storage, openSession, api } = rig();
    const one = openSession();
    const run = await held(one);
    // A server that has just scanned its queues relies on wake-ups.
    await one.claim();
    const waiting = await one.start();
    storage.faults.push(fault);
    const [report, claim, signal] = await Promise.all([
      one.send(one.reporting(run, go, { entries: [returned("task:a#0")] })),
      one.claim({ limit: 1 }),
      one.signal(run.id, { type: "event", name: "paid" }),
      one.start(),
    ]);
    expect(codes(report)).toEqual(["ok"]);
    expect(claim.map(({ id, fence }) => ({ id, fence }))).toEqual([{ id: waiting, fence: fenceAfter[fault] }]);
    expect(signal).toMatchObject({ ok: true });
    expect(kinds((await one.read(run.id)).entries)).toEqual(["returned", "arrived"]);
    expect((await api.find({})).runs).toHaveLength(3);
  });
});

describe("R8: an obstacle", () => {
  it.each(["revision", "address", "seq"] as const)(
    "a batch is decided again if another transaction changed a %s",
    async (kind) => {
      const { storage, openSession } = rig();
      const one = openSession();
      const run = await held(one);
      let left = 3;
      storage.obstruct = () => (left-- > 0 ? [{ runId: run.id, kind }] : []);
      await one.report(run, go, { entries: [returned("task:a#0")] });
      const { entries } = await one.read(run.id);
      expect(entries).toMatchObject([{ seq: 1, address: "task:a#0" }]);
    },
  );

  it("a run that cannot be written does not fail the others of its batch", async () => {
    const { storage, openSession } = rig();
    const one = openSession();
    const bad = await held(one);
    const good = await held(one);
    storage.obstruct = ({ changes }) =>
      changes.some(({ after }) => after.id === bad.id) ? [{ runId: bad.id, kind: "revision" }] : [];
    const [first, second] = await Promise.allSettled([one.report(bad, complete), one.report(good, complete)]);
    expect(first).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE" } });
    expect(second).toMatchObject({ status: "fulfilled", value: { released: true } });
    storage.obstruct = () => [];
    expect(await one.status(good.id)).toBe("completed");
    expect(await one.status(bad.id)).toBe("running");
  });
});

describe("a batch", () => {
  it("two callers of one batch with one reference id send one event", async () => {
    const { storage, openSession } = rig();
    const one = openSession();
    const id = await one.start();
    storage.takeCounts();
    const event = { type: "event", name: "paid", referenceId: "ref" } as const;
    const results = await Promise.all([one.signal(id, event), one.signal(id, event), one.signal(id, event)]);
    expect(codes(results)).toEqual(["ok", "ok", "ok"]);
    expect(kinds((await one.read(id)).entries)).toEqual(["arrived"]);
    expect(storage.takeCounts().transactions).toBeLessThanOrEqual(2);
  });

  it("a report is answered with entries of the same batch", async () => {
    const { openSession } = rig();
    const one = openSession();
    const run = await held(one);
    await one.report(run, go, { opens: [awaits("paid")] });
    const [, [answer]] = await Promise.all([
      one.signal(run.id, { type: "event", name: "paid", data: "1" }),
      one.send(one.reporting(run, suspend, { entries: [returned("task:a#0")] })),
    ]);
    expect(answer).toMatchObject({ ok: true, released: false, inbox: 1, first: 3, tail: 3 });
    expect(answer?.ok === true ? kinds(answer.entries) : []).toEqual(["arrived", "received"]);
  });

  it("a claimed run has the facts of its batch", async () => {
    const { openSession } = rig();
    const one = openSession();
    const id = await one.start();
    const [, [run]] = await Promise.all([one.signal(id, { type: "event", name: "paid" }), one.claim()]);
    expect(run).toMatchObject({ id, inbox: 1, journal: [{ seq: 1, value: { type: "arrived" } }] });
    expect(run).not.toHaveProperty("journalCutAt");
  });

  it("an unknown run is refused alone, and the others of the request are handled", async () => {
    const { openSession, api, env } = rig();
    const one = openSession();
    const run = await held(one);
    const unknown = { ...run, id: env.id() };
    const reports = await one.send(one.reporting(unknown, go), one.reporting(run, go, { entries: [returned("a:#0")] }));
    expect(codes(reports)).toEqual(["RUN_NOT_FOUND", "ok"]);
    const runs = [unknown, run].map(({ id, fence }) => ({ runId: id, fence }));
    expect(codes((await api.renew({ session: one.session, ...workerFields, runs })).results)).toEqual([
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
    const one = openSession();
    const run = await held(one);
    storage.takeCounts();
    const entries = [returned("task:a#0", "1"), returned("task:a#0", "2")];
    expect(codes(await one.send(one.reporting(run, go, { entries })))).toEqual(["BAD_REQUEST"]);
    expect(storage.takeCounts().transactions).toBe(1);
  });

  it("a batch is applied even if its observer throws", async () => {
    const { openSession, batches } = rig();
    batches.push = () => {
      throw new Error("No room.");
    };
    const one = openSession();
    expect(await one.tryStart(one.spec())).toMatchObject({ ok: true, created: true });
  });
});

describe("two servers on one database", () => {
  it("two servers decide from rows that the other has changed, and lose nothing", async () => {
    const here = rig();
    const there = here.another();
    const [one, two] = [here.openSession(), there.openSession()];
    const run = await held(one);
    await two.signal(run.id, { type: "event", name: "paid" });
    await one.report(run, go, { entries: [returned("task:a#0")] });
    await two.signal(run.id, { type: "event", name: "paid" });
    expect(kinds((await one.read(run.id)).entries)).toEqual(["arrived", "returned", "arrived"]);
  });

  it("two servers refuse a former holder whose run was claimed through the other", async () => {
    const here = rig();
    const there = here.another();
    await there.engine.start();
    const [one, two] = [here.openSession(), there.openSession()];
    const run = await held(one);
    await here.env.advance(100_000);
    const taken = await two.claimOne();
    expect(taken).toMatchObject({ id: run.id, fence: 2, lostLeases: 1 });
    const entries = [returned("task:a#0")];
    expect(codes(await one.send(one.reporting(run, go, { entries })))).toEqual(["FENCED"]);
    expect(codes(await one.send(one.reporting(run, go)))).toEqual(["FENCED"]);
    const fact = await two.read(run.id);
    expect(kinds(fact.entries)).toEqual(["recovered"]);
    await there.engine.close();
  });

  it("two servers claim what the other has queued, even if their own row is stale", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    const run = await held(one);
    await here.env.advance(5_000);
    const released = await there.api.report({
      session: one.session,
      worker: "worker",
      reports: [one.reporting(run, { type: "release", reason: "shutdown" })],
    });
    expect(codes(released.results)).toEqual(["ok"]);
    expect(await one.claimOne()).toMatchObject({ id: run.id, fence: 2 });
  });

  it("a server with a stale row does not answer from it if nothing would be written", async () => {
    const here = rig();
    const there = here.another();
    const [one, two] = [here.openSession(), there.openSession()];
    const id = await one.start();
    await one.signal(id, { type: "pause" });
    await two.signal(id, { type: "resume" });
    expect(await one.signal(id, { type: "pause" })).toMatchObject({ ok: true, status: "paused" });
    expect(await two.status(id)).toBe("paused");
  });

  it("a server with a stale row refuses only after it has loaded the row", async () => {
    const here = rig();
    const there = here.another();
    const [one, two] = [here.openSession(), there.openSession()];
    const run = await held(one);
    await there.api.report({
      session: one.session,
      worker: "worker",
      reports: [one.reporting(run, suspend, { opens: [sleeps(60_000)] })],
    });
    expect(await one.signal(run.id, { type: "wake" })).toMatchObject({ ok: true, status: "queued" });
    expect(await two.status(run.id)).toBe("queued");
  });

  it("a run that was suspended through one server can be reclaimed through another", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    const run = await held(one);
    await there.api.report({
      session: one.session,
      worker: "worker",
      reports: [one.reporting(run, suspend, { opens: [awaits("paid")] })],
    });
    const again = only(await one.claim({ reclaim: [{ runId: run.id, fence: 1 }] }));
    expect(again).toMatchObject({ id: run.id, fence: 2, isCached: true });
  });
});
