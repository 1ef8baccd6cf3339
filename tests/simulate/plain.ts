/** Non-durable work: non-durable asynchronous work of a handler, which takes a different time on each replay. */

import type { Process } from "./process.ts";

/** Virtual milliseconds. With null it ends after some microtasks if the world has caches. */
const durations = [null, null, 0, 0, 1, 30, 300, 700, 2_500, 8_000] as const;

/** Non-durable work that may end after `turns` microtasks. Their number is the same on each replay. */
export function plainWork(process: Process, turns: number): Promise<void> {
  const ms = process.chance.pick(durations) ?? (process.world.hasCaches ? null : 5);
  return ms === null ? microtasks(turns) : timer(process, ms);
}

/** Non-durable work that never ends within the current microtasks. */
export function pause(process: Process): Promise<void> {
  return timer(process, process.chance.pick(durations) ?? 5);
}

function timer(process: Process, ms: number): Promise<void> {
  return new Promise((resolve) => {
    process.env.after(ms, () => {
      process.isInPlain = true;
      // Fires when the microtask queue is empty. All calls until then follow this timer, not a delivery.
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
