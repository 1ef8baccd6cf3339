import type { Env } from "@aikirun/lib";

/**
 * A rate limit: `burst` at once, then `perMs` each millisecond. Returns how long to wait before the next use, in
 * milliseconds; 0 while the limit is not exceeded.
 */
export function budget({ perMs, burst }: { perMs: number; burst: number }, env: Env): (amount: number) => number {
  let left = burst;
  let at = env.elapsed();
  return (amount) => {
    const now = env.elapsed();
    left = Math.min(burst, left + (now - at) * perMs) - amount;
    at = now;
    return left >= 0 ? 0 : -left / perMs;
  };
}
