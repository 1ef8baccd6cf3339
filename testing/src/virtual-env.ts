/** Time, randomness and ids for tests: nothing happens until the test lets time pass. */

import type { Env } from "@aikirun/lib";

export interface VirtualEnv extends Env {
  /** Lets time pass. Timers fire in order, those of one moment together; what follows from them happens first. */
  advance(ms: number): Promise<void>;
  /** Lets time pass without any timer, as for a process that was paused. */
  jump(ms: number): void;
  /** Resolves when everything has happened that needs no time. */
  settle(): Promise<void>;
  /** The number of timers that are armed. */
  readonly timers: number;
}

interface VirtualTimer {
  at: number;
  then: () => void;
}

/** Begins at a round moment; ids count upwards in the form of UUIDv7s. */
export function virtualEnv(random: () => number = () => 0.5): VirtualEnv {
  let now = 1_000_000;
  let ids = 0;
  let soon = 0;
  const timers = new Set<VirtualTimer>();
  /** Moves the clock to the next timers and fires all of that moment, as Node does; false if there are none. */
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

/** Lets everything happen that needs no time, and few turns of the event loop. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 12; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Ids that sort by `n`, in the form of a UUIDv7. */
export function uuid(n: number): string {
  return `0190a000-0000-7000-8000-${String(n).padStart(12, "0")}`;
}
