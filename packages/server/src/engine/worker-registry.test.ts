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
    const server = rig();
    const otherServer = server.another();
    await server.env.advance(10_000);
    const session = server.openSession();
    const since = server.env.now();
    await session.claim({ ...serves, load: { slots: 10, busy: 3 } });
    await server.env.advance(soonMs);
    const listed = { session: session.id, worker: "worker", ...serves, load: { slots: 10, busy: 3 } };
    expect(await workers(otherServer)).toEqual([{ ...listed, since, seenAt: since }]);
    expect(await workers(server)).toEqual([{ ...listed, since, seenAt: since }]);
  });

  it("the explanation of a queued run says that no worker serves it, exactly until one does", async () => {
    const server = rig();
    const otherServer = server.another();
    const id = await otherServer.openSession().start({ versionId: "1.2.0", shardKey: "eu" });
    const session = server.openSession();
    await session.claim({ ...serves, shardKeys: ["us"] });
    await session.claim({ ...serves, shardKeys: [] });
    await server.env.advance(soonMs);
    expect(await explanation(otherServer, id)).toBe(unserved);
    await session.claim({ ...serves, limit: 1, serves: [{ name: "order", versionId: "1.1.0" }] });
    await server.env.advance(soonMs);
    expect(await explanation(otherServer, id)).toBe(unserved);
    await server
      .openSession()
      .claim({ ...serves, serves: [...serves.serves, { name: "other", versionId: "1" }], limit: 1 });
    await server.env.advance(soonMs);
    await otherServer.openSession().start({ versionId: "1.2.0", shardKey: "eu" });
    const { runs } = await otherServer.api.find({ status: ["queued"] });
    expect(runs.map((run) => run.explanation)).toEqual([served]);
    const { results } = await otherServer.api.watch({
      watched: [{ type: "status", runId: runs[0]?.id ?? "", statuses: ["queued"] }],
      waitMs: 0,
    });
    expect(results).toMatchObject([{ run: { explanation: served } }]);
  });

  it("a worker that leaves is removed at once by its server, and by others within a second", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    await session.claim();
    await server.env.advance(soonMs);
    expect(await names(otherServer)).toEqual(["worker"]);
    await server.api.renew({ session: session.id, ...workerFields, runs: [], leaving: true });
    expect(await names(server)).toEqual([]);
    await server.env.advance(1_000);
    expect(await names(otherServer)).toEqual([]);
  });

  it("a worker that leaves through another server is removed, even if the first had more to save", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    await session.claim();
    await otherServer.api.renew({ session: session.id, ...workerFields, runs: [], leaving: true });
    await server.env.advance(soonMs);
    expect([await names(server), await names(otherServer)]).toEqual([[], []]);
    // A claim and a heartbeat that arrive late.
    await session.claim();
    await server.api.renew({ session: session.id, ...workerFields, runs: [] });
    await server.env.advance(20_000);
    expect([await names(server), await names(otherServer)]).toEqual([[], []]);
  });

  it("a worker that crashes is removed 90 s after its last claim or heartbeat", async () => {
    const server = rig();
    const otherServer = server.another();
    await server.openSession().claim();
    await server.env.advance(89_000);
    expect([await names(server), await names(otherServer)]).toEqual([["worker"], ["worker"]]);
    await server.env.advance(soonMs);
    expect([await names(server), await names(otherServer)]).toEqual([[], []]);
  });

  it("a worker is listed for its whole lease if that is longer than 90 s", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    await session.claim({ leaseMs: 3_600_000 });
    await server.env.advance(3_590_000);
    expect([await names(server), await names(otherServer)]).toEqual([["worker"], ["worker"]]);
    await server.env.advance(10_000);
    expect([await names(server), await names(otherServer)]).toEqual([[], []]);
  });

  it("a worker that sends heartbeats to a second server is listed by a third", async () => {
    const server = rig();
    const [otherServer, thirdServer] = [server.another(), server.another()];
    const session = server.openSession();
    await session.claim({ ...serves, load: { slots: 2, busy: 1 } });
    const heartbeat = { session: session.id, ...workerFields, ...serves, runs: [], load: { slots: 2, busy: 2 } };
    for (let minute = 0; minute < 10; minute += 1) {
      await server.env.advance(60_000);
      await otherServer.api.renew(heartbeat);
    }
    await server.env.advance(soonMs);
    for (const each of [server, otherServer, thirdServer]) {
      expect(await workers(each)).toMatchObject([{ ...serves, worker: "worker", load: { slots: 2, busy: 2 } }]);
    }
  });

  it("a claim that only reclaims runs does not change what the worker serves", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    await session.claim(serves);
    await session.claim({ serves: [], shardKeys: [], reclaim: [] });
    await new TestSession(otherServer.api, otherServer.env, session.id).claim({
      serves: [],
      shardKeys: [],
      reclaim: [],
    });
    await server.env.advance(soonMs);
    for (const each of [server, otherServer]) expect(await workers(each)).toMatchObject([serves]);
  });

  it("a worker is listed by its own server at once, and not in another namespace", async () => {
    const server = rig();
    const theirs = server.openSession("theirs");
    const same = new TestSession(server.api, server.env, theirs.id);
    await theirs.claim({ worker: "b" });
    await server.openSession("theirs").claim({ worker: "a" });
    await same.claim({ worker: "mine" });
    for (let round = 0; round < 2; round += 1) {
      expect(await names(server)).toEqual(["mine"]);
      expect(await names(server, "theirs")).toEqual(["a", "b"]);
      await server.env.advance(soonMs);
    }
    await server.api.renew({ session: theirs.id, ...workerFields, runs: [], leaving: true });
    await server.env.advance(soonMs);
    expect([await names(server), await names(server, "theirs")]).toEqual([[], ["a", "b"]]);
  });
});

describe("saving workers", () => {
  it("workers are saved in one transaction, and then once in ten to fifteen seconds", async () => {
    const { env, openSession, storage } = rig();
    const fleet = Array.from({ length: 300 }, () => openSession());
    for (let second = 0; second < 60; second += 1) {
      await Promise.all(fleet.map((session) => session.claim()));
      await env.advance(1_000);
    }
    expect(storage.counts.workerSaves).toBeGreaterThanOrEqual(4);
    expect(storage.counts.workerSaves).toBeLessThanOrEqual(6);
  });

  it("more claims cause no more saves; a load is saved within 5 s, and listed here at once", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    await session.claim({ load: { slots: 1_000, busy: 0 } });
    await server.env.advance(soonMs);
    server.storage.takeCounts();
    for (let busy = 1; busy <= 100; busy += 1) {
      await session.start();
      const run = await session.claimOne({ load: { slots: 1_000, busy } });
      await session.report(run, complete);
      await server.env.advance(100);
    }
    expect(server.storage.takeCounts().workerSaves).toBeLessThanOrEqual(3);
    expect(await workers(server)).toMatchObject([{ load: { busy: 100 } }]);
    await server.env.advance(5_000);
    expect(await workers(otherServer)).toMatchObject([{ load: { busy: 100 } }]);
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
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    await session.start();
    await session.claimOne();
    server.storage.faults.push("during");
    await server.env.advance(soonMs);
    expect(await names(otherServer)).toEqual([]);
    expect(await names(server)).toEqual(["worker"]);
    await server.env.advance(5_000);
    expect(await names(otherServer)).toEqual(["worker"]);
  });

  it("close saves that workers have left", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    await session.claim();
    await server.env.advance(soonMs);
    await server.api.renew({ session: session.id, ...workerFields, runs: [], leaving: true });
    await server.engine.close();
    expect(await names(otherServer)).toEqual([]);
    expect(server.env.timers).toBe(0);
  });
});

describe("a suspended run that may be busy", () => {
  const suspended = async (server: EngineRig): Promise<{ session: TestSession; id: string }> => {
    const session = server.openSession();
    const id = await session.start();
    const run = await session.claimOne();
    await session.report(run, { type: "suspend", children: 0, mayBeBusyMs: 300_000 }, { opens: [awaits("never")] });
    await server.engine.start();
    return { session, id };
  };

  it("a suspended run that may be busy is replayed by another worker if its own one crashed", async () => {
    const server = rig();
    const { session, id } = await suspended(server);
    await server.env.advance(389_000);
    expect(await session.status(id)).toBe("awaiting_event");
    await server.env.advance(2_000);
    expect(await server.openSession().claimOne()).toMatchObject({ id, isCached: false, lostLeases: 0 });
    await server.engine.close();
  });

  it("a suspended run that may be busy stays with its worker while the worker lives", async () => {
    const server = rig();
    const { session, id } = await suspended(server);
    for (let passedMs = 0; passedMs < 480_000; passedMs += 30_000) {
      await session.api.renew({ session: session.id, ...workerFields, runs: [] });
      await server.env.advance(30_000);
    }
    await server.env.advance(600_000);
    expect(await session.status(id)).toBe("awaiting_event");
    await server.engine.close();
  });
});
