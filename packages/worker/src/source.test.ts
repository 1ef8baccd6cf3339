import { AikiError, type ErrorCode, silentLogger } from "@aikirun/lib";
import type { ClaimedRun, Served } from "@aikirun/lib/protocol";
import { claimedRun, type Script, scriptedApi, untilAborted } from "@aikirun/testing/scripted-api";
import { settled, uuid, virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { growth } from "../test/growth.ts";
import { source } from "./source.ts";
import { adaptivePolling } from "./subscribers/polling.ts";
import type { Answer, Question, Subscriber } from "./subscribers/subscriber.ts";

const orders: Served[] = [{ name: "order", versionId: "1" }];

interface SourceScene {
  slots?: number;
  serves?: Served[];
  subscriber?: Subscriber;
  warnings?: string[];
  /** Whether the server that hears of a recall holds the question. */
  holds?: boolean;
}

function setup(
  claim: NonNullable<Script["claim"]>,
  { slots = 2, serves = orders, subscriber, warnings, holds }: SourceScene = {},
) {
  const env = virtualEnv();
  const scripted = scriptedApi({ claim }, holds);
  const taken: string[] = [];
  const takenAt: number[] = [];
  const refused: string[] = [];
  const state = { free: slots, serves, taken, takenAt, refused };
  const claims = source({
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
  return { env, claims, state, ...scripted };
}

describe("taking runs", () => {
  it("asks for as many as slots are free, one question at a time, and waits when there are none", async () => {
    let next = 0;
    const { claims, state, asked } = setup(({ limit }) => {
      next += 1;
      return { runs: next <= 2 ? [claimedRun(`run-${next}`)].slice(0, limit) : [] };
    });
    await settled();
    expect(state.taken).toEqual(["run-1", "run-2"]);
    expect(asked.claim.map(({ request }) => request.limit)).toEqual([2, 1]);
    expect(asked.claim[0]?.request).toEqual({
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
    claims.freed();
    await settled();
    expect(asked.claim).toHaveLength(3);
    await claims.stop();
  });

  it("names the claims whose answers were lost when it asks again", async () => {
    let failures = 2;
    const { env, claims, state, asked } = setup((_, signal) => {
      failures -= 1;
      if (failures >= 0) throw new AikiError("UNREACHABLE", "No answer.");
      return failures === -1 ? { runs: [claimedRun("a")] } : untilAborted(signal);
    });
    await env.advance(1_000);
    expect(state.taken).toEqual(["a"]);
    const requests = asked.claim.map(({ request }) => request);
    const ids = requests.map(({ claimId }) => claimId);
    expect(new Set(ids).size).toBe(4);
    expect(requests.map(({ repeats }) => repeats)).toEqual([undefined, ids.slice(0, 1), ids.slice(0, 2), undefined]);
    await claims.stop();
  });

  it("knows how old the leases are when the server held the question", async () => {
    const { env, claims, state } = setup(
      async () => {
        await new Promise<void>((resolve) => env.after(8_000, resolve));
        return { runs: [claimedRun("a")], takenAfterMs: 7_000 };
      },
      { slots: 1 },
    );
    const askedAt = env.elapsed();
    await env.advance(8_000);
    expect(state.takenAt).toEqual([askedAt + 7_000]);
    await claims.stop();
  });

  it("does not hammer a server that answers empty at once", async () => {
    const { env, claims, asked } = setup(() => ({ runs: [] }));
    await env.advance(60_000);
    expect(asked.claim.length).toBeLessThan(30);
    await claims.stop();
  });

  it("asks anew when something else is registered", async () => {
    const { env, claims, state, asked } = setup((_, signal) => untilAborted(signal));
    await env.advance(1_000);
    expect(asked.claim).toHaveLength(1);
    state.serves = [...state.serves, { name: "ship", versionId: "1" }];
    await env.advance(250);
    expect(asked.claim[1]?.request.serves.map(({ name }) => name)).toEqual(["order", "ship"]);
    await claims.stop();
  });

  it("asks for nothing while nothing is registered, and begins when something is", async () => {
    const { env, claims, state, asked } = setup((_, signal) => untilAborted(signal), { serves: [] });
    await env.advance(1_000);
    expect(asked.claim).toEqual([]);
    state.serves = [{ name: "order", versionId: "1" }];
    await env.advance(250);
    expect(asked.claim).toHaveLength(1);
    await claims.stop();
  });

  it.each([
    { free: 1, limits: [2, 1] },
    { free: 0, limits: [2] },
    { free: -1, limits: [2] },
  ])(
    "takes its claim back when slots are occupied again, and asks for what is free: $free",
    async ({ free, limits }) => {
      const { env, claims, state, asked, recalled } = setup((_, signal) => untilAborted(signal));
      await settled();
      state.free = free;
      claims.takenBack();
      await env.advance(5_000);
      expect(recalled).toEqual([uuid(1)]);
      expect(asked.claim.map(({ request }) => request.limit)).toEqual(limits);
      state.free = 2;
      claims.freed();
      await env.advance(5_000);
      expect(asked.claim.at(-1)?.request.limit).toBe(limits.length === 2 ? 1 : 2);
      await claims.stop();
    },
  );

  it("asks for parked runs of its own before others, within its slots", async () => {
    const { claims, state, asked } = setup((request, signal) =>
      request.reclaim === undefined ? untilAborted(signal) : { runs: [claimedRun("a"), claimedRun("b")] },
    );
    await settled();
    claims.reclaim("a", 1);
    claims.reclaim("b", 4);
    claims.reclaim("c", 2);
    await settled();
    expect(asked.claim[0]?.signal?.aborted).toBe(true);
    expect(asked.claim[1]?.request).toMatchObject({
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
    claims.freed();
    await settled();
    expect(asked.claim[2]?.request.reclaim).toEqual([{ runId: "c", fence: 2 }]);
    await claims.stop();
  });

  it("says which parked run is not to be had", async () => {
    const { claims, state } = setup((request, signal) =>
      request.reclaim === undefined ? untilAborted(signal) : { runs: [] },
    );
    await settled();
    claims.reclaim("a", 1);
    await settled();
    expect(state.refused).toEqual(["a"]);
    await claims.stop();
  });

  it("gives up the question under way when it stops, and passes on what arrives nevertheless", async () => {
    const { claims, state, asked } = setup(
      (_, signal) =>
        new Promise((resolve) => signal?.addEventListener("abort", () => resolve({ runs: [claimedRun("late")] }))),
    );
    await settled();
    await claims.stop();
    expect(state.taken).toEqual(["late"]);
    expect(asked.claim).toHaveLength(1);
  });
});

/** Asks when it is told to, and remembers what came of it. */
function scripted() {
  const answers: Answer[] = [];
  const asked: Array<{ free: number; signal: AbortSignal }> = [];
  let ready: (question: Question) => void = () => {};
  const subscriber: Subscriber = {
    next: (free, signal) => {
      asked.push({ free, signal });
      return new Promise((resolve) => {
        ready = (question) => resolve({ ...question, settled: (answer) => answers.push(answer) });
        signal.addEventListener("abort", () => ready({ waitMs: 0 }));
      });
    },
    close: async () => {},
  };
  return { subscriber, answers, asked, ring: (question: Parameters<typeof ready>[0]) => ready(question) };
}

describe("a subscriber", () => {
  it("has its question asked as it is, and hears what came of it", async () => {
    const { subscriber, answers, asked: called, ring } = scripted();
    const { claims, asked } = setup(() => ({ runs: [claimedRun("a")] }), { slots: 3, subscriber });
    await settled();
    expect([called.map(({ free }) => free), asked.claim]).toEqual([[3], []]);
    ring({ waitMs: 0, limit: 2, rung: true });
    await settled();
    expect(asked.claim[0]?.request).toMatchObject({ limit: 2, waitMs: 0, rung: true });
    expect(answers).toEqual([{ type: "answered", asked: 2, runs: 1, heldMs: 0 }]);
    expect(called.map(({ free }) => free)).toEqual([3, 2]);
    await claims.stop();
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
  ])("that asks %j has the worker ask %j with two free slots", async (question, request) => {
    const { subscriber, ring } = scripted();
    const { claims, asked } = setup(({ waitMs }, signal) => (waitMs === 0 ? { runs: [] } : untilAborted(signal)), {
      subscriber,
    });
    await settled();
    ring(question);
    await settled();
    expect(asked.claim[0]?.request).toMatchObject(request);
    await claims.stop();
  });

  it("takes back a question that the server holds, and hears what came of it", async () => {
    const { subscriber, answers, ring } = scripted();
    const { claims, asked, recalled } = setup((_, signal) => untilAborted(signal), { subscriber });
    const recall = new AbortController();
    await settled();
    ring({ waitMs: 2_000, recall: recall.signal });
    await settled();
    recall.abort();
    await settled();
    expect(recalled).toEqual([asked.claim[0]?.request.claimId]);
    expect(answers).toEqual([{ type: "unasked" }]);
    await claims.stop();
  });

  it("gets the runs that the server had taken by then", async () => {
    const { subscriber, answers, ring } = scripted();
    const recall = new AbortController();
    const late = (signal: AbortSignal | undefined) =>
      new Promise<{ runs: ClaimedRun[] }>((resolve) =>
        signal?.addEventListener("abort", () => resolve({ runs: [claimedRun("a")] })),
      );
    const { claims, state } = setup((_, signal) => late(signal), { subscriber });
    await settled();
    ring({ waitMs: 2_000, recall: recall.signal });
    await settled();
    recall.abort();
    await settled();
    expect([state.taken, answers]).toMatchObject([["a"], [{ type: "answered", runs: 1 }]]);
    await claims.stop();
  });

  it("asks what is taken back already without a wait", async () => {
    const { subscriber, answers, ring } = scripted();
    const { claims, asked } = setup(() => ({ runs: [] }), { subscriber });
    await settled();
    ring({ waitMs: 2_000, recall: AbortSignal.abort() });
    await settled();
    expect([asked.claim.map(({ request }) => request.waitMs), answers]).toEqual([[0], [{ type: "unasked" }]]);
    await claims.stop();
  });

  it("repeats a question of which the server that hears of the recall knows nothing", async () => {
    const { subscriber, answers, ring } = scripted();
    const recall = new AbortController();
    const { env, claims, asked, state } = setup(
      ({ repeats }, signal) => (repeats === undefined ? untilAborted(signal) : { runs: [claimedRun("a")] }),
      { subscriber, holds: false },
    );
    await settled();
    ring({ waitMs: 2_000, recall: recall.signal });
    await settled();
    recall.abort();
    // Servers tell one another of it: an answer may be on its way.
    await env.advance(99);
    expect(asked.claim[0]?.signal?.aborted).toBe(false);
    await env.advance(1);
    expect(asked.claim[0]?.signal?.aborted).toBe(true);
    expect(asked.claim[1]?.request).toMatchObject({ waitMs: 0, repeats: [asked.claim[0]?.request.claimId] });
    expect([state.taken, answers]).toMatchObject([["a"], [{ type: "answered", runs: 1 }]]);
    await claims.stop();
  });

  it("repeats a question whose answer was lost though it is taken back, but has it held no more", async () => {
    const { subscriber, answers, ring } = scripted();
    const recall = new AbortController();
    let isLost = true;
    const { env, claims, state, asked } = setup(
      () => {
        if (!isLost) return { runs: [claimedRun("a")] };
        isLost = false;
        throw new AikiError("UNREACHABLE", "No answer.");
      },
      { subscriber },
    );
    await settled();
    ring({ waitMs: 2_000, recall: recall.signal });
    await settled();
    recall.abort();
    await env.advance(5_000);
    expect([state.taken, answers]).toMatchObject([["a"], [{ type: "answered", runs: 1 }]]);
    expect(asked.claim.map(({ request }) => request.waitMs)).toEqual([2_000, 0]);
    expect(asked.claim[1]?.request.repeats).toEqual([asked.claim[0]?.request.claimId]);
    await claims.stop();
  });

  it("waits on while a parked run goes first", async () => {
    const { subscriber, answers, asked: called, ring } = scripted();
    const { claims, asked } = setup((request) => ({ runs: request.reclaim === undefined ? [] : [claimedRun("a")] }), {
      subscriber,
    });
    await settled();
    claims.reclaim("a", 1);
    await settled();
    expect([asked.claim.length, called.length, called[0]?.signal.aborted]).toEqual([1, 1, false]);
    ring({ waitMs: 0 });
    await settled();
    expect([asked.claim.length, answers.length]).toEqual([2, 1]);
    await claims.stop();
  });

  it("is told that nobody asked when a parked run took the last slot", async () => {
    const { subscriber, answers, asked: called } = scripted();
    const { claims } = setup(() => ({ runs: [claimedRun("a")] }), { slots: 1, subscriber });
    await settled();
    claims.reclaim("a", 1);
    await settled();
    expect([called[0]?.signal.aborted, answers]).toEqual([true, [{ type: "unasked" }]]);
    await claims.stop();
  });

  it("is called anew when something else is registered", async () => {
    const { subscriber, asked: called } = scripted();
    const { env, claims, state } = setup(() => ({ runs: [] }), { subscriber });
    await env.advance(1_000);
    expect(called).toHaveLength(1);
    state.serves = [...state.serves, { name: "ship", versionId: "1" }];
    await env.advance(250);
    expect(called.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    await claims.stop();
  });

  it("hears of a refusal, and of repeats nothing", async () => {
    const { subscriber, answers, ring } = scripted();
    const codes: ErrorCode[] = ["UNREACHABLE", "BAD_REQUEST"];
    const { env, claims, asked } = setup(
      () => {
        throw new AikiError(codes.shift() ?? "UNREACHABLE", "No.");
      },
      { subscriber },
    );
    await settled();
    ring({ waitMs: 0 });
    await env.advance(1_000);
    expect(asked.claim).toHaveLength(2);
    expect(answers).toMatchObject([{ type: "failed", error: { code: "BAD_REQUEST" } }]);
    await claims.stop();
  });

  it.each([
    ["rejects", (): Promise<Question> => Promise.reject(new Error("no"))],
    [
      "throws",
      (): Promise<Question> => {
        throw new Error("no");
      },
    ],
    ["asks nothing", async () => JSON.parse("null")],
  ])("that %s is called again after growing pauses, and logged once", async (_, next) => {
    const warnings: string[] = [];
    let calls = 0;
    const subscriber: Subscriber = {
      next: () => {
        calls += 1;
        return next();
      },
      close: async () => {},
    };
    const { env, claims } = setup(() => ({ runs: [] }), { subscriber, warnings });
    await env.advance(60_000);
    expect(calls).toBeGreaterThan(20);
    expect(calls).toBeLessThan(60);
    expect(warnings).toEqual(["the subscriber failed"]);
    await claims.stop();
  });
});
