import type { Env } from "@aikirun/lib";

/**
 * How fast something may be spent: `burst` at once, then `perMs`. What is spent beyond that is a debt; the answer is
 * how long to wait until it is repaid. Milliseconds, 0 when there is no debt.
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
