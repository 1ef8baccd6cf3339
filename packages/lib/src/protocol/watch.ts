/** The verb `watch`. */

import type { Entry } from "./entry.ts";
import type { FinalStatus, RunId, RunStatus, RunView } from "./run.ts";

/** One change that a caller waits for. */
export type Watched =
  /** The run has one of these statuses, or a final one. */
  | { type: "status"; runId: RunId; statuses: RunStatus[] }
  /** A run that the worker holds has new entries, a pause was requested, or the worker no longer holds the run. */
  | { type: "changes"; runId: RunId; fence: number; seen: number; after: number };

/** Changes to wait for, at most `limits.watchedItems`. */
export interface WatchRequest {
  /** The changes to wait for. */
  watched: Watched[];
  /** How long to wait for the first change, in milliseconds; at most 60,000. */
  waitMs: number;
}

/** One change that happened. */
export type WatchResult =
  | { type: "status"; run: RunView }
  | { type: "changes"; runId: RunId; inbox: number; entries: Entry[]; pause: boolean }
  | { type: "lost"; runId: RunId; code: "FENCED" | "RUN_FINAL" | "RUN_NOT_FOUND"; status?: FinalStatus };

/** The changes that happened. */
export interface WatchReply {
  /** One result for each change that happened. Empty if `waitMs` passed before the first change. */
  results: WatchResult[];
}
