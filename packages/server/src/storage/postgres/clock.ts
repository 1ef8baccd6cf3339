import type { KnownTime } from "../storage.ts";

/** What the clock knows of it. */
type ClockTime = Pick<KnownTime, "now" | "latest">;

/** What the database's clock says, from what it said. */
export interface DatabaseClock {
  /** It said `now` (epoch milliseconds) between these two moments of the monotonic clock, in milliseconds. */
  heard(now: number, askedAt: number, heardAt: number): void;
  /** Null when it was not heard lately. */
  now(): ClockTime | null;
  /** It proved to be wrong. */
  forget(): void;
}

/**
 * SQL: the database's clock in epoch microseconds. A whole number, because a role's `extra_float_digits` decides how
 * many digits of a fraction PostgreSQL sends.
 */
export const clockMicroseconds: string = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/** How far the time of a batch may be behind the database's clock when it arrives. Milliseconds. */
export const slackMs = 50;

/** How long the best of what was heard is kept: clocks drift apart by far less than a millisecond meanwhile. */
const keptMs = 10_000;

/** So far two clocks may drift apart in that time, at most. */
const driftMs = 1;

/** A journey that took longer says too little. Milliseconds. */
const longestMs = 10;

/**
 * An answer was given before it was heard, so the clock is ahead of it by now: to take the moment of hearing for that
 * of the answer errs to the safe side, by less than the journey took. The shortest journey errs least.
 */
export function databaseClock(elapsed: () => number): DatabaseClock {
  let best: { ahead: number; tookMs: number; heardAt: number } | null = null;
  let last = 0;
  return {
    heard(now, askedAt, heardAt) {
      last = Math.max(last, now);
      const tookMs = heardAt - askedAt;
      const isStale = best === null || heardAt - best.heardAt > keptMs;
      if (tookMs <= longestMs && (isStale || tookMs <= (best?.tookMs ?? 0))) {
        best = { ahead: now - heardAt, tookMs, heardAt };
      }
    },
    now() {
      const at = elapsed();
      if (best === null || at - best.heardAt > 2 * keptMs) return null;
      const now = Math.floor(Math.max(at + best.ahead, last));
      return { now, latest: Math.max(now, Math.ceil(at + best.ahead + best.tookMs + driftMs)) };
    },
    forget() {
      best = null;
      last = 0;
    },
  };
}
