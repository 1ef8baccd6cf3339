import type { Env } from "@aikirun/lib";
import { settled, virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { growth } from "../../test/growth.ts";
import { adaptivePolling, polling } from "./polling.ts";
import type { PollResult, Subscriber } from "./subscriber.ts";

/** A clock on which pauses end at once; keeps their lengths. */
function withoutPauses(): { env: Env; pauses: number[] } {
  const pauses: number[] = [];
  const after: Env["after"] = (ms, then) => {
    pauses.push(ms);
    queueMicrotask(then);
    return () => {};
  };
  return { env: { ...virtualEnv(), after }, pauses };
}

async function poll(subscriber: Subscriber, result: PollResult): Promise<void> {
  const request = await subscriber.next(1, new AbortController().signal);
  request.settled?.(result);
}

const claimed = (runs: number, waitedMs: number): PollResult => ({ type: "claimed", requested: 1, runs, waitedMs });

describe("adaptive polling", () => {
  it("adaptive polling makes no pause after runs, after a long poll, or after a failure", async () => {
    const { env, pauses } = withoutPauses();
    const subscriber = adaptivePolling(growth, env);
    await poll(subscriber, claimed(3, 1));
    await poll(subscriber, claimed(0, 25_000));
    await poll(subscriber, { type: "failed", error: new Error("no") });
    await poll(subscriber, { type: "skipped" });
    expect(pauses).toEqual([]);
  });

  it("adaptive polling pauses ever longer after empty answers past the threshold, until it gets runs", async () => {
    const { env, pauses } = withoutPauses();
    const subscriber = adaptivePolling(growth, env);
    for (let turn = 0; turn < 13; turn += 1) await poll(subscriber, claimed(0, 1));
    expect(pauses.slice(0, 6)).toEqual([45, 45, 45, 90, 180, 360]);
    expect(pauses.at(-1)).toBe(4_500);
    await poll(subscriber, claimed(1, 1));
    await poll(subscriber, claimed(0, 1));
    await poll(subscriber, claimed(0, 1));
    expect(pauses.at(-1)).toBe(45);
  });
});

describe("polling", () => {
  it("polling pauses only after empty answers, and makes no long polls", async () => {
    const { env, pauses } = withoutPauses();
    const subscriber = polling({ intervalMs: 500 }, env);
    await poll(subscriber, claimed(1, 0));
    await poll(subscriber, claimed(0, 0));
    expect(pauses).toEqual([]);
    expect(await subscriber.next(1, new AbortController().signal)).toMatchObject({ waitMs: 0 });
    expect(pauses).toEqual([500]);
  });

  it("polling claims at once when the served versions change", async () => {
    const env = virtualEnv();
    const subscriber = polling({ intervalMs: 500 }, env);
    await poll(subscriber, claimed(0, 0));
    const changed = new AbortController();
    let isDue = false;
    void subscriber.next(1, changed.signal).then(() => {
      isDue = true;
    });
    await settled();
    expect(isDue).toBe(false);
    changed.abort();
    await settled();
    expect(isDue).toBe(true);
  });
});
