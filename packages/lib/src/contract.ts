/**
 * The interfaces between tasks, workflows and clients, so that their packages need not import each other. A task calls
 * the run that it gets, which performs it. A workflow version calls the client that it gets, which starts it.
 */

import type { Duration } from "./duration.ts";
import type { Logger } from "./log.ts";
import type { OnParentEnd, RetryPolicy, RunStatus, RunView } from "./protocol/run.ts";
import type { Why } from "./protocol/why.ts";
import type { Schema } from "./schema.ts";

/** The key of a run's function that performs tasks. */
export const performer: unique symbol = Symbol.for("@aikirun/performer");

/** The key of a run's function that starts children. */
export const childStarter: unique symbol = Symbol.for("@aikirun/child-starter");

/** The first argument of a workflow's handler, without the types of the workflow's events. */
export interface AnyRun {
  /** Used by `task.start`. */
  readonly [performer]: (call: TaskCall) => Promise<unknown>;
  /** Used by `version.startAsChild`. */
  readonly [childStarter]: (call: ChildCall) => Promise<unknown>;
}

/** One start of a child. */
export interface ChildCall {
  version: VersionReference;
  input: unknown;
  options: ChildStartOptions;
}

/** One call of a task or an inline step. */
export interface TaskCall {
  kind: "task" | "step";
  name: string;
  input: unknown;
  /** Replaces the input in the call's address. */
  key?: string;
  /** The task's own key, if `key` replaces it: a call that was recorded under it is still found. */
  replacedKey?: string;
  /** Withdraws the call when it aborts. */
  signal?: AbortSignal;
  retry: RetryPolicy;
  /** How long one try of the handler may take. Milliseconds. */
  timeoutMs: number;
  inputSchema?: Schema;
  outputSchema?: Schema;
  handler: (input: never, context: TaskContext) => unknown;
}

/** The second argument of a task's handler. */
export interface TaskContext {
  /** The id of the run that called the task. */
  runId: string;
  /** The number of this try, from 1; restarts of the worker do not reset it. */
  attempt: number;
  /** The same on every try of this call, on every worker: pass it to the services you call. */
  idempotencyKey: string;
  /** Grows with every claim of the run: lets a service refuse requests of a worker that no longer holds the run. */
  fence: number;
  /** Aborts on timeout, cancellation, loss of the run, and when the run ends without waiting for this task. */
  signal: AbortSignal;
  /** Adds the run and the task to every line. */
  logger: Logger;
}

/** One try of a task or an inline step may take this long unless it says otherwise: 5 minutes, in milliseconds. */
export const defaultTaskTimeoutMs = 300_000;

/** The key of a client's function that starts runs. */
export const starter: unique symbol = Symbol.for("@aikirun/starter");

/** What `client()` resolves to. */
export interface AnyClient {
  /** Used by `version.start`. */
  readonly [starter]: (version: VersionReference, input: unknown, options: StartOptions) => Promise<unknown>;
}

/** The data of a workflow version that a client needs to start a run. */
export interface VersionReference {
  name: string;
  versionId: string;
  inputSchema?: Schema;
  outputSchema?: Schema;
  events: Readonly<Record<string, EventDefinition<never>>>;
  timeoutMs?: number;
}

/** An event that a workflow can wait for; `event<T>()` makes one. */
export interface EventDefinition<Data> {
  /** Checks what is sent and what is received. Default: nothing is checked. */
  readonly schema?: Schema;
  /** Only a type; always absent. */
  readonly _data?: (data: Data) => void;
}

/** The events of a workflow version, by name. */
export type EventDefinitions = Readonly<Record<string, EventDefinition<never>>>;

/** Options of a start. */
export interface StartOptions {
  /**
   * The caller's own id of the run, unique per workflow: the same reference and the same input is always the same run.
   * Default: none, each start makes a run.
   */
  referenceId?: string;
  /** What happens if the reference exists with another input. Default `error`. */
  onConflict?: "error" | "return_existing";
  /**
   * How long the server waits before it queues the run. Negative means that the moment has passed: queued at once.
   * Default: no delay.
   */
  delay?: Duration;
  /**
   * When the server queues the run; epoch milliseconds when a number. A moment in the past means at once. Not beside
   * `delay`. Default: at once.
   */
  at?: Date | number;
  /** Only workers that serve this shard key execute the run. Default: workers without shard keys do. */
  shardKey?: string;
  /** Higher first, -1000 to 1000. Default 0. */
  priority?: number;
  /** Which failures of the whole run are retried, and when. Default: the version's own policy. */
  retry?: RetryPolicy;
  /** How long the run may take, from when it is first queued, over all attempts. Default: the version's own timeout. */
  timeout?: Duration;
  /** At most 32 different texts, by which runs are found. Default: none. */
  tags?: readonly string[];
}

/** Options of a child's start; shard and priority are inherited unless given. */
export interface ChildStartOptions extends Omit<StartOptions, "onConflict"> {
  /**
   * Distinguishes this start from others of the same workflow and input. At most 255 characters; has no effect together
   * with a `referenceId`. Default: the input identifies the start.
   */
  key?: string;
  /** What becomes of the child when this run fails or is cancelled. Default `cancel`. */
  onParentEnd?: OnParentEnd;
}

/** The handle of a run, for callers outside of its handler. */
export interface RunHandle<Output, Events extends EventDefinitions> {
  /** The id of the run, a UUID. */
  readonly id: string;
  /** Senders of the events that the version declares. `send` of any other name rejects with `UNKNOWN_EVENT`. */
  readonly events: { readonly [Name in keyof Events]: EventSender<EventContent<Events[Name]>> };
  /**
   * The output, once completed. Rejects with `RunFailedError` (its `cause` is the recorded error) or
   * `RunCancelledError` once the run has ended, and with `RunStalledError` when the run is stalled: it then continues
   * only after its cause is removed and `retry()` is called. Call `result()` again after that.
   */
  result(options?: ResultOptions): Promise<Output>;
  /** The status of the run now. Rejects with `RUN_NOT_FOUND`. */
  status(): Promise<RunStatus>;
  /** The run as the server has stored it. Rejects with `RUN_NOT_FOUND`. */
  view(): Promise<RunView>;
  /**
   * Why the run does not move, since when, and what would move it. If it waits for a child, the answer follows the
   * children to the root cause. `text` is for people, `links` for programs. Rejects with `RUN_NOT_FOUND`.
   */
  why(): Promise<Why>;
  /**
   * Resolves once the run has the status. `reached` is false when the run ended in another status or timed out.
   * Rejects with `ABORTED` when the signal aborts.
   * A stalled run has not ended: without a timeout, the wait for another status lasts until a user retries or cancels
   * the run.
   */
  waitFor(status: RunStatus, options?: { timeout?: Duration; signal?: AbortSignal }): Promise<WaitForResult>;
  /**
   * Cancels the run, and its children that were not started with `onParentEnd: "abandon"`. `reason` has 10,000
   * characters at most. Rejects with `RUN_FINAL` when the run has completed or failed.
   */
  cancel(reason?: string): Promise<void>;
  /**
   * Stops the run once its running tasks are recorded, until `resume`. `reason` is kept for the record and has 10,000
   * characters at most. Rejects with `RUN_FINAL` or `ILLEGAL_STATE`.
   */
  pause(reason?: string): Promise<void>;
  /** Lets a paused run continue. Rejects with `RUN_FINAL` or `ILLEGAL_STATE`. */
  resume(): Promise<void>;
  /**
   * Ends open sleeps, and queues at once a scheduled run or one that waits for a retry. Throws `ILLEGAL_STATE` when the
   * run waits for none of these.
   */
  wake(): Promise<void>;
  /** Retries the run. Returns its handle; for an ended run, the handle of a new run that reuses its successes. */
  retry(): Promise<RunHandle<Output, Events>>;
}

/** Options of waiting for a result. */
export interface ResultOptions {
  /**
   * Ends the wait: `result()` rejects with `ABORTED`. The run continues. Default: none, the wait ends when the run ends
   * or stalls.
   */
  signal?: AbortSignal;
  /** Whether to continue waiting while the run is stalled, until a user retries or cancels it. Default false. */
  waitThroughStalls?: boolean;
}

/** How a wait for a status ended; `status` is the run's at that moment. */
export type WaitForResult =
  | { reached: true; status: RunStatus }
  | { reached: false; reason: "ended" | "timed_out"; status: RunStatus };

/** The type that an event carries. */
export type EventContent<Definition> = Definition extends EventDefinition<infer Data> ? Data : never;

/** Sends one event of a run. */
export interface EventSender<Data> {
  /** Resolves when the event is durable. With `referenceId` it arrives once however often it is sent. */
  send(
    ...args: undefined extends Data ? [data?: Data, options?: SendOptions] : [data: Data, options?: SendOptions]
  ): Promise<void>;
}

/** Options of sending an event. */
export interface SendOptions {
  /** The same reference makes it the same event, however often it is sent. Default: each call sends an event. */
  referenceId?: string;
}
