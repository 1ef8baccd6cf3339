/** Notices when this process stood still, for whatever reason: what follows from that is not the product's fault. */

const everyMs = 50;
const lateMs = 250;

/** Told how long, and when it went on. Milliseconds, epoch milliseconds. Does not keep the process alive. */
export function watchLateness(onLate: (ms: number, at: number) => void): void {
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    const late = Math.round(now - last - everyMs);
    last = now;
    if (late > lateMs) onLate(late, Date.now());
  }, everyMs).unref();
}

/** Says so on stdout: `late <ms> at <epoch ms>`. */
export function sayLateness(): void {
  watchLateness((ms, at) => console.log(`late ${ms} at ${at}`));
}
