/** Plain asynchronous work: what a handler awaits that is not durable, and takes another time on each replay. */

import type { Process } from "./process.ts";

/** Virtual milliseconds; null: it is there at once, after some microtasks, where the world has caches. */
const durations = [null, null, 0, 0, 1, 30, 300, 700, 2_500, 8_000] as const;

/** The microtasks that it takes are a matter of code, not of time: as many on each replay. */
export function plainWork(process: Process, turns: number): Promise<void> {
  const ms = process.chance.pick(durations) ?? (process.world.hasCaches ? null : 5);
  return ms === null ? microtasks(turns) : timer(process, ms);
}

/** Plain work that does not end within the microtasks. */
export function pause(process: Process): Promise<void> {
  return timer(process, process.chance.pick(durations) ?? 5);
}

function timer(process: Process, ms: number): Promise<void> {
  return new Promise((resolve) => {
    process.env.after(ms, () => {
      process.isInPlain = true;
      // Fires when the microtask queue is empty: what the handler does until then follows this timer, no delivery.
      queueMicrotask(() => {
        globalThis.process.nextTick(() => {
          process.isInPlain = false;
        });
      });
      resolve();
    });
  });
}

export async function microtasks(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await null;
}
