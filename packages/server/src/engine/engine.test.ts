import type { Next } from "@aikirun/lib/protocol";
import { settled, virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { rig } from "../../test/rig.ts";
import { awaits, complete, diverged, error, fail, go, kinds, returned, sleeps, suspend } from "../../test/runs.ts";
import { memoryStorage } from "../storage/memory/memory.ts";
import type { Storage } from "../storage/storage.ts";

describe("a start", () => {
  it("starts with one reference id and input are one run, even if the version changed", async () => {
    const session = rig().openSession();
    const first = await session.start({ referenceId: "ref", inputHash: "a" });
    const newer = session.spec({ referenceId: "ref", inputHash: "a", versionId: "2" });
    expect(await session.tryStart(newer)).toEqual({ ok: true, id: first, created: false });
    const other = session.spec({ referenceId: "ref", inputHash: "b" });
    expect(await session.tryStart(other)).toMatchObject({ ok: false, code: "REFERENCE_CONFLICT" });
    expect(await session.tryStart({ ...other, onConflict: "return_existing" })).toMatchObject({
      id: first,
      created: false,
    });
  });

  it("concurrent starts with one reference id make one run, and the others receive its id", async () => {
    const session = rig().openSession();
    const specs = [1, 2, 3].map(() => session.spec({ referenceId: "ref", inputHash: "a" }));
    const results = (await session.api.start({ runs: [...specs, session.spec()] })).results;
    expect(results.map((result) => result.ok && result.created)).toEqual([true, false, false, true]);
    expect(new Set(results.slice(0, 3).map((result) => result.ok && result.id)).size).toBe(1);
  });
});

describe("lists", () => {
  it("lists are read two at a time over all namespaces, so that connections remain free", async () => {
    const env = virtualEnv();
    const inner = memoryStorage({ env });
    let reading = 0;
    const open: Array<() => void> = [];
    const slow: Storage = {
      ...inner,
      async read(work) {
        reading += 1;
        await new Promise<void>((resolve) => open.push(resolve));
        reading -= 1;
        return inner.read(work);
      },
    };
    const { engine } = rig({ env, inner: slow });
    const lists = Array.from({ length: 5 }, (_, n) => engine.api(`namespace-${n}`).find({}));
    const other = engine.api("default").read({ runs: [] });
    for (const expected of [3, 2, 1]) {
      await settled();
      expect(reading).toBe(expected);
      for (const resolve of open.splice(0)) resolve();
    }
    expect(await other).toEqual({ results: [] });
    expect(await Promise.all(lists)).toEqual(lists.map(() => ({ runs: [] })));
  });
});

describe("an api", () => {
  it("an Api is made once for each namespace, so that all its users share its state", async () => {
    const { engine, openSession } = rig();
    const claim = openSession().request();
    await openSession().start();
    const [first, doubled] = await Promise.all([
      engine.api("default").claim(claim),
      engine.api("default").claim(claim),
    ]);
    expect(first.runs).toHaveLength(1);
    expect(doubled).toBe(first);
  });
});

describe("a repeated report", () => {
  const nexts: Record<string, Next> = {
    continue: go,
    suspend,
    release: { type: "release", reason: "shutdown" },
    stall: { type: "stall", stall: diverged },
    finish: complete,
    "finish to retry": { type: "finish", outcome: { status: "failed", error, retryInMs: 500 } },
  };

  it.each(Object.entries(nexts))("a repeated report with next %s gets the first answer", async (_, next) => {
    const session = rig().openSession();
    await session.start();
    const run = await session.claimOne();
    const report = session.reporting(run, next, { entries: [returned("task:a#0")], opens: [sleeps(60_000)] });
    const [first] = await session.send(report);
    expect(first).toMatchObject({ ok: true });
    expect(await session.send(report)).toEqual([first]);
  });

  it("a report distinguishes its entries from those of an earlier attempt at the same address", async () => {
    const session = rig().openSession();
    await session.start();
    const first = await session.claimOne();
    const failing = { type: "finish", outcome: { status: "failed", error, retryInMs: 500 } } as const;
    await session.report(first, failing, { entries: [{ address: "task:a#0", value: { type: "threw", error } }] });
    await session.signal(first.id, { type: "wake" });
    const second = await session.claimOne();
    const answer = await session.report(second, go, { entries: [returned("task:a#0")], after: 0 });
    expect(answer).toMatchObject({ first: 4, tail: 4 });
    expect(kinds(answer.entries)).toEqual(["threw", "attempt_failed", "woken"]);
  });

  it("a repeated report whose first answer had new entries gets the same entries", async () => {
    const session = rig().openSession();
    await session.start();
    const run = await session.claimOne();
    await session.signal(run.id, { type: "event", name: "paid" });
    const report = session.reporting(run, suspend, { entries: [returned("task:a#0")], opens: [awaits("paid")] });
    const [first] = await session.send(report);
    expect(first).toMatchObject({ ok: true, released: false });
    expect(await session.send(report)).toEqual([first]);
  });
});

describe("a repeated signal", () => {
  it.each(["cancel", "pause", "wake"] as const)(
    "a repeated %s signal gets the first answer, even if the run has changed",
    async (type) => {
      const session = rig().openSession();
      const id = await session.start({ delayMs: 60_000 });
      const first = await session.signal(id, { type }, "signal-a");
      expect(first).toMatchObject({ ok: true });
      expect(await session.signal(id, { type }, "signal-a")).toEqual(first);
      expect((await session.read(id)).entries.filter(({ address }) => address === "signal:signal-a")).toHaveLength(1);
    },
  );

  it("a repeated resume does not resume a run that was paused again", async () => {
    const session = rig().openSession();
    const id = await session.start();
    await session.signal(id, { type: "pause" });
    await session.signal(id, { type: "resume" }, "resume-a");
    await session.signal(id, { type: "pause" });
    await session.signal(id, { type: "resume" }, "resume-a");
    expect(await session.status(id)).toBe("paused");
  });

  it("a repeated retry makes one new run, which reuses events and successes", async () => {
    const { openSession, env } = rig();
    const session = openSession();
    await session.start();
    const run = await session.claimOne();
    await session.signal(run.id, { type: "event", name: "paid", referenceId: "ref" });
    await session.report(run, fail, {
      entries: [returned("task:a#0"), { address: "task:b#0", value: { type: "threw", error } }],
    });
    const newRunId = env.id();
    for (let time = 0; time < 2; time++) {
      expect(await session.signal(run.id, { type: "retry", newRunId }, "retry-a")).toEqual({
        ok: true,
        runId: newRunId,
        status: "queued",
      });
    }
    await session.signal(newRunId, { type: "event", name: "paid", referenceId: "ref" });
    const again = await session.claimOne();
    expect(again).toMatchObject({ id: newRunId, origin: run.id, attempt: 1 });
    expect(kinds(again.journal)).toEqual(["arrived", "returned"]);
    await session.report(again, go, { opens: [awaits("paid")] });
    expect((await session.read(newRunId)).entries.at(-1)).toMatchObject({ value: { type: "received", nth: 0 } });
  });

  it("a repeated retry of a stalled run is answered with that run, even if it has failed since", async () => {
    const { openSession, env } = rig();
    const session = openSession();
    const id = await session.start();
    await session.report(await session.claimOne(), { type: "stall", stall: diverged });
    const retry = { type: "retry", newRunId: env.id() } as const;
    expect(await session.signal(id, retry, "retry-a")).toEqual({ ok: true, runId: id, status: "queued" });
    await session.report(await session.claimOne(), fail);
    expect(await session.signal(id, retry, "retry-a")).toEqual({ ok: true, runId: id, status: "failed" });
  });
});

describe("children", () => {
  async function withChildren(count: number, more: { onParentEnd?: "abandon" } = {}) {
    const all = rig();
    const session = all.openSession();
    const id = await session.start();
    const run = await session.claimOne();
    const starts = Array.from({ length: count }, (_, n) => ({
      address: `child:c:${n}#0`,
      spec: session.spec({ name: "child", ...more }),
    }));
    await session.report(run, { type: "suspend", children: count }, { starts });
    const live = async () =>
      (await all.api.find({ parentId: id, status: ["queued"], limit: 1 })).runs.length === 0 ? 0 : 1;
    return { ...all, session, id, live, ids: starts.map(({ spec }) => spec.id) };
  }

  it("thousands of children are cancelled with their parent, at most 500 per transaction", async () => {
    const { session, id, env, engine, storage, live } = await withChildren(1_201);
    await engine.start();
    const from = storage.batches.length;
    await session.signal(id, { type: "cancel" });
    await env.advance(100);
    expect(await live()).toBe(0);
    const sizes = storage.batches.slice(from).map(({ changes }) => changes.length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(502);
    expect((await session.read(id)).run.dueAt).toBeNull();
    await engine.close();
  });

  it("all children are cancelled even if the server stops in between", async () => {
    const first = await withChildren(1_201);
    await first.session.signal(first.id, { type: "cancel" });
    expect(await first.live()).toBe(1);
    const second = first.another();
    await second.engine.start();
    await first.env.advance(2_000);
    expect(await first.live()).toBe(0);
    await second.engine.close();
  });

  it("abandoned children continue when their parent is cancelled", async () => {
    const { session, id, ids } = await withChildren(2, { onParentEnd: "abandon" });
    await session.signal(id, { type: "cancel" });
    expect(await Promise.all(ids.map((child) => session.status(child)))).toEqual(["queued", "queued"]);
  });

  it("children of children are cancelled with them, in one transaction", async () => {
    const { session, id, ids } = await withChildren(1);
    const child = await session.claimOne({ serves: [{ name: "child", versionId: "1" }] });
    const spec = session.spec({ name: "grandchild" });
    await session.report(child, { type: "suspend", children: 1 }, { starts: [{ address: "child:g#0", spec }] });
    await session.signal(id, { type: "cancel", reason: "no" });
    expect(await Promise.all([...ids, spec.id].map((each) => session.status(each)))).toEqual([
      "cancelled",
      "cancelled",
    ]);
  });

  it("a parent does not wait for a child that has ended, even if its worker has not seen the end", async () => {
    const session = rig().openSession();
    const id = await session.start();
    const run = await session.claimOne();
    const spec = session.spec({ name: "child" });
    await session.report(run, go, { starts: [{ address: "child:c#0", spec }] });
    const child = await session.claimOne({ serves: [{ name: "child", versionId: "1" }] });
    await session.report(child, complete);
    const wait = { address: "child:c#0/wait#0", type: "child", name: "child", durationMs: 60_000 } as const;
    const answer = await session.report(run, suspend, { opens: [wait] });
    expect(answer).toMatchObject({ released: false, inbox: 1 });
    expect((await session.read(id)).run.waits).toEqual([]);
  });

  it("when children end together, one claim of their parent has all their results", async () => {
    const { session, id, ids } = await withChildren(20);
    const runs = await session.claim({ limit: 20, serves: [{ name: "child", versionId: "1" }] });
    await session.send(...runs.map((run) => session.reporting(run, complete)));
    const parent = await session.claimOne();
    expect(parent).toMatchObject({ id, isCached: true, inbox: ids.length });
    expect(parent.journal).toHaveLength(ids.length);
  });
});

describe("the clock", () => {
  it("the clock ends a thousand sleeps once each, and none early", async () => {
    const { openSession, engine, env, api, storage } = rig();
    await engine.start();
    const session = openSession();
    const count = 1_000;
    await api.start({ runs: Array.from({ length: count }, () => session.spec()) });
    const runs = await session.claim({ limit: count });
    await session.send(...runs.map((run) => session.reporting(run, suspend, { opens: [sleeps(60_000)] })));
    await env.advance(59_999);
    expect(await session.claim()).toEqual([]);
    const from = storage.batches.length;
    await env.advance(1);
    const entries = storage.batches.slice(from).flatMap((batch) => batch.entries);
    expect(new Set(entries.map(({ runId }) => runId)).size).toBe(count);
    expect(entries).toHaveLength(count);
    expect(entries.every(({ at, value }) => at === env.now() && value.type === "elapsed")).toBe(true);
    expect(await session.claim({ limit: count })).toHaveLength(count);
    await engine.close();
  });

  it("the clock fires at the exact moment for a run that becomes due after the timer was armed", async () => {
    const { openSession, engine, env } = rig();
    await engine.start();
    const session = openSession();
    const id = await session.start({ delayMs: 137 });
    await env.advance(136);
    expect(await session.status(id)).toBe("scheduled");
    await env.advance(1);
    expect(await session.status(id)).toBe("queued");
    await engine.close();
  });

  it.each([-40_000, 40_000])(
    "the clock follows the database's time, which is %i ms ahead, without further reads",
    async (ahead) => {
      const env = virtualEnv();
      const { openSession, engine, storage } = rig({
        env,
        inner: memoryStorage({ env: { now: () => env.now() + ahead } }),
      });
      await engine.start();
      const session = openSession();
      const id = await session.start({ delayMs: 20_300 });
      await env.advance(1_000);
      const before = storage.takeCounts();
      await env.advance(19_299);
      expect(await session.status(id)).toBe("scheduled");
      await env.advance(1);
      expect([before.transactions, await session.status(id)]).toEqual([1, "queued"]);
      expect(storage.takeCounts().reads).toBeLessThan(80);
      await engine.close();
    },
  );

  it("the clock is read once for each decision, so a deadline is never too early", async () => {
    let reads = 0;
    const { openSession } = rig({ inner: memoryStorage({ env: { now: () => 1_000_000 + reads++ } }) });
    const session = openSession();
    const id = await session.start();
    const more = { entries: [returned("task:a#0")], opens: [sleeps(80)] };
    await session.report(await session.claimOne(), go, more);
    const { run, entries } = await session.read(id);
    expect((run.waits[0]?.until ?? 0) - (entries[0]?.at ?? 0)).toBe(80);
  });

  it("the clock finds due runs of another server within a second", async () => {
    const server = rig();
    const otherServer = server.another();
    await otherServer.engine.start();
    const id = await server.openSession().start({ delayMs: 10 });
    await server.env.advance(1_010);
    expect(await server.openSession().status(id)).toBe("queued");
    await otherServer.engine.close();
  });

  it("the clock publishes a wake-up again for an unclaimed run, after 5 s and then ever less often", async () => {
    const { openSession, engine, env, batches } = rig();
    await engine.start();
    const session = openSession();
    const id = await session.start();
    const queuedAfter: number[] = [];
    const began = env.now();
    for (let second = 1; second <= 80; second++) {
      const from = batches.length;
      await env.advance(1_000);
      if (batches.slice(from).some((batch) => batch.queued.some((run) => run.id === id))) {
        queuedAfter.push((env.now() - began) / 1_000);
      }
    }
    expect(queuedAfter).toEqual([5, 15, 35, 75]);
    await engine.close();
  });

  it("the clock ticks the other runs when one run cannot be ticked", async () => {
    const { openSession, engine, env, storage } = rig();
    await engine.start();
    const session = openSession();
    const bad = await session.start({ delayMs: 100 });
    const good = await session.start({ delayMs: 100 });
    storage.obstruct = ({ changes }) =>
      changes.some(({ after }) => after.id === bad) ? [{ runId: bad, kind: "revision" }] : [];
    await env.advance(100);
    expect(await session.status(good)).toBe("queued");
    const { transactions } = storage.takeCounts();
    await env.advance(900);
    expect(storage.takeCounts().transactions).toBeLessThan(transactions);
    storage.obstruct = () => [];
    await env.advance(2_000);
    expect(await session.status(bad)).toBe("queued");
    await engine.close();
  });

  it("the clock ticks the other runs when one row cannot be read", async () => {
    const { openSession, engine, env, storage, another } = rig();
    await engine.start();
    const session = openSession();
    const good = [await session.start({ delayMs: 100 }), await session.start({ delayMs: 100 })];
    const otherServer = another();
    storage.unreadable = await otherServer.openSession().start({ delayMs: 100 });
    await otherServer.engine.close();
    good.push(await session.start({ delayMs: 100 }));
    await env.advance(200);
    expect(await Promise.all(good.map((id) => session.status(id)))).toEqual(["queued", "queued", "queued"]);
    await engine.close();
  });

  it("the clock continues after the database was unreachable", async () => {
    const { openSession, engine, env, storage } = rig();
    await engine.start();
    const session = openSession();
    const id = await session.start({ delayMs: 100 });
    storage.faults.push("before", "before", "before");
    await env.advance(10_000);
    expect(await session.status(id)).toBe("queued");
    await engine.close();
  });
});

describe("watch", () => {
  it("watch answers when the status is reached, at once if it is, and when the run ends otherwise", async () => {
    const { openSession, api } = rig();
    const session = openSession();
    const id = await session.start();
    const watching = api.watch({ watched: [{ type: "status", runId: id, statuses: ["completed"] }], waitMs: 10_000 });
    await session.claim();
    await session.signal(id, { type: "cancel" });
    expect((await watching).results).toMatchObject([{ type: "status", run: { id, status: "cancelled" } }]);
    const late = await api.watch({ watched: [{ type: "status", runId: id, statuses: ["queued"] }], waitMs: 10_000 });
    expect(late.results).toMatchObject([{ run: { status: "cancelled" } }]);
  });

  it("watch notifies a worker of new entries, a pause request, and the loss of its run", async () => {
    const { openSession, api, env } = rig();
    const session = openSession();
    await session.start();
    const run = await session.claimOne();
    const { id: runId, fence } = run;
    const watch = (seen: number, after: number, waitMs = 10_000) =>
      api.watch({ watched: [{ type: "changes", runId, fence, seen, after }], waitMs });

    const first = watch(0, 0);
    await settled();
    await session.signal(runId, { type: "event", name: "paid" });
    expect((await first).results).toMatchObject([{ type: "changes", inbox: 1, pause: false, entries: [{ seq: 1 }] }]);

    const second = watch(1, 1);
    await settled();
    await session.signal(runId, { type: "pause" });
    expect((await second).results).toMatchObject([{ type: "changes", inbox: 2, pause: true }]);

    const quiet = watch(2, 2, 500);
    await env.advance(500);
    expect((await quiet).results).toEqual([]);

    const third = watch(2, 2);
    await settled();
    await session.signal(runId, { type: "cancel" });
    expect((await third).results).toEqual([{ type: "lost", runId, code: "RUN_FINAL", status: "cancelled" }]);
  });

  it("watch notifies a former holder that another worker holds the run", async () => {
    const { openSession, api } = rig();
    const [session, otherSession] = [openSession(), openSession()];
    await session.start();
    const run = await session.claimOne();
    const watched = [{ type: "changes" as const, runId: run.id, fence: run.fence, seen: 0, after: 0 }];
    await session.report(run, { type: "release", reason: "shutdown" });
    const lost = [{ type: "lost", runId: run.id, code: "FENCED" }];
    expect((await api.watch({ watched, waitMs: 0 })).results).toEqual(lost);
    await otherSession.claim();
    expect((await api.watch({ watched, waitMs: 0 })).results).toEqual(lost);
  });

  it("watch finds changes of another server within a second, even if the cached row is stale", async () => {
    const server = rig();
    const otherServer = server.another();
    const session = server.openSession();
    const id = await session.start();
    const watching = server.api.watch({
      watched: [{ type: "status", runId: id, statuses: ["running"] }],
      waitMs: 10_000,
    });
    await settled();
    await otherServer.openSession().claim();
    await server.env.advance(1_000);
    expect((await watching).results).toMatchObject([{ run: { status: "running" } }]);
  });

  it("watch leaves no timer when it is answered, aborted, or out of time", async () => {
    const { openSession, api, env } = rig();
    const id = await openSession().start();
    const watched = [{ type: "status" as const, runId: id, statuses: ["running" as const] }];
    const { timers } = env;
    const controller = new AbortController();
    const aborted = api.watch({ watched, waitMs: 10_000 }, { signal: controller.signal });
    const timed = api.watch({ watched, waitMs: 300 });
    await settled();
    controller.abort();
    await env.advance(300);
    expect([(await aborted).results, (await timed).results]).toEqual([[], []]);
    expect(env.timers).toBe(timers);
  });

  it("watch returns all new entries, in replies of bounded size", async () => {
    const { openSession, api } = rig();
    const session = openSession();
    await session.start();
    const { id, fence } = await session.claimOne();
    const data = JSON.stringify("x".repeat(1_900_000));
    for (let sent = 0; sent < 6; sent++) {
      await session.signal(id, { type: "event", name: "paid", data });
    }
    const replies: Array<{ count: number; inbox: number }> = [];
    let seen = 0;
    for (let after = 0; seen < 6; ) {
      const { results } = await api.watch({ watched: [{ type: "changes", runId: id, fence, seen, after }], waitMs: 0 });
      const [changes] = results;
      if (changes?.type !== "changes") throw new Error("The reply has no changes.");
      replies.push({ count: changes.entries.length, inbox: changes.inbox });
      after = changes.entries.at(-1)?.seq ?? after;
      seen = changes.inbox;
    }
    expect(replies.every(({ count }) => count * 1_900_000 < 2 * 8_000_000)).toBe(true);
    expect(replies.reduce((sum, { count }) => sum + count, 0)).toBe(6);
    // `inbox` does not grow before the last reply, so the worker cannot suspend the run before it has all entries.
    expect(replies.slice(0, -1).every(({ inbox }) => inbox === 0)).toBe(true);
  });
});

describe("close", () => {
  it("close answers pending calls, finishes the batch in flight, and rejects new requests", async () => {
    const { openSession, api, engine, env, storage } = rig();
    await engine.start();
    const session = openSession();
    const id = await session.start({ name: "other" });
    const claiming = session.claim({ waitMs: 60_000 });
    const watching = api.watch({ watched: [{ type: "status", runId: id, statuses: ["running"] }], waitMs: 60_000 });
    await settled();
    const starts = Promise.all(Array.from({ length: 500 }, () => session.start()));
    const closing = engine.close();
    expect(await claiming).toEqual([]);
    expect((await watching).results).toEqual([]);
    await closing;
    await storage.close();
    expect(await starts).toHaveLength(500);
    await expect(session.start()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(env.timers).toBe(0);
    await engine.close();
  });
});
