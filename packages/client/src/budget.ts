import type { Env } from "@aikirun/lib";

/**
 * A rate limit: an amount of `burst` immediately, then `perMs` in each millisecond. The returned function takes an
 * amount and returns how long to wait before using it, in milliseconds; 0 while the limit is not exceeded.
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
