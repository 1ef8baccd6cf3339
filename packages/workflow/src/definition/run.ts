/** The first argument of a workflow's handler. */

import type {
  ChildRunFailedError,
  ChildStartOptions,
  Duration,
  EventContent,
  EventDefinitions,
  Logger,
  RetryPolicy,
  TaskContext,
  TaskRunner,
  VersionReference,
} from "@aikirun/lib";
import type { FinalStatus } from "@aikirun/lib/protocol";
import type { EventWaitResult } from "../replay/event.ts";
import type { SleepResult } from "../replay/sleep.ts";

/** Under this key a run carries what starts its children. */
export const childStarter: unique symbol = Symbol.for("@aikirun/child-starter");

/** A run, as a version that is started as its child sees it. */
export interface ChildRunner {
  readonly [childStarter]: (call: ChildCall) => Promise<ChildHandle<unknown>>;
}

/** One start of a child. */
export interface ChildCall {
  version: VersionReference;
  input: unknown;
  options: ChildStartOptions;
}

/**
 * A run from inside its handler. Everything that returns a promise is durable: recorded once, recalled on every
 * replay.
 */
export interface WorkflowRun<Events extends EventDefinitions = EventDefinitions> extends TaskRunner, ChildRunner {
  readonly id: string;
  /** From 1; grows with every retry of the whole run. */
  readonly attempt: number;
  /** Silent while the handler only repeats what it did before, so that no line is logged again. */
  readonly logger: Logger;
  readonly events: { readonly [Name in keyof Events]: EventWaiter<EventContent<Events[Name]>> };
  /** Rejects with `AikiError` `INVALID_DURATION` for what is no duration. */
  sleep(duration: Duration): Promise<SleepResult>;
  sleep(name: string, duration: Duration): Promise<SleepResult>;
  /** An inline task. Rejects with `TaskFailedError` once it has failed for good; its `cause` is the last error. */
  step<Output>(
    name: string,
    work: (context: TaskContext) => Output | Promise<Output>,
    options?: StepOptions,
  ): Promise<Output>;
  /** Epoch milliseconds; recorded, so the same on every replay. */
  now(): number;
  /** In [0, 1); the same on every replay. */
  random(): number;
  /** A UUID; the same on every replay. */
  uuid(): string;
}

/** Options of an inline step. */
export interface StepOptions {
  /** Which failures are tried again, and when. Default: none. */
  retry?: RetryPolicy;
  /** How long one try may take. Default: 5 minutes. */
  timeout?: Duration;
  /** Tells calls of one name apart other than by their order. */
  key?: string;
}

/** Where a handler waits for an event. */
export interface EventWaiter<Data> {
  /**
   * The next event of this name that no earlier wait took, however long it takes. Rejects with `AikiError`
   * `SCHEMA_MISMATCH` when it does not fit the event's schema.
   */
  wait(options?: { timeout?: undefined }): Promise<Data>;
  /** The same, or `timedOut: true` when none came within the timeout. */
  wait(options: { timeout: Duration }): Promise<EventWaitResult<Data>>;
}

/** A child run, as its parent sees it. */
export interface ChildHandle<Output> {
  readonly id: string;
  /**
   * The child's output. Rejects with `ChildRunFailedError` (its `cause` is the recorded error) when it ended
   * otherwise.
   */
  result(): Promise<Output>;
  /** Waits for the child's end, and says whether it ended in this status. Never rejects for the way it ended. */
  waitFor<Status extends FinalStatus>(
    status: Status,
    options?: { timeout?: undefined },
  ): Promise<ChildReached<Output, Status> | ChildEnded>;
  /** The same, or `reason: "timed_out"` when it did not end within the timeout. */
  waitFor<Status extends FinalStatus>(
    status: Status,
    options: { timeout: Duration },
  ): Promise<ChildReached<Output, Status> | ChildEnded | ChildTimedOut>;
}

/** The child ended as hoped. */
export type ChildReached<Output, Status extends FinalStatus> = Status extends "completed"
  ? { reached: true; status: Status; output: Output }
  : { reached: true; status: Status; error: ChildRunFailedError };

/** The child ended otherwise. */
export interface ChildEnded {
  reached: false;
  reason: "ended";
  status: FinalStatus;
}

/** The child had not ended when the timeout passed. */
export interface ChildTimedOut {
  reached: false;
  reason: "timed_out";
}
