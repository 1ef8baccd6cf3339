import { type AikiError, isAikiError } from "@aikirun/lib";
import type { Next, ReportResult } from "@aikirun/lib/protocol";
import type { ActivationEnd } from "./contract.ts";

/** How the handler ended. */
export type Conclusion = Extract<Next, { type: "finish" }>["outcome"];

/** The result of a report: the server's answer, or the code with which the worker abandoned the run. */
export type ReportAnswer = ReportResult | { ok: false; code: AikiError["code"]; message: string };

export function reportAbandoned(thrown: unknown): ReportAnswer {
  return { ok: false, code: isAikiError(thrown) ? thrown.code : "GIVEN_UP", message: String(thrown) };
}

/** The codes which say that this worker no longer holds the run, or may not report it. */
const notHeld: ReadonlySet<string> = new Set([
  "FENCED",
  "RUN_FINAL",
  "RUN_NOT_FOUND",
  "ILLEGAL_STATE",
  "FORBIDDEN",
  "UNAUTHORIZED",
  "LEASE_LOST",
  "SHUTDOWN",
  "GIVEN_UP",
]);

/** Whether a repeat of the report would be refused as well. */
export function isPermanent(code: string): boolean {
  return !notHeld.has(code);
}

/** How the activation ends when a report that says `next` is accepted; null when it continues. */
export function activationEnd(next: Next, released: boolean): ActivationEnd | null {
  switch (next.type) {
    case "continue":
      return released ? { type: "lost", code: "RUN_LEFT" } : null;
    case "suspend":
      return released ? { type: "suspended" } : null;
    case "release":
      return { type: "released", next: next.type };
    case "stall":
      return { type: "stalled", stall: next.stall };
    case "finish":
      return finished(next.outcome);
    default:
      return next satisfies never;
  }
}

function finished(conclusion: Conclusion): ActivationEnd {
  if (conclusion.status === "completed") return { type: "finished", status: "completed" };
  const { error, retryInMs } = conclusion;
  if (retryInMs === null) return { type: "finished", status: "failed", error };
  return { type: "finished", status: "retrying", error, retryInMs };
}
