import type { Api, ClaimReply, ClaimRequest } from "@aikirun/lib/protocol";
import { settled } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { rig, type TestSession, workerFields } from "../../test/rig.ts";
import { awaits, complete, go, kinds, returned, sleeps, suspend } from "../../test/runs.ts";

/** Whether a promise is settled after everything that needs no timer. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  promise.then(
    () => {
      done = true;
    },
    () => {
      done = true;
    },
  );
  await settled();
  return done;
}

describe("a claim", () => {
  it("a claim gets the highest priority first, then the oldest", async () => {
    const session = rig().openSession();
    const ids = [
      await session.start(),
      await session.start({ priority: 5 }),
      await session.start(),
      await session.start({ priority: 5 }),
    ];
    const runs = await session.claim({ limit: 3 });
    expect(runs.map(({ id }) => id)).toEqual([ids[1], ids[3], ids[0]]);
    expect((await session.claim()).map(({ id }) => id)).toEqual([ids[2]]);
  });

  it("a claim after a restart gets the same order from storage", async () => {
    const before = rig();
    const session = before.openSession();
    const ids = [await session.start(), await session.start({ priority: 5 }), await session.start()];
    const runs = await before.another().openSession().claim();
    expect(runs.map(({ id }) => id)).toEqual([ids[1], ids[0], ids[2]]);
  });

  it("a claim gets runs of every version and shard that it serves, and of no other", async () => {
    const session = rig().openSession();
    const serves = [
      { name: "order", versionId: "1" },
      { name: "order", versionId: "2" },
    ];
    const v2 = await session.start({ versionId: "2" });
    const v1 = await session.start();
    await session.start({ versionId: "3" });
    await session.start({ name: "other" });
    const eu = await session.start({ shardKey: "eu" });
    const us = await session.start({ shardKey: "us", versionId: "2" });
    await session.start({ shardKey: "asia" });
    expect((await session.claim({ serves })).map(({ id }) => id).sort()).toEqual([v1, v2].sort());
    expect((await session.claim({ serves, shardKeys: ["eu", "us"] })).map(({ id }) => id)).toEqual([eu, us]);
    expect(await session.claim({ serves })).toEqual([]);
  });

  it("cached runs that are no longer queued do not delay a claim", async () => {
    const session = rig().openSession();
    const ids = [await session.start(), await session.start(), await session.start()];
    for (const id of ids.slice(0, 2)) {
      await session.signal(id, { type: "cancel" });
    }
    expect((await session.claim({ limit: 1 })).map(({ id }) => id)).toEqual(ids.slice(2));
  });

  it("reclaimed runs count towards the limit of a claim", async () => {
    const session = rig().openSession();
    await session.start();
    const run = await session.claimOne();
    await session.report(run, suspend, { opens: [awaits("paid")] });
    await session.start();
    const runs = await session.claim({ limit: 1, reclaim: [{ runId: run.id, fence: run.fence }] });
    expect(runs.map(({ id }) => id)).toEqual([run.id]);
  });

  it("a claim reclaims no run of another namespace, session or fence", async () => {
    const { openSession } = rig();
    const session = openSession();
    await session.start();
    const run = await session.claimOne();
    await session.report(run, suspend, { opens: [awaits("paid")] });
    const reclaim = [{ runId: run.id, fence: run.fence }];
    expect(await openSession().claim({ reclaim })).toEqual([]);
    expect(await openSession("other").claim({ reclaim, session: session.id })).toEqual([]);
    expect(await session.claim({ reclaim: [{ runId: run.id, fence: run.fence - 1 }] })).toEqual([]);
    expect(await session.status(run.id)).toBe("awaiting_event");
  });

  it("the session that suspended a run gets only its new entries, and another one gets all", async () => {
    const { openSession } = rig();
    const [session, otherSession] = [openSession(), openSession()];
    await session.start();
    const run = await session.claimOne();
    await session.report(run, suspend, {
      entries: [returned("task:a#0")],
      opens: [awaits("paid"), awaits("paid", null, "e#2")],
    });
    await session.signal(run.id, { type: "event", name: "paid" });
    const resumed = await session.claimOne();
    expect(resumed).toMatchObject({ isCached: true, inbox: 1 });
    expect(kinds(resumed.journal)).toEqual(["arrived", "received"]);
    await session.report(resumed, { type: "release", reason: "shutdown" });
    const uncached = await otherSession.claimOne();
    expect(uncached.isCached).toBe(false);
    expect(kinds(uncached.journal)).toEqual(["returned", "arrived", "received"]);
  });
});

/** A pending claim: no run is queued yet. */
async function pendingClaim(
  api: Api,
  session: TestSession,
): Promise<{ request: ClaimRequest; reply: Promise<ClaimReply> }> {
  const request = session.request({ waitMs: 20_000 });
  const reply = api.claim(request);
  await settled();
  return { request, reply };
}

describe("a claimed run", () => {
  const callSite = { madeAfter: 0, identity: "a", branch: "b" };
  const opens = [{ ...awaits("paid"), callSite }, sleeps(60_000)];

  it("a claimed run has its open waits and their call sites, in the order of opening", async () => {
    const session = rig().openSession();
    await session.start();
    await session.report(await session.claimOne(), { type: "release", reason: "shutdown" }, { opens });
    expect((await session.claimOne()).waits).toEqual([{ address: "event:paid#9", callSite }, { address: "sleep:#9" }]);
  });

  it("a claimed run whose execution is cached has no waits", async () => {
    const session = rig().openSession();
    const id = await session.start();
    await session.report(await session.claimOne(), suspend, { opens });
    await session.signal(id, { type: "wake" });
    expect(await session.claimOne()).toMatchObject({ isCached: true, waits: [] });
  });

  it("a claimed run has the build of its last report, and none before the first report", async () => {
    const session = rig().openSession();
    await session.start();
    const run = await session.claimOne();
    expect("build" in run).toBe(false);
    await session.report(
      run,
      { type: "release", reason: "shutdown" },
      { build: "b-1", entries: [returned("task:a#0")] },
    );
    const again = await session.claimOne();
    expect(again.build).toEqual({ id: "b-1", since: 0 });
    const more = { build: "b-2", entries: [returned("task:b#0")], after: 1 };
    await session.report(again, { type: "release", reason: "shutdown" }, more);
    expect((await session.claimOne()).build).toEqual({ id: "b-2", since: 1 });
  });
});

describe("a claim that repeats one whose answer was lost", () => {
  it("a repeated claim gets the same runs and journals under new fences", async () => {
    const { api, openSession } = rig();
    const session = openSession();
    await session.signal(await session.start(), { type: "event", name: "paid" });
    await session.start();
    await session.start();
    const request = session.request({ limit: 2 });
    const first = await api.claim(request);
    expect(first.runs).toHaveLength(2);
    const again = await session.claim({ limit: 2, repeats: [request.claimId] });
    expect(again).toEqual(first.runs.map((run) => ({ ...run, fence: 2 })));
    expect(await session.claim()).toHaveLength(1);
  });

  it("a repeated claim gets its runs through another server of the same session", async () => {
    const before = rig();
    const session = before.openSession();
    const after = before.another();
    const request = session.request({ limit: 1 });
    await after.api.claim(session.request());
    await session.start();
    await session.start();
    const [first] = (await before.api.claim(request)).runs;
    const again = session.request({ limit: 1, repeats: ["unknown", request.claimId] });
    expect((await after.api.claim(again)).runs).toEqual([{ ...first, fence: 2 }]);
  });

  it("the server of a lost claim cannot release what another server gave to its repeat", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    const controller = new AbortController();
    const request = session.request({ waitMs: 10_000 });
    const lost = server.api.claim(request, { signal: controller.signal });
    await settled();
    const id = await session.start();
    controller.abort();
    const again = await otherServer.api.claim(session.request({ repeats: [request.claimId] }));
    expect(await lost).toEqual({ runs: [] });
    const [run = await session.claimOne()] = again.runs;
    expect(run).toMatchObject({ id });
    expect(await session.report(run, complete)).toMatchObject({ ok: true });
  });

  it("a repeated claim ends the first one, and gets what that one took", async () => {
    const { api, openSession } = rig();
    const session = openSession();
    const { request, reply: first } = await pendingClaim(api, session);
    const id = await session.start();
    const again = await session.claim({ repeats: [request.claimId] });
    expect([(await first).runs, again]).toMatchObject([[{ id, fence: 1 }], [{ id, fence: 2 }]]);
    const waiting = session.request({ waitMs: 10_000 });
    const second = api.claim(waiting);
    await settled();
    expect(await session.claim({ repeats: [waiting.claimId] })).toEqual([]);
    expect(await second).toEqual({ runs: [] });
  });

  it("a claim request that the network doubled is one claim", async () => {
    const { api, openSession } = rig();
    const session = openSession();
    const request = session.request({ waitMs: 10_000 });
    const [first, doubled] = [api.claim(request), api.claim(request)];
    await settled();
    const id = await session.start();
    expect((await first).runs).toMatchObject([{ id, fence: 1 }]);
    expect(await doubled).toEqual(await first);
    await session.start();
    expect(await api.claim(request)).toEqual({ runs: [] });
  });

  it("a repeated claim gets the runs that it reclaims, too", async () => {
    const { api, openSession } = rig();
    const session = openSession();
    const suspended = await session.start();
    const run = await session.claimOne();
    await session.report(run, suspend, { opens: [awaits("paid")] });
    const lost = session.request();
    const id = await session.start();
    await api.claim(lost);
    const reclaim = [{ runId: suspended, fence: run.fence }];
    const again = await session.claim({ limit: 1, repeats: [lost.claimId], reclaim });
    expect(again.map((claimed) => claimed.id).sort()).toEqual([suspended, id].sort());
  });

  it("a claim that repeats two gets no more runs than its limit", async () => {
    const { api, openSession } = rig();
    const session = openSession();
    for (let n = 0; n < 4; n += 1) await session.start();
    const lost = [session.request({ limit: 2 }), session.request({ limit: 2 })];
    for (const request of lost) await api.claim(request);
    const repeats = lost.map(({ claimId }) => claimId);
    expect(await session.claim({ limit: 2, repeats })).toHaveLength(2);
  });

  it("a repeated claim gets no run that was confirmed, is another session's or in another namespace", async () => {
    const { engine, openSession, api } = rig();
    const session = openSession();
    await session.start();
    const request = session.request();
    const [run] = (await api.claim(request)).runs;
    const repeats = [request.claimId];
    expect((await engine.api("other").claim(session.request({ repeats }))).runs).toEqual([]);
    expect(await openSession().claim({ repeats })).toEqual([]);
    await api.renew({ session: session.id, ...workerFields, runs: [{ runId: run?.id ?? "", fence: 1 }] });
    expect(await session.claim({ repeats })).toEqual([]);
  });
});

describe("a pending claim", () => {
  it("a start wakes a pending claim, whose reply says how long it was pending", async () => {
    const { api, env, openSession } = rig();
    const session = openSession();
    const waiting = api.claim(session.request({ waitMs: 10_000 }));
    await env.advance(7_000);
    const id = await session.start();
    expect(await waiting).toMatchObject({ runs: [{ id }], pendingMs: 7_000 });
  });

  it("a start wakes a claim of the same transaction", async () => {
    const { openSession, storage } = rig();
    const session = openSession();
    // After this claim the queue is complete in the cache: storage is not scanned again.
    await session.claim();
    storage.takeCounts();
    const [id, runs] = await Promise.all([session.start(), session.claim({ waitMs: 10_000 })]);
    expect(runs).toMatchObject([{ id }]);
  });

  it("a tick, a signal and a release wake a pending claim", async () => {
    const { openSession, env, engine } = rig();
    await engine.start();
    const session = openSession();

    const delayed = await session.start({ delayMs: 2_000 });
    const first = session.claim({ waitMs: 10_000 });
    await env.advance(2_000);
    expect(await first).toMatchObject([{ id: delayed }]);

    const paused = await session.start({ delayMs: 60_000 });
    const second = session.claim({ waitMs: 10_000 });
    await settled();
    await session.signal(paused, { type: "wake" });
    const [run] = await second;
    expect(run).toMatchObject({ id: paused });

    const third = openSession().claim({ waitMs: 10_000 });
    await settled();
    if (run !== undefined) {
      await session.report(run, { type: "release", reason: "shutdown" });
    }
    expect(await third).toMatchObject([{ id: paused, fence: 2 }]);
    await engine.close();
  });

  it("the end of a child that its parent awaits wakes a pending claim", async () => {
    const { openSession, env } = rig();
    const session = openSession();
    const id = await session.start();
    const run = await session.claimOne();
    const spec = session.spec({ id: env.id() });
    await session.report(run, { type: "suspend", children: 1 }, { starts: [{ address: "child:c#0", spec }] });
    const child = await session.claimOne();
    const waiting = session.claim({ waitMs: 10_000 });
    await settled();
    await session.report(child, complete);
    expect(await waiting).toMatchObject([{ id, isCached: true }]);
  });

  it("a pending claim is answered without runs after its waitMs", async () => {
    const { openSession, env } = rig();
    const waiting = openSession().claim({ waitMs: 7_000 });
    await env.advance(6_999);
    expect(await isSettled(waiting)).toBe(false);
    await env.advance(1);
    expect(await waiting).toEqual([]);
  });

  it("two pending claims get different runs", async () => {
    const { openSession } = rig();
    const [session, otherSession] = [openSession(), openSession()];
    const waiting = [session.claim({ waitMs: 10_000 }), otherSession.claim({ waitMs: 10_000 })];
    await settled();
    const ids = [await session.start(), await session.start()];
    const runs = (await Promise.all(waiting)).flat();
    expect(runs.map(({ id }) => id).sort()).toEqual(ids.sort());
  });

  it("a pending claim gets a run of another server within the sweep interval", async () => {
    const server = rig();
    const otherServer = server.another();
    const waiting = otherServer.openSession().claim({ waitMs: 20_000 });
    await settled();
    const id = await server.openSession().start();
    await server.env.advance(5_000);
    expect(await waiting).toMatchObject([{ id }]);
  });
});

describe("a claim of a session that claims again", () => {
  it("a new claim of a session ends the pending one without runs, and gets later runs", async () => {
    const { api, openSession } = rig();
    const session = openSession();
    const replaced = api.claim(session.request({ waitMs: 20_000 }));
    await settled();
    const waiting = api.claim(session.request({ waitMs: 20_000 }));
    expect(await replaced).toEqual({ runs: [] });
    const id = await session.start();
    expect((await waiting).runs).toMatchObject([{ id }]);
  });

  it("a claim that names an aborted one gets the run that was taken for it", async () => {
    const { api, openSession } = rig();
    const session = openSession();
    const { request, reply } = await pendingClaim(api, session);
    const id = await session.start();
    expect((await reply).runs).toMatchObject([{ id, fence: 1 }]);
    const next = session.request({ waitMs: 20_000, repeats: [request.claimId] });
    expect((await api.claim(next)).runs).toMatchObject([{ id, fence: 2 }]);
  });
});

describe("a claim of runs that other transactions have locked", () => {
  it("a claim scans at intervals while runs are locked, and gets them when they are unlocked", async () => {
    const { openSession, storage, env, another } = rig();
    const id = await another().openSession().start();
    storage.isLockedElsewhere = true;
    const waiting = openSession().claim({ waitMs: 60_000 });
    await env.advance(4_000);
    const { scans } = storage.takeCounts();
    expect(scans).toBeGreaterThan(40);
    expect(scans).toBeLessThan(100);
    storage.isLockedElsewhere = false;
    await env.advance(50);
    expect(await waiting).toMatchObject([{ id }]);
  });
});

describe("a claim that its caller aborts", () => {
  it("an aborted claim leaves no waiter and no timer", async () => {
    const { openSession, env } = rig();
    const session = openSession();
    const controller = new AbortController();
    const waiting = session.claim({ waitMs: 10_000 }, { signal: controller.signal });
    await settled();
    controller.abort();
    expect(await waiting).toEqual([]);
    // The worker registry saves the worker meanwhile.
    await env.advance(1_000);
    expect(env.timers).toBe(0);
    const id = await session.start();
    expect(await session.status(id)).toBe("queued");
    expect(await openSession().claim()).toMatchObject([{ id, fence: 1 }]);
  });

  it("a claim aborted after it took a run releases it to others at once", async () => {
    const { openSession } = rig();
    const session = openSession();
    const id = await session.start();
    const controller = new AbortController();
    const claiming = session.claim({}, { signal: controller.signal });
    controller.abort();
    expect(await claiming).toEqual([]);
    expect(await openSession().claim()).toMatchObject([{ id, fence: 2, lostLeases: 0 }]);
  });

  it("a claim aborted right after a wake-up leaves the run to the next pending claim", async () => {
    const { openSession, batches } = rig();
    const [session, otherSession] = [openSession(), openSession()];
    const controller = new AbortController();
    const first = session.claim({ waitMs: 10_000 }, { signal: controller.signal });
    const second = otherSession.claim({ waitMs: 10_000 });
    await settled();
    // The engine calls this right after the wake-up.
    batches.push = () => {
      controller.abort();
      return 0;
    };
    const id = await session.start();
    expect(await first).toEqual([]);
    expect(await isSettled(second)).toBe(true);
    expect(await second).toMatchObject([{ id, fence: 1 }]);
  });
});

describe("namespaces", () => {
  it("every verb separates namespaces", async () => {
    const { openSession, engine, env } = rig();
    const [session, otherSession] = [openSession(), openSession("other")];
    const id = await session.start({ referenceId: "ref", inputHash: "h" });
    expect(await otherSession.claim()).toEqual([]);
    const run = await session.claimOne();
    const other = engine.api("other");
    const report = session.reporting(run, go, { entries: [returned("task:a#0")] });
    const { results: reports } = await other.report({ session: session.id, worker: "w", reports: [report] });
    const renews = await other.renew({
      session: session.id,
      ...workerFields,
      runs: [{ runId: id, fence: run.fence }],
    });
    const reads = await other.read({ runs: [{ runId: id, entries: { after: 0, limit: 10 } }] });
    for (const refused of [reports, renews.results, reads.results]) {
      expect(refused).toMatchObject([{ ok: false, code: "RUN_NOT_FOUND" }]);
    }
    for (const type of ["cancel", "pause", "resume", "wake"] as const) {
      expect(await otherSession.signal(id, { type })).toMatchObject({ code: "RUN_NOT_FOUND" });
    }
    expect(await otherSession.signal(id, { type: "event", name: "e" })).toMatchObject({ code: "RUN_NOT_FOUND" });
    expect(await otherSession.signal(id, { type: "retry", newRunId: env.id() })).toMatchObject({
      code: "RUN_NOT_FOUND",
    });
    expect((await other.find({})).runs).toEqual([]);
    const watched = [
      { type: "status" as const, runId: id, statuses: ["running" as const] },
      { type: "changes" as const, runId: id, fence: run.fence, seen: 0, after: 0 },
    ];
    const { results } = await other.watch({ watched, waitMs: 0 });
    expect(results).toMatchObject(Array(2).fill({ type: "lost", code: "RUN_NOT_FOUND" }));
    const plain = await session.start();
    expect(await session.tryStart(session.spec({ id: plain }))).toMatchObject({ ok: true, created: false });
    expect(await otherSession.tryStart(otherSession.spec({ id: plain }))).toMatchObject({
      ok: false,
      code: "RUN_ID_CONFLICT",
    });
    expect(await otherSession.tryStart(otherSession.spec({ referenceId: "ref", inputHash: "h" }))).toMatchObject({
      created: true,
    });
    expect(await session.status(id)).toBe("running");
  });
});
