import type { KnownTime } from "../storage.ts";

type ClockTime = Pick<KnownTime, "now" | "latest">;

/** Estimates the time of the database's clock from the times that the database returned. */
export interface DatabaseClock {
  /**
   * The database read its clock as `now` (epoch milliseconds) between `askedAt` and `receivedAt`, which are
   * milliseconds of the monotonic clock.
   */
  received(now: number, askedAt: number, receivedAt: number): void;
  /** Null when no time was received lately. */
  now(): ClockTime | null;
  /** Called when the estimate proved to be wrong. */
  invalidate(): void;
}

/**
 * SQL: the database's clock in epoch microseconds. An integer, because the setting `extra_float_digits` of a role
 * decides how many digits of a fraction PostgreSQL sends.
 */
export const clockMicroseconds: string = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/** How far the time of a batch may be behind the database's clock when it arrives. Milliseconds. */
export const slackMs = 50;

/** How long the best estimate is kept: clocks drift apart by far less than a millisecond in this time. Milliseconds. */
const keptMs = 10_000;

/** The maximum drift between two clocks in that time. Milliseconds. */
const driftMs = 1;

/** A round trip that took longer is too inaccurate. Milliseconds. */
const longestMs = 10;

/**
 * The database read its clock before the reply was received. The estimate takes the time of receipt for the time of
 * reading, so it is late by less than the round trip and never early. The shortest round trip has the smallest error.
 */
export function databaseClock(elapsed: () => number): DatabaseClock {
  let best: { ahead: number; tookMs: number; receivedAt: number } | null = null;
  let last = 0;
  return {
    received(now, askedAt, receivedAt) {
      last = Math.max(last, now);
      const tookMs = receivedAt - askedAt;
      const isStale = best === null || receivedAt - best.receivedAt > keptMs;
      if (tookMs <= longestMs && (isStale || tookMs <= (best?.tookMs ?? 0))) {
        best = { ahead: now - receivedAt, tookMs, receivedAt };
      }
    },
    now() {
      const at = elapsed();
      if (best === null || at - best.receivedAt > 2 * keptMs) return null;
      const now = Math.floor(Math.max(at + best.ahead, last));
      return { now, latest: Math.max(now, Math.ceil(at + best.ahead + best.tookMs + driftMs)) };
    },
    invalidate() {
      best = null;
      last = 0;
    },
  };
}
