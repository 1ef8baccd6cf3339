import { describe, expect, it } from "vitest";
import type { Cancel } from "./env.ts";
import { settlesWithin, waitUntil } from "./wait.ts";

/** Timers that fire when the test calls `fire`. */
function clock() {
  const timers = new Set<() => void>();
  const after = (_: number, then: () => void): Cancel => {
    timers.add(then);
    return () => timers.delete(then);
  };
  const fire = () => {
    for (const then of timers) then();
  };
  return { env: { after }, timers, fire };
}

/** Calls `waitUntil`, and counts how often its `onBegin` is undone. */
function waiting(signals: AbortSignal[] = []) {
  const { env, timers, fire } = clock();
  const counts = { undone: 0 };
  let wake = () => {};
  const ended = waitUntil(env, {
    timeoutMs: 10,
    signals,
    onBegin: (end) => {
      wake = end;
      return () => {
        counts.undone += 1;
      };
    },
  });
  return { ended, wake: () => wake(), timers, fire, counts };
}

describe("waitUntil", () => {
  it("waitUntil ends once, by the first of its causes, and leaves no timer and no listener", async () => {
    const controller = new AbortController();
    const ends = [
      { end: (wait: ReturnType<typeof waiting>) => wait.wake(), how: "woken" },
      { end: (wait: ReturnType<typeof waiting>) => wait.fire(), how: "timed_out" },
      { end: () => controller.abort(), how: "aborted" },
    ];
    const waits = ends.map(() => waiting([controller.signal]));
    for (const [index, { end, how }] of ends.entries()) {
      const wait = waits[index];
      if (wait === undefined) throw new Error("There is a wait for each end.");
      end(wait);
      expect(await wait.ended).toBe(how);
      wait.wake();
      expect([wait.timers.size, wait.counts.undone]).toEqual([0, 1]);
    }
  });

  it("waitUntil ends at once, and begins nothing, if the signal was aborted before", async () => {
    const wait = waiting([new AbortController().signal, AbortSignal.abort()]);
    expect(await wait.ended).toBe("aborted");
    expect([wait.timers.size, wait.counts.undone]).toEqual([0, 0]);
  });

  it("onBegin is undone even if it wakes the wait itself", async () => {
    const { env, timers } = clock();
    let undone = 0;
    const onBegin = (wake: () => void) => {
      wake();
      return () => {
        undone += 1;
      };
    };
    expect(await waitUntil(env, { timeoutMs: 10, onBegin })).toBe("woken");
    expect([timers.size, undone]).toEqual([0, 1]);
  });
});

describe("settlesWithin", () => {
  it.each([
    ["a result", () => Promise.resolve(), true],
    ["a rejection", () => Promise.reject(new Error("No.")), true],
    ["a promise that stays pending", () => new Promise(() => {}), false],
  ])("settlesWithin distinguishes %s from a timeout", async (_, work, expected) => {
    const { env, fire } = clock();
    const settled = settlesWithin(env, work(), 10);
    if (!expected) fire();
    expect(await settled).toBe(expected);
  });
});
