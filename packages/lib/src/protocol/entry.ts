import type { Address, Failure, Payload, RunId, Stall } from "./run.ts";

/**
 * Distinguishes a durable call from alike calls. Every entry of the call has it, so that a replay gives each recorded
 * value to the call that it belongs to.
 */
export interface CallSite {
  /**
   * The largest `seq` that had been delivered to the handler when it made the call; 0 if none had been. In a report, -1
   * means the first entry of the same report, -2 the second, and so on, because only the server knows their `seq`.
   */
  madeAfter: number;
  /** The identity of the call: the same on every replay, whatever the timing is. At most 32 characters. */
  identity: string;
  /**
   * The branch of the handler that made the call. Present if the call was made in the microtasks that follow a
   * delivery; otherwise the branch is part of `identity`. At most 32 characters.
   */
  branch?: string;
  /**
   * With `branch`: the number of alike calls that the branch made in these microtasks. Without `branch`: the number of
   * alike calls that the branch had made so far, including this call. Absent if the number is 1.
   */
  alike?: number;
}

/**
 * An exceptional change of a run. It is recorded as an entry, so that the run's timeline needs no further table. `by`
 * is the `by` of the signal that caused the change; absent if there was no signal, or if the signal had no `by`.
 */
export type Mark = { by?: string } /**
 * A lease ended without a report. `confirmed` is true if a heartbeat or a report had confirmed that the worker
 * received the run. `crashes` is the number of confirmed leases in a row that ended so, including this one.
 */ & (
  | { mark: "recovered"; crashes: number; confirmed: boolean }
  /**
   * The run became stalled. If two calls could not be distinguished, `identity` is the identity of both. `waits` are
   * the addresses of the waits that were open at that moment; absent if there were none.
   */
  | { mark: "stalled"; reason: Stall["reason"]; identity?: string; waits?: Address[] }
  | { mark: "cancelled"; reason?: string }
  | { mark: "pause_requested"; reason?: string }
  | { mark: "paused" }
  | { mark: "resumed" }
  | { mark: "woken" }
  | { mark: "retried" }
  | { mark: "timed_out" }
  | { mark: "attempt_failed"; error: Failure; retryAt: number }
);

/** What was recorded. */
export type Value =
  /** The output of a task, a step or a child that succeeded. */
  | { type: "returned"; output?: Payload }
  /** The error of a task, a step or a child that finally failed: no attempt follows. */
  | { type: "threw"; error: Failure }
  /**
   * The error of a failed attempt of a task. The next attempt begins at `retryAt`, in epoch milliseconds by the
   * server's clock. `maxAttempts` is how many attempts the retry policy of the task allows. The address is
   * `<task address>/<attempt, from 1>`.
   */
  | { type: "retrying"; error: Failure; retryAt: number; maxAttempts?: number }
  /** The time that `run.now()` returned. */
  | { type: "observed"; data: Payload }
  /** The handler called `result()` or `waitFor()` of a child. The address is `<child address>/wait#<n>/ask`. */
  | { type: "asked" }
  /** A later attempt reused the value of the entry `seq`, which an earlier attempt recorded. */
  | { type: "reused"; seq: number }
  /**
   * The handler withdrew a wait. `wait` is the call site of that wait. The address is `<wait address>/withdrawn`. An
   * event that the wait had taken goes to another wait.
   */
  | { type: "withdrawn"; wait?: CallSite }
  /** A child workflow was started. Its end is recorded at `<address>/result`. */
  | { type: "started"; runId: RunId }
  /** The deadline of a wait passed. `early` is true if `wake` ended a sleep before its deadline. */
  | { type: "elapsed"; early?: boolean }
  /** The wait at this address took an event: number `nth`, from 0, of the events called `name`. */
  | { type: "received"; name: string; nth: number }
  /** An event arrived. Its address contains its reference id (or its signal id), so it is recorded once. */
  | { type: "arrived"; name: string; data?: Payload }
  | ({ type: "marked" } & Mark);

/**
 * One recorded fact. `(runId, attempt, address)` is unique, and the first write wins.
 */
export interface Entry {
  /** The run that the entry belongs to. */
  runId: RunId;
  /** The number of the entry within the run, from 1, without gaps. */
  seq: number;
  /** The address of the durable call, or of the fact that came from outside. */
  address: Address;
  /** The attempt of the run in which it was recorded, from 1. */
  attempt: number;
  /** When it was recorded, in epoch milliseconds by the server's clock. */
  at: number;
  /** The fence under which it was recorded; 0 before the first claim. */
  fence: number;
  /** The id of the worker that reported it. Absent for facts that came from outside. */
  worker?: string;
  /** When the work began, in epoch milliseconds by the worker's clock. */
  startedAt?: number;
  /** The call site of the durable call. Absent for facts that came from outside and for exceptional changes. */
  callSite?: CallSite;
  /** What was recorded. */
  value: Value;
}

/** An entry of a report. `retrying` has a duration, from which the server computes `retryAt` by its own clock. */
export interface NewEntry {
  /** The address of the durable call. */
  address: Address;
  /** When the work began, in epoch milliseconds by the worker's clock. */
  startedAt?: number;
  /** The call site of the durable call. */
  callSite?: CallSite;
  /** What to record. */
  value:
    | { type: "returned"; output?: Payload }
    | { type: "threw"; error: Failure }
    | { type: "retrying"; error: Failure; retryInMs: number; maxAttempts?: number }
    | { type: "observed"; data: Payload }
    | { type: "asked" }
    | { type: "reused"; seq: number }
    | { type: "withdrawn"; wait?: CallSite };
}
