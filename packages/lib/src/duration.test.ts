import { describe, expect, it } from "vitest";
import { type Duration, signedMs, toMs } from "./duration.ts";

describe("toMs", () => {
  const good: Array<[Duration, number]> = [
    [{ milliseconds: 1 }, 1],
    [{ seconds: 1 }, 1_000],
    [{ minutes: 1 }, 60_000],
    [{ hours: 1 }, 3_600_000],
    [{ days: 1 }, 86_400_000],
    [{ days: 1, hours: 2, minutes: 3, seconds: 4, milliseconds: 5 }, 93_784_005],
    [{ seconds: 0 }, 0],
    [{ hours: 0.5 }, 1_800_000],
    [{ seconds: 0.07 }, 70],
    [{ days: 36_525 }, 3_155_760_000_000],
  ];
  it.each(good)("toMs sums the fields of %j to %d ms", (duration, ms) => {
    expect(toMs(duration)).toBe(ms);
  });

  const bad: Array<[string, unknown, RegExp]> = [
    ["nothing", {}, /wait timeout is empty/],
    ["only undefined", { seconds: undefined }, /is empty/],
    ["a negative field", { seconds: -1 }, /seconds: -1/],
    ["a negative field that others outweigh", { seconds: -1, minutes: 5 }, /seconds: -1/],
    ["NaN", { seconds: Number.NaN }, /NaN/],
    ["infinity", { days: Number.POSITIVE_INFINITY }, /Infinity/],
    ["a string amount", { seconds: "5" }, /seconds: 5/],
    ["an unknown unit", { weeks: 1 }, /no unit "weeks"; use days, hours/],
    ["a unit of Object.prototype", { constructor: 1 }, /no unit "constructor"/],
    ["more than 100 years", { days: 36_525, milliseconds: 1 }, /longer than 100 years/],
    ["a number", 30, /such as \{ seconds: 30 \}/],
    ["null", null, /not null/],
  ];
  it.each(bad)("toMs refuses %s", (_, duration, message) => {
    expect(() => Reflect.apply(toMs, undefined, [duration, "wait timeout"])).toThrow(
      expect.objectContaining({ code: "INVALID_DURATION", retryable: false, message: expect.stringMatching(message) }),
    );
  });
});

describe("signedMs", () => {
  it("signedMs is negative for a moment that has passed, and else agrees with toMs", () => {
    expect(signedMs({ milliseconds: -5 })).toBe(-5);
    expect(signedMs({ minutes: 1, seconds: -90 })).toBe(-30_000);
    expect(signedMs({ minutes: 1, seconds: -30 })).toBe(30_000);
    expect(signedMs({ hours: 2 })).toBe(toMs({ hours: 2 }));
    expect(signedMs({ milliseconds: -0.1 })).toBe(0);
  });

  const bad: Array<[string, Duration, RegExp]> = [
    ["nothing", {}, /is empty/],
    ["NaN", { seconds: Number.NaN }, /seconds: NaN; use a finite number\./],
    ["more than 100 years", { days: 36_526 }, /longer than 100 years/],
    ["more than 100 years ago", { days: -36_526 }, /longer than 100 years/],
    ["sums that are no number", { days: 1e308, hours: -1e308 }, /longer than 100 years/],
  ];
  it.each(bad)("signedMs refuses %s", (_, duration, message) => {
    expect(() => signedMs(duration)).toThrow(
      expect.objectContaining({ code: "INVALID_DURATION", message: expect.stringMatching(message) }),
    );
  });
});
