import { AikiError, silentLogger } from "@aikirun/lib";
import type { Served } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { claimedRun, type Script, scriptedApi, untilAborted } from "../test/scripted-api.ts";
import { settled, virtualEnv } from "../test/virtual-env.ts";
import { paceOf } from "./pace.ts";
import { source } from "./source.ts";
import { parseSubscriber } from "./subscriber.ts";

const orders: Served[] = [{ name: "order", versionId: "1" }];

function setup(claim: NonNullable<Script["claim"]>, slots = 2, serves = orders) {
  const env = virtualEnv();
  const scripted = scriptedApi({ claim });
  const taken: string[] = [];
  const refused: string[] = [];
  const state = { free: slots, serves, taken, refused };
  const claims = source({
    api: scripted.api,
    env,
    logger: silentLogger,
    pace: paceOf(parseSubscriber(undefined, false), env),
    session: "s",
    worker: "w",
    shardKeys: ["eu"],
    leaseMs: 90_000,
    serves: (): Served[] => state.serves,
    freeSlots: () => state.free,
    onRun: ({ id }) => {
      state.free -= 1;
      state.taken.push(id);
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
      claimId: "id-1",
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

  it("repeats a question whose answer was lost with the same id", async () => {
    let failures = 2;
    const { env, claims, state, asked } = setup((_, signal) => {
      failures -= 1;
      if (failures >= 0) throw new AikiError("UNREACHABLE", "No answer.");
      return failures === -1 ? { runs: [claimedRun("a")] } : untilAborted(signal);
    });
    await env.advance(1_000);
    expect(state.taken).toEqual(["a"]);
    expect(new Set(asked.claim.slice(0, 3).map(({ request }) => request.claimId)).size).toBe(1);
    expect(asked.claim[3]?.request.claimId).not.toBe(asked.claim[0]?.request.claimId);
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
    const { env, claims, state, asked } = setup((_, signal) => untilAborted(signal), 2, []);
    await env.advance(1_000);
    expect(asked.claim).toEqual([]);
    state.serves = [{ name: "order", versionId: "1" }];
    await env.advance(250);
    expect(asked.claim).toHaveLength(1);
    await claims.stop();
  });

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
