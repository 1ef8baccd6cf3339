/** The outcomes that the program of a body allows, computed without the engine. */

import type { EffectBody } from "./program.ts";

export interface Allowance {
  tries: number;
  timeoutMs: number;
  /** The attempt of the run. */
  attempt: number;
  /** Whether workers were paused, so that a body may exceed its timeout, or a timeout may come late. */
  late: boolean;
}

/** How an outcome differs from the program. Null if it is allowed. */
export function expectOutcome(
  body: EffectBody,
  outcome: "returned" | "threw",
  saw: string,
  allowance: Allowance,
): string | null {
  const succeeds = successOf(body, allowance);
  const isLate = allowance.late && "ms" in body && body.ms > 0;
  if (outcome === "returned") {
    const inTime = { ...allowance, timeoutMs: Number.POSITIVE_INFINITY };
    return succeeds || (isLate && successOf(body, inTime)) ? null : `returned, though it could only fail`;
  }
  if (!saw.startsWith("TASK_FAILED")) return `threw ${saw} instead of a TaskFailedError`;
  if (!succeeds) return null;
  return isLate && saw.includes("TIME") ? null : `failed, though it must succeed: ${saw}`;
}

function successOf(body: EffectBody, { tries, timeoutMs, attempt }: Allowance): boolean {
  if ("ms" in body && body.ms >= timeoutMs) return false;
  switch (body.kind) {
    case "ok":
    case "poison":
      return true;
    case "flaky":
      return body.failures < tries;
    case "late":
      return attempt > body.attempts;
    case "fatal":
    case "hang":
      return false;
    default:
      return body satisfies never;
  }
}
