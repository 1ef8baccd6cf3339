import type { Env } from "@aikirun/lib";

export interface VirtualEnv extends Env {
  /** Lets time pass: every timer that falls due fires in order, and all that follows from it settles first. */
  advance(ms: number): Promise<void>;
}

export function virtualEnv(): VirtualEnv {
  let now = 1_000_000;
  let ids = 0;
  let timers: Array<{ at: number; then: () => void }> = [];
  return {
    now: () => now,
    elapsed: () => now,
    random: () => 0.5,
    id: () => {
      ids += 1;
      return `id-${ids}`;
    },
    after(delayMs, then) {
      const timer = { at: now + delayMs, then };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    soon: (then) => {
      setImmediate(then);
    },
    drained: (then) => {
      queueMicrotask(() => process.nextTick(then));
    },
    async advance(ms) {
      const until = now + ms;
      for (;;) {
        await settled();
        const next = timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
        if (next === undefined) {
          break;
        }
        timers = timers.filter((other) => other !== next);
        now = Math.max(now, next.at);
        next.then();
      }
      now = until;
    },
  };
}

/** Everything that can go on without time passing has gone on. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
