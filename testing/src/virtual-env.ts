/** Time, randomness and ids for tests: time passes only when the test advances it. */

import type { Env } from "@aikirun/lib";

export interface VirtualEnv extends Env {
  /**
   * Advances the clock. Timers fire in order, those of one moment together; their promises settle before the next timer
   * fires.
   */
  advance(ms: number): Promise<void>;
  /** Advances the clock without firing timers, as in a process that was paused. */
  jump(ms: number): void;
  /** Resolves when nothing is left to do at this moment of the clock. */
  settle(): Promise<void>;
  /** The number of timers that are armed. */
  readonly timers: number;
}

interface VirtualTimer {
  at: number;
  then: () => void;
}

/** A clock that begins at 1,000,000 ms, and ids that count upwards in the form of UUIDv7s. */
export function virtualEnv(random: () => number = () => 0.5): VirtualEnv {
  let now = 1_000_000;
  let ids = 0;
  let soon = 0;
  const timers = new Set<VirtualTimer>();
  /** Advances the clock to the next timer and fires all timers of that moment, as Node does; false if there is none. */
  const fireNext = (until: number): boolean => {
    const at = Math.min(...[...timers].map((timer) => timer.at));
    if (at > until) return false;
    now = Math.max(now, at);
    for (const timer of [...timers].filter((one) => one.at === at)) if (timers.delete(timer)) timer.then();
    return true;
  };
  const settle = async (): Promise<void> => {
    do await settled();
    while (soon > 0);
  };
  return {
    now: () => now,
    elapsed: () => now,
    random,
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
      soon += 1;
      setImmediate(() => {
        soon -= 1;
        then();
      });
    },
    drained: (then) => {
      queueMicrotask(() => process.nextTick(then));
    },
    settle,
    get timers() {
      return timers.size;
    },
    jump: (ms) => {
      now += ms;
    },
    async advance(ms) {
      const until = now + ms;
      do await settle();
      while (fireNext(until));
      now = until;
    },
  };
}

/** Waits for 12 turns of the event loop, which is enough for all promises that need no timer. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 12; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Ids that sort by `n`, in the form of a UUIDv7. */
export function uuid(n: number): string {
  return `0190a000-0000-7000-8000-${String(n).padStart(12, "0")}`;
}
