import type { Address, Failure, Payload, RunId } from "./run.ts";

/** Exceptional transitions, recorded so that the timeline and the checkers need no further table. */
export type Mark =
  | { mark: "recovered"; crashes: number; confirmed: boolean }
  | { mark: "stalled"; reason: "crash_loop" | "diverged" }
  | { mark: "cancelled"; reason?: string }
  | { mark: "pause_requested" }
  | { mark: "paused" }
  | { mark: "resumed" }
  | { mark: "woken" }
  | { mark: "retried" }
  | { mark: "timed_out" }
  | { mark: "attempt_failed"; error: Failure; retryAt: number };

/** What was recorded. */
export type Value =
  /** A task, a step or a child that succeeded. */
  | { type: "returned"; output?: Payload }
  /** A task, a step or a child that failed for good. */
  | { type: "threw"; error: Failure }
  /**
   * One failed try of a task; `retryAt` is epoch milliseconds by the server's clock. At `<task address>/<try, from
   * 1>`.
   */
  | { type: "retrying"; error: Failure; retryAt: number }
  /** The clock, as `run.now()` saw it. */
  | { type: "observed"; data: Payload }
  /** A child workflow was started. Its end is recorded at `<address>/result`. */
  | { type: "started"; runId: RunId }
  /** A wait's deadline passed; `early` when `wake` ended a sleep. */
  | { type: "elapsed"; early?: boolean }
  /** The wait at this address took the `nth` arrival (from 0) of its event name. */
  | { type: "received"; name: string; nth: number }
  /** An event arrived from outside. Its address is made of its reference, so it is recorded once. */
  | { type: "arrived"; name: string; data?: Payload }
  | ({ type: "marked" } & Mark);

/**
 * One recorded fact. `(runId, attempt, address)` is unique and the first write wins; `seq` is dense per run, from 1.
 */
export interface Entry {
  runId: RunId;
  seq: number;
  address: Address;
  attempt: number;
  /** Epoch milliseconds by the server's clock when it was recorded. */
  at: number;
  /** The fence under which it was recorded; 0 before the first claim. */
  fence: number;
  /** The worker (its id, a label) that reported it; absent for what came from outside. */
  worker?: string;
  /** Epoch milliseconds by the worker's clock when the work began. */
  startedAt?: number;
  value: Value;
}

/** What a worker asks to be recorded. `retrying` carries a duration, which the server's clock turns into `retryAt`. */
export interface NewEntry {
  address: Address;
  startedAt?: number;
  value:
    | { type: "returned"; output?: Payload }
    | { type: "threw"; error: Failure }
    | { type: "retrying"; error: Failure; retryInMs: number }
    | { type: "observed"; data: Payload };
}
