/** The interfaces between an execution and its worker. */

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
  TaskTry,
} from "@aikirun/lib/protocol";

/** What the worker provides to an execution. */
export interface Host {
  env: Env;
  logger: Logger;
  /**
   * Sends one report of this run; at most one is in flight. A report without a reply is repeated. Resolves with the
   * server's answer; rejects only when the worker abandons the run (shutdown, lease lost).
   */
  report(draft: ReportDraft): Promise<ReportResult>;
  /**
   * True while an effect may begin: the last acknowledged renewal was sent less than one lease ago, and the worker is
   * not shutting down.
   */
  mayBegin(): boolean;
  /**
   * Called when a suspended execution continues by itself, because its handler awaited non-durable work that has ended.
   * The worker claims the run and calls `resume`. If another worker has the run, it calls `abandon`. Called at most
   * once after each suspension.
   */
  reclaim(): void;
  /** Whether the running execution has open waits, so that the worker must pass new entries to `receive`. */
  listening(open: boolean): void;
  /**
   * The replay waits for the handler to make this recorded call again; null when it no longer waits. A waiting replay
   * needs no slot.
   */
  expecting(call: Address | null): void;
}

/** Options of a replay scheduler. */
export interface SchedulerOptions {
  /** How long a handler may go without awaiting a durable call before its run stalls. Milliseconds. */
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
  /** The server refused a report (`FENCED`, `RUN_FINAL`, …), or the worker abandoned the run. */
  | { type: "lost"; code: AikiError["code"] };

/** One run being executed by one worker. */
export interface Execution {
  /** Executes from the claim until the run is suspended, or leaves this worker. Never rejects. */
  run(claimed: ClaimedRun): Promise<ActivationEnd>;
  /** Resumes a suspended execution; `claimed.isCached` is true, its journal holds the new entries. Never rejects. */
  resume(claimed: ClaimedRun): Promise<ActivationEnd>;
  /** Receives entries after `position.after` from the run watch. Entries after a gap in `seq` are ignored. */
  receive(entries: Entry[], inbox: number): void;
  /** Starts nothing new, records the results of running tasks, then releases the run with this reason. */
  release(reason: "shutdown" | "paused"): void;
  /** The worker no longer holds the run: aborts every signal and reports nothing more. */
  abandon(code: AikiError["code"]): void;
  /** How much of the run the execution has received: the run watch returns newer entries only. */
  readonly position: { readonly seen: number; readonly after: number };
  /** The running tries of tasks, the oldest ones first; at most 10. */
  readonly tries: TaskTry[];
  /** The estimated memory of a suspended execution. Bytes. */
  readonly size: number;
}
