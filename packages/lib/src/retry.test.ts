import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RetryPolicy } from "./protocol/run.ts";
import { checkRetryPolicy, retryDelayMs } from "./retry.ts";

const lowest = () => 0;
const highest = () => 1 - 2 ** -53;
const delays = (policy: RetryPolicy, tries: number, random = lowest) =>
  Array.from({ length: tries }, (_, index) => retryDelayMs(policy, index + 1, random));

describe("retryDelayMs", () => {
  it("gives up at once under never", () => {
    expect(delays({ type: "never" }, 2)).toEqual([null, null]);
  });

  it("counts the first attempt among maxAttempts", () => {
    expect(delays({ type: "fixed", maxAttempts: 1, delayMs: 7 }, 1)).toEqual([null]);
    expect(delays({ type: "fixed", maxAttempts: 3, delayMs: 7 }, 4)).toEqual([7, 7, null, null]);
  });

  it("doubles from the base after the first failure", () => {
    const policy = { type: "exponential", maxAttempts: 5, baseDelayMs: 200 } as const;
    expect(delays(policy, 5)).toEqual([200, 400, 800, 1_600, null]);
  });

  it("grows by the factor and stops at maxDelayMs", () => {
    const policy = { type: "exponential", maxAttempts: 9, baseDelayMs: 10, factor: 3, maxDelayMs: 100 } as const;
    expect(delays(policy, 4)).toEqual([10, 30, 90, 100]);
  });

  it("never waits longer than a day unless the policy says so, however many attempts failed", () => {
    const policy = { type: "exponential", maxAttempts: 10_000, baseDelayMs: 1_000 } as const;
    expect(retryDelayMs(policy, 9_999, lowest)).toBe(86_400_000);
    expect(retryDelayMs({ ...policy, maxDelayMs: 90_000_000 }, 9_999, lowest)).toBe(90_000_000);
    expect(retryDelayMs({ ...policy, baseDelayMs: 0 }, 9_999, lowest)).toBe(0);
  });

  it("spreads a jittered delay between its half and its whole, at the cap too", () => {
    const policy = { type: "jittered", maxAttempts: 9, baseDelayMs: 100, maxDelayMs: 400 } as const;
    expect(delays(policy, 4, lowest)).toEqual([100, 200, 400, 400]);
    expect(delays(policy, 4, highest)).toEqual([50, 100, 200, 200]);
  });

  it("spreads by jitterFactor: none at 0, down to no delay at 1", () => {
    const policy = { type: "jittered", maxAttempts: 9, baseDelayMs: 100 } as const;
    expect(retryDelayMs({ ...policy, jitterFactor: 0 }, 1, highest)).toBe(100);
    expect(retryDelayMs({ ...policy, jitterFactor: 1 }, 1, highest)).toBe(0);
  });

  it("is a whole number from zero to the cap for every policy that passes the check", () => {
    const delayMs = fc.double({ min: 0, max: 1e9, noNaN: true });
    const maxAttempts = fc.integer({ min: 2, max: 1e6 });
    const policies = fc.oneof(
      fc.record({ type: fc.constant("fixed" as const), maxAttempts, delayMs }),
      fc.record({ type: fc.constant("exponential" as const), maxAttempts, baseDelayMs: delayMs, maxDelayMs: delayMs }),
      fc.record({ type: fc.constant("jittered" as const), maxAttempts, baseDelayMs: delayMs, maxDelayMs: delayMs }),
    );
    fc.assert(
      fc.property(policies, fc.double({ min: 0, max: 0.999, noNaN: true }), fc.nat(), (policy, chance, failures) => {
        const failed = 1 + (failures % (policy.maxAttempts - 1));
        const delay = retryDelayMs(checkRetryPolicy(policy, "a test"), failed, () => chance) ?? -1;
        const cap = policy.type === "fixed" ? policy.delayMs : policy.maxDelayMs;
        expect(Number.isInteger(delay) && delay >= 0 && delay <= Math.round(cap)).toBe(true);
        expect(retryDelayMs(policy, policy.maxAttempts, () => chance)).toBeNull();
      }),
    );
  });
});

describe("checkRetryPolicy", () => {
  it("returns a copy, which later changes of the policy do not reach", () => {
    const policy: RetryPolicy = { type: "jittered", maxAttempts: 3, baseDelayMs: 1, jitterFactor: 1, maxDelayMs: 5 };
    const checked = checkRetryPolicy(policy, 'task "charge"');
    expect(checked).toEqual(policy);
    policy.maxAttempts = Number.NaN;
    expect(checked).toMatchObject({ maxAttempts: 3 });
  });

  it("leaves out fields that are undefined", () => {
    const policy = { type: "exponential", maxAttempts: 3, baseDelayMs: 1 };
    const given = { ...policy, factor: undefined, delayMs: undefined };
    expect(Reflect.apply(checkRetryPolicy, undefined, [given, "a test"])).toStrictEqual(policy);
  });

  const bad: Array<[string, unknown, RegExp]> = [
    ["no object", "never", /task "charge" must be an object/],
    ["no type", {}, /has type undefined; use never, fixed/],
    ["an unknown type", { type: "linear" }, /"linear"/],
    ["no attempts", { type: "fixed", maxAttempts: 0, delayMs: 1 }, /maxAttempts: 0/],
    ["a fraction of attempts", { type: "fixed", maxAttempts: 1.5, delayMs: 1 }, /whole number/],
    ["endless attempts", { type: "fixed", maxAttempts: Number.POSITIVE_INFINITY, delayMs: 1 }, /maxAttempts: Infinity/],
    ["a missing delay", { type: "fixed", maxAttempts: 2 }, /delayMs: undefined/],
    ["a NaN delay", { type: "fixed", maxAttempts: 2, delayMs: Number.NaN }, /delayMs: NaN/],
    ["a negative delay", { type: "exponential", maxAttempts: 2, baseDelayMs: -1 }, /baseDelayMs: -1/],
    ["a shrinking factor", { type: "exponential", maxAttempts: 2, baseDelayMs: 1, factor: 0.5 }, /factor: 0.5/],
    ["jitter above one", { type: "jittered", maxAttempts: 2, baseDelayMs: 1, jitterFactor: 1.1 }, /jitterFactor: 1.1/],
    ["a misspelt field", { type: "fixed", maxAttemps: 3, maxAttempts: 2, delayMs: 1 }, /unknown field "maxAttemps"/],
    ["a field of another type", { type: "fixed", maxAttempts: 2, delayMs: 1, factor: 2 }, /unknown field "factor"/],
  ];
  it.each(bad)("refuses %s", (_, policy, message) => {
    expect(() => Reflect.apply(checkRetryPolicy, undefined, [policy, 'task "charge"'])).toThrow(
      expect.objectContaining({ code: "INVALID_RETRY_POLICY", message: expect.stringMatching(message) }),
    );
  });
});
