import type { LiveWorker } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { type EngineRig, rig, TestSession, workerFields } from "../../test/rig.ts";
import { awaits, complete } from "../../test/runs.ts";

/** After this time a new worker is saved, and another server reads the registry again. Milliseconds. */
const soonMs = 1_500;

async function workers({ engine }: EngineRig, namespace = "default"): Promise<LiveWorker[]> {
  return (await engine.api(namespace).read({ runs: [], workers: true })).workers ?? [];
}

async function names(server: EngineRig, namespace = "default"): Promise<string[]> {
  return (await workers(server, namespace)).map(({ worker }) => worker);
}

async function explanation(server: EngineRig, id: string): Promise<string> {
  return (await server.openSession().read(id)).run.explanation;
}

const unserved = "Queued: no worker serves order@1.2.0 in shard eu.";
const served = "Queued: ready for the next free worker.";
const serves = { serves: [{ name: "order", versionId: "1.2.0" }], shardKeys: ["eu"] };

describe("a worker that calls one server", () => {
  it("another server lists a worker with what it serves and its load, by the database's clock", async () => {
    const here = rig();
    const there = here.another();
    await here.env.advance(10_000);
    const one = here.openSession();
    const since = here.env.now();
    await one.claim({ ...serves, load: { slots: 10, busy: 3 } });
    await here.env.advance(soonMs);
    const listed = { session: one.session, worker: "worker", ...serves, load: { slots: 10, busy: 3 } };
    expect(await workers(there)).toEqual([{ ...listed, since, seenAt: since }]);
    expect(await workers(here)).toEqual([{ ...listed, since, seenAt: since }]);
  });

  it("the explanation of a queued run says that no worker serves it, exactly until one does", async () => {
    const here = rig();
    const there = here.another();
    const id = await there.openSession().start({ versionId: "1.2.0", shardKey: "eu" });
    const one = here.openSession();
    await one.claim({ ...serves, shardKeys: ["us"] });
    await one.claim({ ...serves, shardKeys: [] });
    await here.env.advance(soonMs);
    expect(await explanation(there, id)).toBe(unserved);
    await one.claim({ ...serves, limit: 1, serves: [{ name: "order", versionId: "1.1.0" }] });
    await here.env.advance(soonMs);
    expect(await explanation(there, id)).toBe(unserved);
    await here
      .openSession()
      .claim({ ...serves, serves: [...serves.serves, { name: "other", versionId: "1" }], limit: 1 });
    await here.env.advance(soonMs);
    await there.openSession().start({ versionId: "1.2.0", shardKey: "eu" });
    const { runs } = await there.api.find({ status: ["queued"] });
    expect(runs.map((run) => run.explanation)).toEqual([served]);
    const { results } = await there.api.watch({
      watched: [{ type: "status", runId: runs[0]?.id ?? "", statuses: ["queued"] }],
      waitMs: 0,
    });
    expect(results).toMatchObject([{ run: { explanation: served } }]);
  });

  it("a worker that leaves is removed at once by its server, and by others within a second", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    await one.claim();
    await here.env.advance(soonMs);
    expect(await names(there)).toEqual(["worker"]);
    await here.api.renew({ session: one.session, ...workerFields, runs: [], leaving: true });
    expect(await names(here)).toEqual([]);
    await here.env.advance(1_000);
    expect(await names(there)).toEqual([]);
  });

  it("a worker that leaves through another server is removed, even if the first had more to save", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    await one.claim();
    await there.api.renew({ session: one.session, ...workerFields, runs: [], leaving: true });
    await here.env.advance(soonMs);
    expect([await names(here), await names(there)]).toEqual([[], []]);
    // A claim and a heartbeat that arrive late.
    await one.claim();
    await here.api.renew({ session: one.session, ...workerFields, runs: [] });
    await here.env.advance(20_000);
    expect([await names(here), await names(there)]).toEqual([[], []]);
  });

  it("a worker that crashes is removed 90 s after its last claim or heartbeat", async () => {
    const here = rig();
    const there = here.another();
    await here.openSession().claim();
    await here.env.advance(89_000);
    expect([await names(here), await names(there)]).toEqual([["worker"], ["worker"]]);
    await here.env.advance(soonMs);
    expect([await names(here), await names(there)]).toEqual([[], []]);
  });

  it("a worker is listed for its whole lease if that is longer than 90 s", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    await one.claim({ leaseMs: 3_600_000 });
    await here.env.advance(3_590_000);
    expect([await names(here), await names(there)]).toEqual([["worker"], ["worker"]]);
    await here.env.advance(10_000);
    expect([await names(here), await names(there)]).toEqual([[], []]);
  });

  it("a worker that sends heartbeats to a second server is listed by a third", async () => {
    const here = rig();
    const [there, elsewhere] = [here.another(), here.another()];
    const one = here.openSession();
    await one.claim({ ...serves, load: { slots: 2, busy: 1 } });
    const heartbeat = { session: one.session, ...workerFields, ...serves, runs: [], load: { slots: 2, busy: 2 } };
    for (let minute = 0; minute < 10; minute += 1) {
      await here.env.advance(60_000);
      await there.api.renew(heartbeat);
    }
    await here.env.advance(soonMs);
    for (const server of [here, there, elsewhere]) {
      expect(await workers(server)).toMatchObject([{ ...serves, worker: "worker", load: { slots: 2, busy: 2 } }]);
    }
  });

  it("a claim that only reclaims runs does not change what the worker serves", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    await one.claim(serves);
    await one.claim({ serves: [], shardKeys: [], reclaim: [] });
    await new TestSession(there.api, there.env, one.session).claim({ serves: [], shardKeys: [], reclaim: [] });
    await here.env.advance(soonMs);
    for (const server of [here, there]) expect(await workers(server)).toMatchObject([serves]);
  });

  it("a worker is listed by its own server at once, and not in another namespace", async () => {
    const here = rig();
    const theirs = here.openSession("theirs");
    const same = new TestSession(here.api, here.env, theirs.session);
    await theirs.claim({ worker: "b" });
    await here.openSession("theirs").claim({ worker: "a" });
    await same.claim({ worker: "mine" });
    for (let round = 0; round < 2; round += 1) {
      expect(await names(here)).toEqual(["mine"]);
      expect(await names(here, "theirs")).toEqual(["a", "b"]);
      await here.env.advance(soonMs);
    }
    await here.api.renew({ session: theirs.session, ...workerFields, runs: [], leaving: true });
    await here.env.advance(soonMs);
    expect([await names(here), await names(here, "theirs")]).toEqual([[], ["a", "b"]]);
  });
});

describe("saving workers", () => {
  it("workers are saved in one transaction, and then once in ten to fifteen seconds", async () => {
    const { env, openSession, storage } = rig();
    const fleet = Array.from({ length: 300 }, () => openSession());
    for (let second = 0; second < 60; second += 1) {
      await Promise.all(fleet.map((one) => one.claim()));
      await env.advance(1_000);
    }
    expect(storage.counts.workerSaves).toBeGreaterThanOrEqual(4);
    expect(storage.counts.workerSaves).toBeLessThanOrEqual(6);
  });

  it("more claims cause no more saves; a load is saved within 5 s, and listed here at once", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    await one.claim({ load: { slots: 1_000, busy: 0 } });
    await here.env.advance(soonMs);
    here.storage.takeCounts();
    for (let busy = 1; busy <= 100; busy += 1) {
      await one.start();
      const run = await one.claimOne({ load: { slots: 1_000, busy } });
      await one.report(run, complete);
      await here.env.advance(100);
    }
    expect(here.storage.takeCounts().workerSaves).toBeLessThanOrEqual(3);
    expect(await workers(here)).toMatchObject([{ load: { busy: 100 } }]);
    await here.env.advance(5_000);
    expect(await workers(there)).toMatchObject([{ load: { busy: 100 } }]);
  });

  it("nothing is saved while no worker calls, and workers are read once a second for all callers", async () => {
    const { env, openSession, storage, api } = rig();
    const id = await openSession().start();
    await openSession().claim({ serves: [{ name: "other", versionId: "1" }] });
    await env.advance(soonMs);
    storage.takeCounts();
    await env.advance(80_000);
    expect(storage.takeCounts().workerSaves).toBe(0);
    await Promise.all(Array.from({ length: 50 }, () => api.read({ runs: [], workers: true })));
    // Each call reads its (zero) runs, and one read of the workers serves all calls.
    expect(storage.takeCounts()).toMatchObject({ workerSaves: 0, transactions: 0, reads: 51 });
    await api.read({ runs: [{ runId: id }] });
    expect(storage.takeCounts().reads).toBe(1);
  });

  it("saving workers is repeated after a database failure, and no claim fails because of it", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    await one.start();
    await one.claimOne();
    here.storage.faults.push("during");
    await here.env.advance(soonMs);
    expect(await names(there)).toEqual([]);
    expect(await names(here)).toEqual(["worker"]);
    await here.env.advance(5_000);
    expect(await names(there)).toEqual(["worker"]);
  });

  it("close saves that workers have left", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    await one.claim();
    await here.env.advance(soonMs);
    await here.api.renew({ session: one.session, ...workerFields, runs: [], leaving: true });
    await here.engine.close();
    expect(await names(there)).toEqual([]);
    expect(here.env.timers).toBe(0);
  });
});

describe("a suspended run that may be busy", () => {
  const suspended = async (server: EngineRig): Promise<{ one: TestSession; id: string }> => {
    const one = server.openSession();
    const id = await one.start();
    const run = await one.claimOne();
    await one.report(run, { type: "suspend", children: 0, mayBeBusyMs: 300_000 }, { opens: [awaits("never")] });
    await server.engine.start();
    return { one, id };
  };

  it("a suspended run that may be busy is replayed by another worker if its own one crashed", async () => {
    const here = rig();
    const { one, id } = await suspended(here);
    await here.env.advance(389_000);
    expect(await one.status(id)).toBe("awaiting_event");
    await here.env.advance(2_000);
    expect(await here.openSession().claimOne()).toMatchObject({ id, isCached: false, lostLeases: 0 });
    await here.engine.close();
  });

  it("a suspended run that may be busy stays with its worker while that lives", async () => {
    const here = rig();
    const { one, id } = await suspended(here);
    for (let passedMs = 0; passedMs < 480_000; passedMs += 30_000) {
      await one.api.renew({ session: one.session, ...workerFields, runs: [] });
      await here.env.advance(30_000);
    }
    await here.env.advance(600_000);
    expect(await one.status(id)).toBe("awaiting_event");
    await here.engine.close();
  });
});
