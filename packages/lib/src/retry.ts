import { longestMs } from "./duration.ts";
import { AikiError } from "./error.ts";
import type { RetryPolicy } from "./protocol/run.ts";

/** No delay is longer, whatever the policy's growth: a day, in milliseconds. `maxDelayMs` may lower or raise it. */
const defaultMaxDelayMs = 86_400_000;

/**
 * Milliseconds, whole, until the next attempt, or null to give up. `failedAttempts` counts the failures so far, from 1.
 * `random` returns a number in [0, 1); only `jittered` calls it.
 */
export function retryDelayMs(policy: RetryPolicy, failedAttempts: number, random: () => number): number | null {
  if (policy.type === "never" || failedAttempts >= policy.maxAttempts) return null;
  switch (policy.type) {
    case "fixed":
      return Math.round(policy.delayMs);
    case "exponential":
      return Math.round(grown(policy.baseDelayMs, policy.factor ?? 2, failedAttempts, policy.maxDelayMs));
    case "jittered": {
      const full = grown(policy.baseDelayMs, 2, failedAttempts, policy.maxDelayMs);
      return Math.round(full * (1 - (policy.jitterFactor ?? 0.5) * random()));
    }
    default:
      return policy satisfies never;
  }
}

/** How many attempts the policy allows. */
export function maxAttemptsOf(policy: RetryPolicy): number {
  return policy.type === "never" ? 1 : policy.maxAttempts;
}

function grown(baseDelayMs: number, factor: number, failedAttempts: number, maxDelayMs = defaultMaxDelayMs): number {
  if (baseDelayMs === 0) return 0;
  return Math.min(maxDelayMs, baseDelayMs * factor ** Math.max(0, failedAttempts - 1));
}

type PolicyFields = Readonly<Record<string, readonly [lowest: number, highest: number, required: boolean]>>;

const delay = [0, longestMs, true] as const;
const optionalDelay = [0, longestMs, false] as const;
const maxAttempts = [1, Number.MAX_SAFE_INTEGER, true] as const;

const policies: ReadonlyMap<unknown, PolicyFields> = new Map<unknown, PolicyFields>([
  ["never", {}],
  ["fixed", { maxAttempts, delayMs: delay }],
  ["exponential", { maxAttempts, baseDelayMs: delay, factor: [1, 1_000, false], maxDelayMs: optionalDelay }],
  ["jittered", { maxAttempts, baseDelayMs: delay, jitterFactor: [0, 1, false], maxDelayMs: optionalDelay }],
]);

/**
 * A copy of the policy, once every field is known and within its bounds; fields that are undefined are left out.
 * `where` names its owner in the error's sentence. Throws `AikiError` `INVALID_RETRY_POLICY`.
 */
export function checkRetryPolicy(policy: RetryPolicy, where: string): RetryPolicy {
  if (typeof policy !== "object" || policy === null) {
    throw invalid(where, `must be an object such as { type: "never" }, not ${String(policy)}`);
  }
  const copy: RetryPolicy = { ...policy };
  const fields = policies.get(copy.type);
  if (fields === undefined) {
    throw invalid(where, `has type ${JSON.stringify(copy.type)}; use ${[...policies.keys()].join(", ")}`);
  }
  const given = new Map<string, unknown>(Object.entries(copy));
  for (const [name, value] of given) {
    if (value === undefined) Reflect.deleteProperty(copy, name);
    else if (name !== "type" && !Object.hasOwn(fields, name)) throw invalid(where, `has an unknown field "${name}"`);
  }
  for (const [name, [lowest, highest, required]] of Object.entries(fields)) {
    const value = given.get(name);
    if (value === undefined && !required) continue;
    if (typeof value !== "number" || !(value >= lowest && value <= highest)) {
      throw invalid(where, `has ${name}: ${String(value)}; use a number from ${lowest} to ${highest}`);
    }
    if (name === "maxAttempts" && !Number.isInteger(value))
      throw invalid(where, `has maxAttempts: ${value}; use a whole number`);
  }
  return copy;
}

function invalid(where: string, problem: string): AikiError {
  return new AikiError("INVALID_RETRY_POLICY", `The retry policy of ${where} ${problem}.`);
}
