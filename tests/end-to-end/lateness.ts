/** Detects that this process was paused, for whatever reason, because a pause explains expired leases. */

const everyMs = 50;
const lateMs = 250;

/** Calls `onLate` with the duration of a pause and its end. Does not keep the process alive. */
export function watchLateness(onLate: (ms: number, at: number) => void): void {
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    const late = Math.round(now - last - everyMs);
    last = now;
    if (late > lateMs) onLate(late, Date.now());
  }, everyMs).unref();
}

/** Prints each pause to stdout: `late <ms> at <epoch ms>`. */
export function sayLateness(): void {
  watchLateness((ms, at) => console.log(`late ${ms} at ${at}`));
}
