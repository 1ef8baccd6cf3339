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
    const one = rig().openSession();
    const ids = [
      await one.start(),
      await one.start({ priority: 5 }),
      await one.start(),
      await one.start({ priority: 5 }),
    ];
    const runs = await one.claim({ limit: 3 });
    expect(runs.map(({ id }) => id)).toEqual([ids[1], ids[3], ids[0]]);
    expect((await one.claim()).map(({ id }) => id)).toEqual([ids[2]]);
  });

  it("a claim after a restart gets the same order from storage", async () => {
    const before = rig();
    const one = before.openSession();
    const ids = [await one.start(), await one.start({ priority: 5 }), await one.start()];
    const runs = await before.another().openSession().claim();
    expect(runs.map(({ id }) => id)).toEqual([ids[1], ids[0], ids[2]]);
  });

  it("a claim gets runs of every version and shard that it serves, and of no other", async () => {
    const one = rig().openSession();
    const serves = [
      { name: "order", versionId: "1" },
      { name: "order", versionId: "2" },
    ];
    const v2 = await one.start({ versionId: "2" });
    const v1 = await one.start();
    await one.start({ versionId: "3" });
    await one.start({ name: "other" });
    const eu = await one.start({ shardKey: "eu" });
    const us = await one.start({ shardKey: "us", versionId: "2" });
    await one.start({ shardKey: "asia" });
    expect((await one.claim({ serves })).map(({ id }) => id).sort()).toEqual([v1, v2].sort());
    expect((await one.claim({ serves, shardKeys: ["eu", "us"] })).map(({ id }) => id)).toEqual([eu, us]);
    expect(await one.claim({ serves })).toEqual([]);
  });

  it("cached runs that are no longer queued do not delay a claim", async () => {
    const one = rig().openSession();
    const ids = [await one.start(), await one.start(), await one.start()];
    for (const id of ids.slice(0, 2)) {
      await one.signal(id, { type: "cancel" });
    }
    expect((await one.claim({ limit: 1 })).map(({ id }) => id)).toEqual(ids.slice(2));
  });

  it("reclaimed runs count towards the limit of a claim", async () => {
    const one = rig().openSession();
    await one.start();
    const run = await one.claimOne();
    await one.report(run, suspend, { opens: [awaits("paid")] });
    await one.start();
    const runs = await one.claim({ limit: 1, reclaim: [{ runId: run.id, fence: run.fence }] });
    expect(runs.map(({ id }) => id)).toEqual([run.id]);
  });

  it("a claim reclaims no run of another namespace, session or fence", async () => {
    const { openSession } = rig();
    const one = openSession();
    await one.start();
    const run = await one.claimOne();
    await one.report(run, suspend, { opens: [awaits("paid")] });
    const reclaim = [{ runId: run.id, fence: run.fence }];
    expect(await openSession().claim({ reclaim })).toEqual([]);
    expect(await openSession("other").claim({ reclaim, session: one.session })).toEqual([]);
    expect(await one.claim({ reclaim: [{ runId: run.id, fence: run.fence - 1 }] })).toEqual([]);
    expect(await one.status(run.id)).toBe("awaiting_event");
  });

  it("the session that suspended a run gets only its new entries, and another one gets all", async () => {
    const { openSession } = rig();
    const [one, two] = [openSession(), openSession()];
    await one.start();
    const run = await one.claimOne();
    await one.report(run, suspend, {
      entries: [returned("task:a#0")],
      opens: [awaits("paid"), awaits("paid", null, "e#2")],
    });
    await one.signal(run.id, { type: "event", name: "paid" });
    const resumed = await one.claimOne();
    expect(resumed).toMatchObject({ isCached: true, inbox: 1 });
    expect(kinds(resumed.journal)).toEqual(["arrived", "received"]);
    await one.report(resumed, { type: "release", reason: "shutdown" });
    const uncached = await two.claimOne();
    expect(uncached.isCached).toBe(false);
    expect(kinds(uncached.journal)).toEqual(["returned", "arrived", "received"]);
  });
});

/** A pending claim: no run is queued yet. */
async function pendingClaim(
  api: Api,
  one: TestSession,
): Promise<{ request: ClaimRequest; reply: Promise<ClaimReply> }> {
  const request = one.request({ waitMs: 20_000 });
  const reply = api.claim(request);
  await settled();
  return { request, reply };
}

describe("a claimed run", () => {
  const callSite = { madeAfter: 0, identity: "a", branch: "b" };
  const opens = [{ ...awaits("paid"), callSite }, sleeps(60_000)];

  it("a claimed run has its open waits and their call sites, in the order of opening", async () => {
    const one = rig().openSession();
    await one.start();
    await one.report(await one.claimOne(), { type: "release", reason: "shutdown" }, { opens });
    expect((await one.claimOne()).waits).toEqual([{ address: "event:paid#9", callSite }, { address: "sleep:#9" }]);
  });

  it("a claimed run whose execution is cached has no waits", async () => {
    const one = rig().openSession();
    const id = await one.start();
    await one.report(await one.claimOne(), suspend, { opens });
    await one.signal(id, { type: "wake" });
    expect(await one.claimOne()).toMatchObject({ isCached: true, waits: [] });
  });

  it("a claimed run has the build of its last report, and none before the first report", async () => {
    const one = rig().openSession();
    await one.start();
    const run = await one.claimOne();
    expect("build" in run).toBe(false);
    await one.report(run, { type: "release", reason: "shutdown" }, { build: "b-1", entries: [returned("task:a#0")] });
    const again = await one.claimOne();
    expect(again.build).toEqual({ id: "b-1", since: 0 });
    const more = { build: "b-2", entries: [returned("task:b#0")], after: 1 };
    await one.report(again, { type: "release", reason: "shutdown" }, more);
    expect((await one.claimOne()).build).toEqual({ id: "b-2", since: 1 });
  });
});

describe("a claim that repeats one whose answer was lost", () => {
  it("a repeated claim gets the same runs and journals under new fences", async () => {
    const { api, openSession } = rig();
    const one = openSession();
    await one.signal(await one.start(), { type: "event", name: "paid" });
    await one.start();
    await one.start();
    const request = one.request({ limit: 2 });
    const first = await api.claim(request);
    expect(first.runs).toHaveLength(2);
    const again = await one.claim({ limit: 2, repeats: [request.claimId] });
    expect(again).toEqual(first.runs.map((run) => ({ ...run, fence: 2 })));
    expect(await one.claim()).toHaveLength(1);
  });

  it("a repeated claim gets its runs through another server of the same session", async () => {
    const before = rig();
    const one = before.openSession();
    const after = before.another();
    const request = one.request({ limit: 1 });
    await after.api.claim(one.request());
    await one.start();
    await one.start();
    const [first] = (await before.api.claim(request)).runs;
    const again = one.request({ limit: 1, repeats: ["unknown", request.claimId] });
    expect((await after.api.claim(again)).runs).toEqual([{ ...first, fence: 2 }]);
  });

  it("the server of a lost claim cannot release what another server gave to its repeat", async () => {
    const here = rig();
    const there = here.another();
    const one = here.openSession();
    const leave = new AbortController();
    const request = one.request({ waitMs: 10_000 });
    const lost = here.api.claim(request, { signal: leave.signal });
    await settled();
    const id = await one.start();
    leave.abort();
    const again = await there.api.claim(one.request({ repeats: [request.claimId] }));
    expect(await lost).toEqual({ runs: [] });
    const [run = await one.claimOne()] = again.runs;
    expect(run).toMatchObject({ id });
    expect(await one.report(run, complete)).toMatchObject({ ok: true });
  });

  it("a repeated claim ends the first one, and gets what that one took", async () => {
    const { api, openSession } = rig();
    const one = openSession();
    const { request, reply: first } = await pendingClaim(api, one);
    const id = await one.start();
    const again = await one.claim({ repeats: [request.claimId] });
    expect([(await first).runs, again]).toMatchObject([[{ id, fence: 1 }], [{ id, fence: 2 }]]);
    const waiting = one.request({ waitMs: 10_000 });
    const second = api.claim(waiting);
    await settled();
    expect(await one.claim({ repeats: [waiting.claimId] })).toEqual([]);
    expect(await second).toEqual({ runs: [] });
  });

  it("a claim request that the network doubled is one claim", async () => {
    const { api, openSession } = rig();
    const one = openSession();
    const request = one.request({ waitMs: 10_000 });
    const [first, doubled] = [api.claim(request), api.claim(request)];
    await settled();
    const id = await one.start();
    expect((await first).runs).toMatchObject([{ id, fence: 1 }]);
    expect(await doubled).toEqual(await first);
    await one.start();
    expect(await api.claim(request)).toEqual({ runs: [] });
  });

  it("a claim that repeats two gets no more runs than its limit", async () => {
    const { api, openSession } = rig();
    const one = openSession();
    for (let n = 0; n < 4; n += 1) await one.start();
    const lost = [one.request({ limit: 2 }), one.request({ limit: 2 })];
    for (const request of lost) await api.claim(request);
    const repeats = lost.map(({ claimId }) => claimId);
    expect(await one.claim({ limit: 2, repeats })).toHaveLength(2);
  });

  it("a repeated claim gets no run that was confirmed, is another session's or in another namespace", async () => {
    const { engine, openSession, api } = rig();
    const one = openSession();
    await one.start();
    const request = one.request();
    const [run] = (await api.claim(request)).runs;
    const repeats = [request.claimId];
    expect((await engine.api("other").claim(one.request({ repeats }))).runs).toEqual([]);
    expect(await openSession().claim({ repeats })).toEqual([]);
    await api.renew({ session: one.session, ...workerFields, runs: [{ runId: run?.id ?? "", fence: 1 }] });
    expect(await one.claim({ repeats })).toEqual([]);
  });
});

describe("a pending claim", () => {
  it("a start wakes a pending claim, whose reply says how long it was pending", async () => {
    const { api, env, openSession } = rig();
    const one = openSession();
    const waiting = api.claim(one.request({ waitMs: 10_000 }));
    await env.advance(7_000);
    const id = await one.start();
    expect(await waiting).toMatchObject({ runs: [{ id }], pendingMs: 7_000 });
  });

  it("a start wakes a claim of the same transaction", async () => {
    const { openSession, storage } = rig();
    const one = openSession();
    // After this claim the queue is complete in the cache: storage is not scanned again.
    await one.claim();
    storage.takeCounts();
    const [id, runs] = await Promise.all([one.start(), one.claim({ waitMs: 10_000 })]);
    expect(runs).toMatchObject([{ id }]);
  });

  it("a tick, a signal and a release wake a pending claim", async () => {
    const { openSession, env, engine } = rig();
    await engine.start();
    const one = openSession();

    const delayed = await one.start({ delayMs: 2_000 });
    const first = one.claim({ waitMs: 10_000 });
    await env.advance(2_000);
    expect(await first).toMatchObject([{ id: delayed }]);

    const paused = await one.start({ delayMs: 60_000 });
    const second = one.claim({ waitMs: 10_000 });
    await settled();
    await one.signal(paused, { type: "wake" });
    const [run] = await second;
    expect(run).toMatchObject({ id: paused });

    const third = openSession().claim({ waitMs: 10_000 });
    await settled();
    if (run !== undefined) {
      await one.report(run, { type: "release", reason: "shutdown" });
    }
    expect(await third).toMatchObject([{ id: paused, fence: 2 }]);
    await engine.close();
  });

  it("the end of a child that its parent awaits wakes a pending claim", async () => {
    const { openSession, env } = rig();
    const one = openSession();
    const id = await one.start();
    const run = await one.claimOne();
    const spec = one.spec({ id: env.id() });
    await one.report(run, { type: "suspend", children: 1 }, { starts: [{ address: "child:c#0", spec }] });
    const child = await one.claimOne();
    const waiting = one.claim({ waitMs: 10_000 });
    await settled();
    await one.report(child, complete);
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
    const [one, two] = [openSession(), openSession()];
    const waiting = [one.claim({ waitMs: 10_000 }), two.claim({ waitMs: 10_000 })];
    await settled();
    const ids = [await one.start(), await one.start()];
    const runs = (await Promise.all(waiting)).flat();
    expect(runs.map(({ id }) => id).sort()).toEqual(ids.sort());
  });

  it("a pending claim gets a run of another server within the sweep interval", async () => {
    const here = rig();
    const there = here.another();
    const waiting = there.openSession().claim({ waitMs: 20_000 });
    await settled();
    const id = await here.openSession().start();
    await here.env.advance(5_000);
    expect(await waiting).toMatchObject([{ id }]);
  });
});

describe("a claim of a session that claims again", () => {
  it("a new claim of a session ends the pending one without runs, and gets later runs", async () => {
    const { api, openSession } = rig();
    const one = openSession();
    const replaced = api.claim(one.request({ waitMs: 20_000 }));
    await settled();
    const waiting = api.claim(one.request({ waitMs: 20_000 }));
    expect(await replaced).toEqual({ runs: [] });
    const id = await one.start();
    expect((await waiting).runs).toMatchObject([{ id }]);
  });

  it("a claim that names an aborted one gets the run that was taken for it", async () => {
    const { api, openSession } = rig();
    const one = openSession();
    const { request, reply } = await pendingClaim(api, one);
    const id = await one.start();
    expect((await reply).runs).toMatchObject([{ id, fence: 1 }]);
    const next = one.request({ waitMs: 20_000, repeats: [request.claimId] });
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
    const one = openSession();
    const leave = new AbortController();
    const waiting = one.claim({ waitMs: 10_000 }, { signal: leave.signal });
    await settled();
    leave.abort();
    expect(await waiting).toEqual([]);
    // The worker registry saves the worker meanwhile.
    await env.advance(1_000);
    expect(env.timers).toBe(0);
    const id = await one.start();
    expect(await one.status(id)).toBe("queued");
    expect(await openSession().claim()).toMatchObject([{ id, fence: 1 }]);
  });

  it("a claim aborted after it took a run releases it to others at once", async () => {
    const { openSession } = rig();
    const one = openSession();
    const id = await one.start();
    const leave = new AbortController();
    const claiming = one.claim({}, { signal: leave.signal });
    leave.abort();
    expect(await claiming).toEqual([]);
    expect(await openSession().claim()).toMatchObject([{ id, fence: 2, lostLeases: 0 }]);
  });

  it("a claim aborted right after a wake-up leaves the run to the next pending claim", async () => {
    const { openSession, batches } = rig();
    const [one, two] = [openSession(), openSession()];
    const leave = new AbortController();
    const first = one.claim({ waitMs: 10_000 }, { signal: leave.signal });
    const second = two.claim({ waitMs: 10_000 });
    await settled();
    // The engine calls this right after the wake-up.
    batches.push = () => {
      leave.abort();
      return 0;
    };
    const id = await one.start();
    expect(await first).toEqual([]);
    expect(await isSettled(second)).toBe(true);
    expect(await second).toMatchObject([{ id, fence: 1 }]);
  });
});

describe("namespaces", () => {
  it("every verb separates namespaces", async () => {
    const { openSession, engine, env } = rig();
    const [here, there] = [openSession(), openSession("other")];
    const id = await here.start({ referenceId: "ref", inputHash: "h" });
    expect(await there.claim()).toEqual([]);
    const run = await here.claimOne();
    const other = engine.api("other");
    const report = here.reporting(run, go, { entries: [returned("task:a#0")] });
    const { results: reports } = await other.report({ session: here.session, worker: "w", reports: [report] });
    const renews = await other.renew({
      session: here.session,
      ...workerFields,
      runs: [{ runId: id, fence: run.fence }],
    });
    const reads = await other.read({ runs: [{ runId: id, entries: { after: 0, limit: 10 } }] });
    for (const refused of [reports, renews.results, reads.results]) {
      expect(refused).toMatchObject([{ ok: false, code: "RUN_NOT_FOUND" }]);
    }
    for (const type of ["cancel", "pause", "resume", "wake"] as const) {
      expect(await there.signal(id, { type })).toMatchObject({ code: "RUN_NOT_FOUND" });
    }
    expect(await there.signal(id, { type: "event", name: "e" })).toMatchObject({ code: "RUN_NOT_FOUND" });
    expect(await there.signal(id, { type: "retry", newRunId: env.id() })).toMatchObject({ code: "RUN_NOT_FOUND" });
    expect((await other.find({})).runs).toEqual([]);
    const watched = [
      { type: "status" as const, runId: id, statuses: ["running" as const] },
      { type: "changes" as const, runId: id, fence: run.fence, seen: 0, after: 0 },
    ];
    const { results } = await other.watch({ watched, waitMs: 0 });
    expect(results).toMatchObject(Array(2).fill({ type: "lost", code: "RUN_NOT_FOUND" }));
    const plain = await here.start();
    expect(await here.tryStart(here.spec({ id: plain }))).toMatchObject({ ok: true, created: false });
    expect(await there.tryStart(there.spec({ id: plain }))).toMatchObject({ ok: false, code: "RUN_ID_CONFLICT" });
    expect(await there.tryStart(there.spec({ referenceId: "ref", inputHash: "h" }))).toMatchObject({ created: true });
    expect(await here.status(id)).toBe("running");
  });
});
