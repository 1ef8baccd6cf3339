/** What an execution and the worker that drives it know of each other. */

import type { AikiError, Env, Logger } from "@aikirun/lib";
import type {
  Address,
  ClaimedRun,
  Entry,
  Failure,
  Next,
  Report,
  ReportedStall,
  ReportResult,
} from "@aikirun/lib/protocol";

/** What the worker gives an execution. */
export interface Host {
  env: Env;
  logger: Logger;
  /**
   * Sends one report of this run; at most one is in flight. Resolves with the server's answer, after as many repeats as
   * a lost reply needs; rejects only when the worker gives up on the run (shutdown, lease lost).
   */
  report(draft: ReportDraft): Promise<ReportResult>;
  /**
   * True while an effect may begin: less than one lease since the last acknowledged renew was sent, and not shutting
   * down.
   */
  mayBegin(): boolean;
  /**
   * A suspended execution went on by itself, because a promise of the handler settled that is not durable: claim the
   * run and call `resume`, or call `abandon` when another worker has it. Called at most once after each suspension.
   */
  reclaim(): void;
  /** The execution has waits open while it runs, so new entries must be passed to `receive`; or no longer (false). */
  listening(open: boolean): void;
  /**
   * The replay waits for the handler to make a recorded call again (`call`), or no longer does (null): while it waits
   * it needs no slot.
   */
  expecting(call: Address | null): void;
}

/** How an execution is moved. */
export interface SchedulerOptions {
  /** How long a handler may await nothing durable. Milliseconds. */
  idleMs: number;
  /** A fingerprint of the code. */
  build: string;
  /** How the run ends when its handler throws this. */
  failed: (thrown: unknown) => Extract<Next, { type: "finish" }>["outcome"];
}

/** A report before the worker adds its ids. */
export type ReportDraft = Omit<Report, "reportId" | "runId" | "fence">;

/** How an activation ended. After `suspended` the execution may be resumed; after the others it has ended. */
export type ActivationEnd =
  | { type: "suspended" }
  | { type: "released"; next: Next["type"] }
  | { type: "finished"; status: "completed" }
  | { type: "finished"; status: "failed"; error: Failure }
  /** The attempt failed; the next begins after `retryInMs` milliseconds. */
  | { type: "finished"; status: "retrying"; error: Failure; retryInMs: number }
  | { type: "stalled"; stall: ReportedStall }
  /** The server refused a report (`FENCED`, `RUN_FINAL`, …), or the worker gave up. */
  | { type: "lost"; code: AikiError["code"] };

/** One run being executed by one worker. */
export interface Execution {
  /** Executes from the claim until the run is suspended, or leaves this worker. Never rejects. */
  run(claimed: ClaimedRun): Promise<ActivationEnd>;
  /** Resumes a suspended execution; `claimed.isCached` is true, its journal holds the new entries. Never rejects. */
  resume(claimed: ClaimedRun): Promise<ActivationEnd>;
  /** Entries after `position.after` that arrived while it runs (from `watch`). What does not follow on is ignored. */
  receive(entries: Entry[], inbox: number): void;
  /** Starts nothing new, records what is under way, then releases the run with this reason. */
  release(reason: "shutdown" | "paused"): void;
  /** The run is no longer ours: abort every signal, report nothing more. */
  abandon(code: AikiError["code"]): void;
  /** What it knows of its run: a `watch` returns what came after. */
  readonly position: { readonly seen: number; readonly after: number };
  /** How much memory a suspended execution is thought to hold, in bytes. */
  readonly size: number;
}
