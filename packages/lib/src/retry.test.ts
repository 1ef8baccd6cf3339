import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RetryPolicy } from "./protocol/run.ts";
import { checkRetryPolicy, retryDelayMs } from "./retry.ts";

const lowest = () => 0;
const highest = () => 1 - 2 ** -53;
const delays = (policy: RetryPolicy, tries: number, random = lowest) =>
  Array.from({ length: tries }, (_, index) => retryDelayMs(policy, index + 1, random));

describe("retryDelayMs", () => {
  it('the policy "never" allows one attempt only', () => {
    expect(delays({ type: "never" }, 2)).toEqual([null, null]);
  });

  it("maxAttempts includes the first attempt", () => {
    expect(delays({ type: "fixed", maxAttempts: 1, delayMs: 7 }, 1)).toEqual([null]);
    expect(delays({ type: "fixed", maxAttempts: 3, delayMs: 7 }, 4)).toEqual([7, 7, null, null]);
  });

  it("exponential delays double, from the base after the first failure", () => {
    const policy = { type: "exponential", maxAttempts: 5, baseDelayMs: 200 } as const;
    expect(delays(policy, 5)).toEqual([200, 400, 800, 1_600, null]);
  });

  it("exponential delays grow by the factor and stop at maxDelayMs", () => {
    const policy = { type: "exponential", maxAttempts: 9, baseDelayMs: 10, factor: 3, maxDelayMs: 100 } as const;
    expect(delays(policy, 4)).toEqual([10, 30, 90, 100]);
  });

  it("a delay is at most a day unless the policy says otherwise, after any number of failures", () => {
    const policy = { type: "exponential", maxAttempts: 10_000, baseDelayMs: 1_000 } as const;
    expect(retryDelayMs(policy, 9_999, lowest)).toBe(86_400_000);
    expect(retryDelayMs({ ...policy, maxDelayMs: 90_000_000 }, 9_999, lowest)).toBe(90_000_000);
    expect(retryDelayMs({ ...policy, baseDelayMs: 0 }, 9_999, lowest)).toBe(0);
  });

  it("a jittered delay is between half of its maximum and its maximum, also at the limit", () => {
    const policy = { type: "jittered", maxAttempts: 9, baseDelayMs: 100, maxDelayMs: 400 } as const;
    expect(delays(policy, 4, lowest)).toEqual([100, 200, 400, 400]);
    expect(delays(policy, 4, highest)).toEqual([50, 100, 200, 200]);
  });

  it("a jitterFactor of 0 adds no randomness, and a jitterFactor of 1 allows a delay of 0", () => {
    const policy = { type: "jittered", maxAttempts: 9, baseDelayMs: 100 } as const;
    expect(retryDelayMs({ ...policy, jitterFactor: 0 }, 1, highest)).toBe(100);
    expect(retryDelayMs({ ...policy, jitterFactor: 1 }, 1, highest)).toBe(0);
  });

  it("every valid policy gives a whole number from zero to its limit", () => {
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
  it("checkRetryPolicy returns a copy", () => {
    const policy: RetryPolicy = { type: "jittered", maxAttempts: 3, baseDelayMs: 1, jitterFactor: 1, maxDelayMs: 5 };
    const checked = checkRetryPolicy(policy, 'task "charge"');
    expect(checked).toEqual(policy);
    policy.maxAttempts = Number.NaN;
    expect(checked).toMatchObject({ maxAttempts: 3 });
  });

  it("checkRetryPolicy omits fields that are undefined", () => {
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
  it.each(bad)("checkRetryPolicy refuses %s", (_, policy, message) => {
    expect(() => Reflect.apply(checkRetryPolicy, undefined, [policy, 'task "charge"'])).toThrow(
      expect.objectContaining({ code: "INVALID_RETRY_POLICY", message: expect.stringMatching(message) }),
    );
  });
});
