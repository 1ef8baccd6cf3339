/** Operations: what callers request, many of which are decided in one transaction, and their results. */

import type { AikiError } from "@aikirun/lib";
import type { ClaimedRun, ClaimRequest, Entry, RunId, RunSpec, StartResult } from "@aikirun/lib/protocol";
import type { Command, Refusal, Run } from "../core/run.ts";
import type { Budget, Room } from "./budget.ts";

export type Operation =
  /** `roomIn`: the room for the answer, which both the budget of its transaction and that of its request limit. */
  | { type: "command"; namespace: string | null; to: RunId; command: Command; roomIn?: (transaction: Budget) => Room }
  | { type: "start"; namespace: string; spec: RunSpec }
  /** `repeats`: ids of claims that may have been applied, but whose answers the caller did not receive. */
  | { type: "claim"; namespace: string; request: ClaimRequest; repeats: readonly string[] }
  /** Releases the runs of a session that has ended, at most `limit` of them. */
  | { type: "leave"; namespace: string; session: string; limit: number }
  /** Ticks due runs that no other server is ticking, at most `limit` of them. */
  | { type: "sweep"; limit: number };

/**
 * The answer to a command: the run as it is now, and the run that a retry started. For a report also `first`, the `seq`
 * of its first entry, and `newEntries`, which the worker has not received: those up to `cutAt` if not all of them fit.
 */
export type Answer =
  | { ok: true; run: Run; retried: Run | null; first: number; newEntries: Entry[]; cutAt: number | null }
  | Refusal
  | { ok: false; code: "RUN_NOT_FOUND"; message: string };

export type Result =
  | { type: "command"; answer: Answer }
  | { type: "start"; result: StartResult }
  | { type: "claim"; runs: ClaimedRun[]; more: boolean }
  /** How many runs were released; if it equals the limit, there may be more. */
  | { type: "leave"; released: number }
  /** How many runs were due; null if they could not be ticked in this transaction, so that none was. */
  | { type: "sweep"; due: number | null }
  | { type: "fault"; error: AikiError };

export function notFound(id: RunId): Extract<Answer, { code: "RUN_NOT_FOUND" }> {
  return { ok: false, code: "RUN_NOT_FOUND", message: `There is no run ${id} in this namespace.` };
}

export function mismatch(): never {
  throw new Error("An operation got the result of another type of operation.");
}
