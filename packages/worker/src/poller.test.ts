import { AikiError, silentLogger } from "@aikirun/lib";
import type { ClaimedRun, Served } from "@aikirun/lib/protocol";
import { claimedRun, type Script, scriptedApi, untilAborted } from "@aikirun/testing/scripted-api";
import { settled, uuid, virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { growth } from "../test/growth.ts";
import { Poller } from "./poller.ts";
import { adaptivePolling } from "./subscribers/polling.ts";
import type { PollRequest, PollResult, Subscriber } from "./subscribers/subscriber.ts";

const orders: Served[] = [{ name: "order", versionId: "1" }];

interface PollerSetup {
  slots?: number;
  serves?: Served[];
  subscriber?: Subscriber;
  warnings?: string[];
}

function setup(
  claim: NonNullable<Script["claim"]>,
  { slots = 2, serves = orders, subscriber, warnings }: PollerSetup = {},
) {
  const env = virtualEnv();
  const scripted = scriptedApi({ claim });
  const taken: string[] = [];
  const takenAt: number[] = [];
  const refused: string[] = [];
  const state = { free: slots, serves, taken, takenAt, refused };
  const poller = new Poller({
    api: scripted.api,
    env,
    logger: { ...silentLogger, warn: (line) => warnings?.push(line) },
    subscriber: subscriber ?? adaptivePolling(growth, env),
    maxRetryIntervalMs: 2_000,
    atCapacityIntervalMs: 0,
    session: "s",
    worker: "w",
    shardKeys: ["eu"],
    leaseMs: 90_000,
    serves: (): Served[] => state.serves,
    freeSlots: () => state.free,
    onRun: ({ id }, { elapsed }) => {
      state.free -= 1;
      state.taken.push(id);
      state.takenAt.push(elapsed);
    },
    onRefused: (runId) => state.refused.push(runId),
  });
  return { env, poller, state, ...scripted };
}

describe("the poller", () => {
  it("a worker claims for its free slots, one claim at a time, and waits if none is free", async () => {
    let next = 0;
    const { poller, state, calls } = setup(({ limit }) => {
      next += 1;
      return { runs: next <= 2 ? [claimedRun(`run-${next}`)].slice(0, limit) : [] };
    });
    await settled();
    expect(state.taken).toEqual(["run-1", "run-2"]);
    expect(calls.claim.map(({ request }) => request.limit)).toEqual([2, 1]);
    expect(calls.claim[0]?.request).toEqual({
      claimId: uuid(1),
      session: "s",
      worker: "w",
      serves: [{ name: "order", versionId: "1" }],
      shardKeys: ["eu"],
      limit: 2,
      leaseMs: 90_000,
      waitMs: 25_000,
    });
    state.free += 1;
    poller.freed();
    await settled();
    expect(calls.claim).toHaveLength(3);
    await poller.stop();
  });

  it("a claim names the claims before it that got no answer", async () => {
    let failures = 2;
    const { env, poller, state, calls } = setup((_, signal) => {
      failures -= 1;
      if (failures >= 0) throw new AikiError("UNREACHABLE", "No answer.");
      return failures === -1 ? { runs: [claimedRun("a")] } : untilAborted(signal);
    });
    await env.advance(1_000);
    expect(state.taken).toEqual(["a"]);
    const requests = calls.claim.map(({ request }) => request);
    const ids = requests.map(({ claimId }) => claimId);
    expect(new Set(ids).size).toBe(4);
    expect(requests.map(({ repeats }) => repeats)).toEqual([undefined, ids.slice(0, 1), ids.slice(0, 2), undefined]);
    await poller.stop();
  });

  it("a lease is counted from the server's answer, not from the time that the claim was pending", async () => {
    const { env, poller, state } = setup(
      async () => {
        await new Promise<void>((resolve) => env.after(8_000, resolve));
        return { runs: [claimedRun("a")], pendingMs: 7_000 };
      },
      { slots: 1 },
    );
    const sentAt = env.elapsed();
    await env.advance(8_000);
    expect(state.takenAt).toEqual([sentAt + 7_000]);
    await poller.stop();
  });

  it("claims pause ever longer while the server answers at once without runs", async () => {
    const { env, poller, calls } = setup(() => ({ runs: [] }));
    await env.advance(60_000);
    expect(calls.claim.length).toBeLessThan(30);
    await poller.stop();
  });

  it("a change of the registry aborts the long poll and claims again", async () => {
    const { env, poller, state, calls } = setup((_, signal) => untilAborted(signal));
    await env.advance(1_000);
    expect(calls.claim).toHaveLength(1);
    state.serves = [...state.serves, { name: "ship", versionId: "1" }];
    await env.advance(250);
    expect(calls.claim[0]?.signal?.aborted).toBe(true);
    expect(calls.claim[1]?.request.serves.map(({ name }) => name)).toEqual(["order", "ship"]);
    await poller.stop();
  });

  it("nothing is claimed while the registry is empty, and a new workflow starts claims", async () => {
    const { env, poller, state, calls } = setup((_, signal) => untilAborted(signal), { serves: [] });
    await env.advance(1_000);
    expect(calls.claim).toEqual([]);
    state.serves = [{ name: "order", versionId: "1" }];
    await env.advance(250);
    expect(calls.claim).toHaveLength(1);
    await poller.stop();
  });

  it.each([
    { free: 1, limits: [2, 1] },
    { free: 0, limits: [2] },
    { free: -1, limits: [2] },
  ])(
    "slots that are occupied again abort the long poll, and the free ones are claimed for: $free",
    async ({ free, limits }) => {
      const { env, poller, state, calls } = setup((_, signal) => untilAborted(signal));
      await settled();
      state.free = free;
      poller.takenBack();
      await env.advance(5_000);
      expect(calls.claim[0]?.signal?.aborted).toBe(true);
      expect(calls.claim.map(({ request }) => request.limit)).toEqual(limits);
      state.free = 2;
      poller.freed();
      await env.advance(5_000);
      expect(calls.claim.at(-1)?.request.limit).toBe(limits.length === 2 ? 1 : 2);
      // The server may have claimed runs for the long poll before it was aborted.
      expect(calls.claim[1]?.request.repeats).toEqual([uuid(1)]);
      await poller.stop();
    },
  );

  it("suspended runs of the worker are claimed before others, within its slots", async () => {
    const { poller, state, calls } = setup((request, signal) =>
      request.reclaim === undefined ? untilAborted(signal) : { runs: [claimedRun("a"), claimedRun("b")] },
    );
    await settled();
    poller.reclaim("a", 1);
    poller.reclaim("b", 4);
    poller.reclaim("c", 2);
    await settled();
    expect(calls.claim[0]?.signal?.aborted).toBe(true);
    expect(calls.claim[1]?.request).toMatchObject({
      serves: [],
      limit: 1,
      waitMs: 0,
      reclaim: [
        { runId: "a", fence: 1 },
        { runId: "b", fence: 4 },
      ],
    });
    expect(state.taken).toEqual(["a", "b"]);
    state.free += 1;
    poller.freed();
    await settled();
    expect(calls.claim[2]?.request.reclaim).toEqual([{ runId: "c", fence: 2 }]);
    await poller.stop();
  });

  it("onRefused receives a suspended run that cannot be reclaimed", async () => {
    const { poller, state } = setup((request, signal) =>
      request.reclaim === undefined ? untilAborted(signal) : { runs: [] },
    );
    await settled();
    poller.reclaim("a", 1);
    await settled();
    expect(state.refused).toEqual(["a"]);
    await poller.stop();
  });

  it("stop aborts the long poll, and runs that still arrive are passed on", async () => {
    const { poller, state, calls } = setup(
      (_, signal) =>
        new Promise((resolve) => signal?.addEventListener("abort", () => resolve({ runs: [claimedRun("late")] }))),
    );
    await settled();
    await poller.stop();
    expect(state.taken).toEqual(["late"]);
    expect(calls.claim).toHaveLength(1);
  });

  it("stop waits for a pending answer for a limited time", async () => {
    const { env, poller, calls } = setup((_, signal) => untilAborted(signal), {
      subscriber: { next: async () => ({ waitMs: 0 }), close: async () => {} },
    });
    await settled();
    const stopped = poller.stop();
    await env.advance(199);
    expect(calls.claim[0]?.signal?.aborted).toBe(false);
    await env.advance(1);
    await stopped;
    expect(calls.claim).toHaveLength(1);
  });
});

/** A subscriber that requests a claim when `wake` is called, and keeps its calls and results. */
function scriptedSubscriber() {
  const results: PollResult[] = [];
  const nexts: Array<{ free: number; signal: AbortSignal }> = [];
  let ready: (request: PollRequest) => void = () => {};
  const subscriber: Subscriber = {
    next: (free, signal) => {
      nexts.push({ free, signal });
      return new Promise((resolve) => {
        ready = (request) => resolve({ ...request, settled: (result) => results.push(result) });
        signal.addEventListener("abort", () => ready({ waitMs: 0 }));
      });
    },
    close: async () => {},
  };
  return { subscriber, results, nexts, wake: (request: PollRequest) => ready(request) };
}

describe("a subscriber", () => {
  it("a subscriber's request is sent unchanged, and it receives the result", async () => {
    const { subscriber, results, nexts, wake } = scriptedSubscriber();
    const { poller, calls } = setup(() => ({ runs: [claimedRun("a")] }), { slots: 3, subscriber });
    await settled();
    expect([nexts.map(({ free }) => free), calls.claim]).toEqual([[3], []]);
    wake({ waitMs: 0, limit: 2 });
    await settled();
    expect(calls.claim[0]?.request).toMatchObject({ limit: 2, waitMs: 0 });
    expect(results).toEqual([{ type: "claimed", requested: 2, runs: 1, waitedMs: 0 }]);
    expect(nexts.map(({ free }) => free)).toEqual([3, 2]);
    await poller.stop();
  });

  it.each([
    [
      { waitMs: 0, limit: 1_000 },
      { limit: 2, waitMs: 0 },
    ],
    [
      { waitMs: 0, limit: 0 },
      { limit: 1, waitMs: 0 },
    ],
    [{ waitMs: 1e9 }, { limit: 2, waitMs: 60_000 }],
    [
      { waitMs: Number.NaN, limit: Number.NaN },
      { limit: 1, waitMs: 0 },
    ],
    [
      { waitMs: -1, limit: 1.5 },
      { limit: 1, waitMs: 0 },
    ],
  ])("a subscriber's request %j is sent as %j with two free slots", async (poll, request) => {
    const { subscriber, wake } = scriptedSubscriber();
    const { poller, calls } = setup(({ waitMs }, signal) => (waitMs === 0 ? { runs: [] } : untilAborted(signal)), {
      subscriber,
    });
    await settled();
    wake(poll);
    await settled();
    expect(calls.claim[0]?.request).toMatchObject(request);
    await poller.stop();
  });

  it("a subscriber receives runs that the server claimed for an aborted long poll", async () => {
    const { subscriber, results, wake } = scriptedSubscriber();
    const late = (signal: AbortSignal | undefined) =>
      new Promise<{ runs: ClaimedRun[] }>((resolve) =>
        signal?.addEventListener("abort", () => resolve({ runs: [claimedRun("a")] })),
      );
    const { poller, state } = setup((_, signal) => late(signal), { subscriber });
    await settled();
    wake({ waitMs: 2_000 });
    await settled();
    poller.takenBack();
    await settled();
    expect([state.taken, results]).toMatchObject([["a"], [{ type: "claimed", runs: 1 }]]);
    await poller.stop();
  });

  it("a subscriber whose long poll was aborted is notified of that only", async () => {
    const { subscriber, results, wake } = scriptedSubscriber();
    const { poller } = setup((_, signal) => untilAborted(signal), { subscriber });
    await settled();
    wake({ waitMs: 2_000 });
    await settled();
    poller.takenBack();
    await settled();
    expect(results).toEqual([{ type: "skipped" }]);
    await poller.stop();
  });

  it("a subscriber is notified that the reply was full and may have left runs out", async () => {
    const { subscriber, results, wake } = scriptedSubscriber();
    const { poller } = setup(() => ({ runs: [claimedRun("a")], more: true }), { subscriber, slots: 3 });
    await settled();
    wake({ waitMs: 0 });
    await settled();
    expect(results).toMatchObject([{ type: "claimed", requested: 1, runs: 1 }]);
    await poller.stop();
  });

  it("a subscriber keeps waiting while a suspended run is claimed first", async () => {
    const { subscriber, results, nexts, wake } = scriptedSubscriber();
    const { poller, calls } = setup((request) => ({ runs: request.reclaim === undefined ? [] : [claimedRun("a")] }), {
      subscriber,
    });
    await settled();
    poller.reclaim("a", 1);
    await settled();
    expect([calls.claim.length, nexts.length, nexts[0]?.signal.aborted]).toEqual([1, 1, false]);
    wake({ waitMs: 0 });
    await settled();
    expect([calls.claim.length, results.length]).toEqual([2, 1]);
    await poller.stop();
  });

  it("a subscriber is notified that no claim was made if a suspended run took the last slot", async () => {
    const { subscriber, results, nexts } = scriptedSubscriber();
    const { poller } = setup(() => ({ runs: [claimedRun("a")] }), { slots: 1, subscriber });
    await settled();
    poller.reclaim("a", 1);
    await settled();
    expect([nexts[0]?.signal.aborted, results]).toEqual([true, [{ type: "skipped" }]]);
    await poller.stop();
  });

  it("a subscriber is called again when the registry changes", async () => {
    const { subscriber, nexts } = scriptedSubscriber();
    const { env, poller, state } = setup(() => ({ runs: [] }), { subscriber });
    await env.advance(1_000);
    expect(nexts).toHaveLength(1);
    state.serves = [...state.serves, { name: "ship", versionId: "1" }];
    await env.advance(250);
    expect(nexts.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    await poller.stop();
  });

  it("a subscriber is notified of each failure after a pause", async () => {
    const { subscriber, results, wake } = scriptedSubscriber();
    const { env, poller, calls } = setup(
      () => {
        throw new AikiError("UNREACHABLE", "No.");
      },
      { subscriber },
    );
    await settled();
    wake({ waitMs: 0 });
    await settled();
    expect([calls.claim.length, results]).toEqual([1, []]);
    await env.advance(1_000);
    expect(results).toMatchObject([{ type: "failed", error: { code: "UNREACHABLE" } }]);
    await poller.stop();
  });

  it.each([
    ["rejects", (): Promise<PollRequest> => Promise.reject(new Error("no"))],
    [
      "throws",
      (): Promise<PollRequest> => {
        throw new Error("no");
      },
    ],
    ["resolves to null", async () => JSON.parse("null")],
  ])("a subscriber that %s is called again after growing pauses, and logged once", async (_, next) => {
    const warnings: string[] = [];
    let calls = 0;
    const subscriber: Subscriber = {
      next: () => {
        calls += 1;
        return next();
      },
      close: async () => {},
    };
    const { env, poller } = setup(() => ({ runs: [] }), { subscriber, warnings });
    await env.advance(60_000);
    expect(calls).toBeGreaterThan(20);
    expect(calls).toBeLessThan(60);
    expect(warnings).toEqual(["the subscriber failed"]);
    await poller.stop();
  });
});
