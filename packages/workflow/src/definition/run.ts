/** The first argument of a workflow's handler. */

import type {
  AnyRun,
  ChildRunFailedError,
  Duration,
  EventContent,
  EventDefinitions,
  Logger,
  RetryPolicy,
  TaskContext,
} from "@aikirun/lib";
import type { FinalStatus } from "@aikirun/lib/protocol";
import type { EventWaitOptions, EventWaitResult } from "../replay/event.ts";
import type { SleepOptions, SleepResult } from "../replay/sleep.ts";

/**
 * A run as its handler sees it. Every method that returns a promise is durable: its result is recorded once and read
 * from the journal on every replay.
 */
export interface WorkflowRun<Events extends EventDefinitions = EventDefinitions> extends AnyRun {
  /** The id of the run, a UUID. */
  readonly id: string;
  /** The attempt of the run, counted from 1; each retry of the whole run adds one. */
  readonly attempt: number;
  /** Logs nothing while the handler repeats recorded calls, so that no line is logged twice. */
  readonly logger: Logger;
  /** Waits for the events that the version declares, by name. */
  readonly events: { readonly [Name in keyof Events]: EventWaiter<EventContent<Events[Name]>> };
  /**
   * Sleeps durably. A negative duration counts as zero, and a warning is logged. Rejects with `AikiError`
   * `INVALID_DURATION` for an invalid duration.
   */
  sleep(duration: Duration, options?: SleepOptions): Promise<SleepResult>;
  /** The same; the name, of 1 to 255 characters, distinguishes this sleep from others. */
  sleep(name: string, duration: Duration, options?: SleepOptions): Promise<SleepResult>;
  /**
   * Sleeps until a moment by the database's clock; ends at once if the moment has passed. A number is epoch
   * milliseconds. Rejects with `AikiError` `INVALID_OPTION` for an invalid moment.
   */
  sleepUntil(moment: Date | number, options?: SleepOptions): Promise<SleepResult>;
  /** The same; the name, of 1 to 255 characters, distinguishes this sleep from others. */
  sleepUntil(name: string, moment: Date | number, options?: SleepOptions): Promise<SleepResult>;
  /** An inline task. Rejects with `TaskFailedError` once it has failed for good; its `cause` is the last error. */
  step<Output>(
    name: string,
    work: (context: TaskContext) => Output | Promise<Output>,
    options?: StepOptions,
  ): Promise<Output>;
  /**
   * Processes all items, in order and at most `concurrency` at once. Resolves with the results in the order of the
   * items; rejects with the first error. A failed item ends one of the `concurrency` lanes; the other lanes continue
   * with the remaining items. Each item has its own branch, so equal calls of different items are distinguished even
   * after non-durable asynchronous work. Rejects with `AikiError` `INVALID_KEY` when two items have the same key.
   */
  map<Item, Result>(
    items: Iterable<Item>,
    work: (item: Item, index: number) => Result | PromiseLike<Result>,
    options?: MapOptions<Item>,
  ): Promise<Result[]>;
  /**
   * Settles like the first contender that settles, and withdraws the others: a wait receives no event any more, a sleep
   * ends, and the signal of a task aborts. A contender is a durable call, or a function that passes its signal to its
   * calls.
   */
  race<const Contenders extends readonly Contender[]>(contenders: Contenders): Promise<Winner<Contenders>>;
  /**
   * Resolves with the first contender that resolves, and withdraws the others like `race`. Rejects with an
   * `AggregateError` when all of them rejected.
   */
  any<const Contenders extends readonly Contender[]>(contenders: Contenders): Promise<Winner<Contenders>>;
  /** Epoch milliseconds; recorded, so the same on every replay. Throws `AikiError` `AMBIGUOUS_CALL`. */
  now(options?: KeyOptions): number;
  /** In [0, 1); the same on every replay. Throws `AikiError` `AMBIGUOUS_CALL`. */
  random(options?: KeyOptions): number;
  /** A UUID; the same on every replay. Throws `AikiError` `AMBIGUOUS_CALL`. */
  uuid(options?: KeyOptions): string;
}

/** A participant in a race: a promise, or a function that returns one. Its signal aborts when it has lost. */
export type Contender = PromiseLike<unknown> | ((signal: AbortSignal) => unknown);

/** The result of the winner of a race. */
export type Winner<Contenders extends readonly Contender[]> = Contenders[number] extends infer One
  ? One extends (signal: AbortSignal) => infer Result
    ? Awaited<Result>
    : Awaited<One>
  : never;

/** Options of `map`. */
export interface MapOptions<Item> {
  /** How many items are processed at once, 1 to 10,000. Default: 10,000. */
  concurrency?: number;
  /** Identifies an item when the order of the items may change during a run. Default: the index. */
  key?: (item: Item, index: number) => string;
}

/** Options of synchronous calls. */
export interface KeyOptions {
  /** Distinguishes this call from others of the same kind. At most 255 characters. Default: none. */
  key?: string;
}

/** Options of an inline step. */
export interface StepOptions {
  /** Which failures are retried, and when. Default: none. */
  retry?: RetryPolicy;
  /** How long one try may take. Default: 5 minutes. */
  timeout?: Duration;
  /** Distinguishes this step from others of the same name. At most 255 characters. Default: none. */
  key?: string;
  /**
   * Withdraws the step when it aborts: the step rejects with `AikiError` `WAIT_WITHDRAWN`, and the signal that its
   * function received aborts. Default: none.
   */
  signal?: AbortSignal;
}

/** Waits for one kind of event in a handler. */
export interface EventWaiter<Data> {
  /**
   * Resolves with the next event of this name that no earlier wait has received. Waits without a limit. Rejects with
   * `AikiError` `SCHEMA_MISMATCH` when the event does not match its schema.
   */
  wait(options?: EventWaitOptions & { timeout?: undefined }): Promise<Data>;
  /** The same, or resolves with `timedOut: true` if no event arrived within the timeout. */
  wait(options: EventWaitOptions & { timeout: Duration }): Promise<EventWaitResult<Data>>;
}

/** A child run, as its parent sees it. */
export interface ChildHandle<Output> {
  /** The id of the child run, a UUID. */
  readonly id: string;
  /**
   * Resolves with the child's output. Rejects with `ChildRunFailedError` (its `cause` is the recorded error) when the
   * child failed or was cancelled.
   */
  result(options?: ChildWaitOptions): Promise<Output>;
  /**
   * Waits until the child has ended. `reached` is true if it ended in this status. Otherwise it is false: no rejection.
   */
  waitFor<Status extends FinalStatus>(
    status: Status,
    options?: ChildWaitOptions & { timeout?: undefined },
  ): Promise<ChildReached<Output, Status> | ChildEnded>;
  /** The same, or resolves with `reason: "timed_out"` if the child did not end within the timeout. */
  waitFor<Status extends FinalStatus>(
    status: Status,
    options: ChildWaitOptions & { timeout: Duration },
  ): Promise<ChildReached<Output, Status> | ChildEnded | ChildTimedOut>;
}

/** Options of a wait for a child. */
export interface ChildWaitOptions {
  /**
   * Withdraws the wait when it aborts: the wait rejects with `AikiError` `WAIT_WITHDRAWN`. The child continues.
   * Default: none.
   */
  signal?: AbortSignal;
}

/** The child ended in the status that was waited for. */
export type ChildReached<Output, Status extends FinalStatus> = Status extends "completed"
  ? { reached: true; status: Status; output: Output }
  : { reached: true; status: Status; error: ChildRunFailedError };

/** The child ended in another status. */
export interface ChildEnded {
  /** The child did not end in the status that was waited for. */
  reached: false;
  /** Why not: it ended in another status. */
  reason: "ended";
  /** The status in which it ended. */
  status: FinalStatus;
}

/** The child had not ended when the timeout passed. */
export interface ChildTimedOut {
  /** The child did not end in the status that was waited for. */
  reached: false;
  /** Why not: the timeout passed. */
  reason: "timed_out";
}
