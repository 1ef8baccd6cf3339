import { AikiError } from "./error.ts";

/** A span of time as people write it: the sum of its fields, each zero or more, fractions allowed. */
export interface Duration {
  /** Days of 24 hours. Default 0. */
  days?: number;
  /** Hours. Default 0. */
  hours?: number;
  /** Minutes. Default 0. */
  minutes?: number;
  /** Seconds. Default 0. */
  seconds?: number;
  /** Milliseconds. Default 0. */
  milliseconds?: number;
}

const unitMs = {
  days: 86_400_000,
  hours: 3_600_000,
  minutes: 60_000,
  seconds: 1_000,
  milliseconds: 1,
} as const satisfies Record<keyof Duration, number>;

const units: ReadonlyMap<string, number> = new Map(Object.entries(unitMs));

/** The longest duration: 100 years of 365.25 days, in milliseconds. */
export const longestMs: number = 36_525 * unitMs.days;

/**
 * The duration in whole milliseconds, rounded to the nearest. `what` names it in the error's sentence.
 * Throws `AikiError` `INVALID_DURATION` when it is empty, negative, not finite, longer than 100 years, or has a field
 * that is no unit.
 */
export function toMs(duration: Duration, what = "duration"): number {
  return total(duration, what, 0);
}

/**
 * The time until a moment that may have passed, in whole milliseconds: like `toMs`, but amounts may be negative, and
 * the result is negative when the moment has passed. Throws `AikiError` `INVALID_DURATION`.
 */
export function signedMs(duration: Duration, what = "duration"): number {
  return total(duration, what, Number.NEGATIVE_INFINITY);
}

function total(duration: Duration, what: string, lowest: number): number {
  if (typeof duration !== "object" || duration === null) {
    throw invalid(what, `must be an object such as { seconds: 30 }, not ${String(duration)}`);
  }
  let sum = 0;
  let fields = 0;
  for (const [unit, amount] of Object.entries(duration)) {
    if (amount === undefined) continue;
    const ms = units.get(unit);
    if (ms === undefined) throw invalid(what, `has no unit "${unit}"; use ${[...units.keys()].join(", ")}`);
    if (typeof amount !== "number" || !Number.isFinite(amount) || amount < lowest) {
      const range = lowest === 0 ? ", zero or more" : "";
      throw invalid(what, `has ${unit}: ${String(amount)}; use a finite number${range}`);
    }
    sum += amount * ms;
    fields++;
  }
  if (fields === 0) throw invalid(what, "is empty; give at least one unit, for example { seconds: 30 }");
  if (!(Math.abs(sum) <= longestMs)) throw invalid(what, "is longer than 100 years");
  return Math.round(sum) + 0;
}

function invalid(what: string, problem: string): AikiError {
  return new AikiError("INVALID_DURATION", `The ${what} ${problem}.`);
}
