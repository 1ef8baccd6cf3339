/** Time, randomness and ids for tests: nothing happens until the test lets time pass. */

import type { Env } from "@aikirun/lib";

export interface VirtualEnv extends Env {
  /** Lets time pass: every timer that falls due fires in order, and all that follows from it settles first. */
  advance(ms: number): Promise<void>;
  /** Timers that are armed. */
  readonly timers: number;
}

interface Timer {
  at: number;
  then: () => void;
}

/** Begins at a round moment; ids count upwards in the form of UUIDv7s. */
export function virtualEnv(): VirtualEnv {
  let now = 1_000_000;
  let ids = 0;
  const timers = new Set<Timer>();
  const next = (until: number): Timer | undefined =>
    [...timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
  return {
    now: () => now,
    elapsed: () => now,
    random: () => 0.5,
    id: () => {
      ids += 1;
      return uuid(ids);
    },
    after(delayMs, then) {
      const timer = { at: now + Math.max(0, delayMs), then };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    soon: (then) => {
      setImmediate(then);
    },
    drained: (then) => {
      queueMicrotask(() => process.nextTick(then));
    },
    get timers() {
      return timers.size;
    },
    async advance(ms) {
      const until = now + ms;
      await settled();
      for (let timer = next(until); timer !== undefined; timer = next(until)) {
        timers.delete(timer);
        now = Math.max(now, timer.at);
        timer.then();
        await settled();
      }
      now = until;
    },
  };
}

/** Everything that can go on without time passing has gone on. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 12; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Ids that sort by `n`, in the form of a UUIDv7. */
export function uuid(n: number): string {
  return `0190a000-0000-7000-8000-${String(n).padStart(12, "0")}`;
}
