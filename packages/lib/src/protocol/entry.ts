import type { Address, Failure, Payload, RunId, Stall } from "./run.ts";

/**
 * When a handler made a durable call, and which of the alike calls it is. Recorded with everything that a call leaves
 * in the journal, so that a replay gives each recorded value to the call that it belongs to.
 */
export interface CallSite {
  /**
   * The largest `seq` that had been delivered to the handler when it made the call; 0 when nothing had been. In a
   * report, `-n` stands for the `seq` of the report's own `n`-th entry, from 1: only the server knows it.
   */
  madeAfter: number;
  /** The same for the same call on every replay, whatever the timing. At most 32 characters. */
  identity: string;
  /**
   * The branch of the handler that made the call. Present when the call was made in the microtasks that follow a
   * delivery; otherwise `identity` already says it. At most 32 characters.
   */
  branch?: string;
  /**
   * How many alike calls that branch made in those microtasks; without `branch`: how many it had made until then, with
   * this one. Absent for one.
   */
  alike?: number;
}

/** Exceptional transitions, recorded so that the timeline and the checkers need no further table. */
export type Mark =
  | { mark: "recovered"; crashes: number; confirmed: boolean }
  /**
   * Two calls that could not be distinguished share `identity`. `waits` are the addresses of the waits that were
   * open at that moment; absent when there were none.
   */
  | { mark: "stalled"; reason: Stall["reason"]; identity?: string; waits?: Address[] }
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
  /** The handler asked for a child's end. At `<child address>/wait#<n>/ask`; the end itself is recorded elsewhere. */
  | { type: "asked" }
  /** A later attempt was given the value that the entry `seq` of an earlier attempt holds. */
  | { type: "reused"; seq: number }
  /**
   * The handler gave up a wait, which it had asked for as `wait` says. At `<wait address>/withdrawn`; an event that the
   * wait had taken goes to another one.
   */
  | { type: "withdrawn"; wait?: CallSite }
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
  /** The run that it belongs to. */
  runId: RunId;
  /** Its number within the run, from 1 without gaps. */
  seq: number;
  /** Which durable call it is about. */
  address: Address;
  /** The attempt of the run in which it was recorded, from 1. */
  attempt: number;
  /** Epoch milliseconds by the server's clock when it was recorded. */
  at: number;
  /** The fence under which it was recorded; 0 before the first claim. */
  fence: number;
  /** The worker (its id, a label) that reported it; absent for what came from outside. */
  worker?: string;
  /** Epoch milliseconds by the worker's clock when the work began. */
  startedAt?: number;
  /** The durable call that this entry belongs to; absent for what came from outside and for exceptional transitions. */
  callSite?: CallSite;
  /** What was recorded. */
  value: Value;
}

/** What a worker asks to be recorded. `retrying` carries a duration, which the server's clock turns into `retryAt`. */
export interface NewEntry {
  /** Which durable call it is about. */
  address: Address;
  /** Epoch milliseconds by the worker's clock when the work began. */
  startedAt?: number;
  /** The durable call that made it. */
  callSite?: CallSite;
  /** What is to be recorded. */
  value:
    | { type: "returned"; output?: Payload }
    | { type: "threw"; error: Failure }
    | { type: "retrying"; error: Failure; retryInMs: number }
    | { type: "observed"; data: Payload }
    | { type: "asked" }
    | { type: "reused"; seq: number }
    | { type: "withdrawn"; wait?: CallSite };
}
