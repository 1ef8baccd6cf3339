/** What one caller asks of a transaction, and what it is answered. */

import type { AikiError } from "@aikirun/lib";
import type { ClaimedRun, ClaimRequest, Entry, RunId, RunSpec, StartResult } from "@aikirun/lib/protocol";
import type { Command, Refusal, Run } from "../core/run.ts";
import type { Budget, Room } from "./budget.ts";

export type Operation =
  /** `roomIn`: what the answer may take, of the budget of its transaction and of one that its request has for all. */
  | { type: "command"; namespace: string | null; to: RunId; command: Command; roomIn?: (transaction: Budget) => Room }
  | { type: "start"; namespace: string; spec: RunSpec }
  /** `repeats`: claims that may have been carried out before, unheard. */
  | { type: "claim"; namespace: string; request: ClaimRequest; repeats: readonly string[] }
  /** Takes from a session that has ended what it holds, so many runs at most. */
  | { type: "leave"; namespace: string; session: string; limit: number }
  /** Ticks what is due and no other server is ticking, so many runs at most. */
  | { type: "sweep"; limit: number };

/**
 * Of a command: the run as it stands now, and the run that a retry of it is. Of a report also where its entries went
 * and what it did not know (`news`); where the reply has no room for all of it, up to `cutAt`.
 */
export type Answer =
  | { ok: true; run: Run; retried: Run | null; first: number; newEntries: Entry[]; cutAt: number | null }
  | Refusal
  | { ok: false; code: "RUN_NOT_FOUND"; message: string };

export type Result =
  | { type: "command"; answer: Answer }
  | { type: "start"; result: StartResult }
  | { type: "claim"; runs: ClaimedRun[]; more: boolean }
  /** How many runs were released; there may be more when that is the limit. */
  | { type: "leave"; released: number }
  /** How many were due; null when some could not be ticked beside others, so that nothing was. */
  | { type: "sweep"; due: number | null }
  | { type: "fault"; error: AikiError };

export function notFound(id: RunId): Extract<Answer, { code: "RUN_NOT_FOUND" }> {
  return { ok: false, code: "RUN_NOT_FOUND", message: `There is no run ${id} in this namespace.` };
}

export function mismatch(): never {
  throw new Error("An operation was answered with another's result.");
}
