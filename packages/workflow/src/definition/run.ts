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
 * A run from inside its handler. Everything that returns a promise is durable: recorded once, recalled on every
 * replay.
 */
export interface WorkflowRun<Events extends EventDefinitions = EventDefinitions> extends AnyRun {
  /** The id of the run, a UUID. */
  readonly id: string;
  /** From 1; grows with every retry of the whole run. */
  readonly attempt: number;
  /** Silent while the handler only repeats what it did before, so that no line is logged again. */
  readonly logger: Logger;
  /** Waits for the events that the version declares, by name. */
  readonly events: { readonly [Name in keyof Events]: EventWaiter<EventContent<Events[Name]>> };
  /**
   * Sleeps, durably. A negative duration is taken as zero, and a warning is logged: its moment has passed. Rejects with
   * `AikiError` `INVALID_DURATION` for what is no duration.
   */
  sleep(duration: Duration, options?: SleepOptions): Promise<SleepResult>;
  /** The same; the name, of 1 to 255 characters, tells this sleep from others. */
  sleep(name: string, duration: Duration, options?: SleepOptions): Promise<SleepResult>;
  /**
   * Sleeps until a moment by the database's clock; one that has passed is now. A number is epoch milliseconds. Rejects
   * with `AikiError` `INVALID_OPTION` for what is no moment.
   */
  sleepUntil(moment: Date | number, options?: SleepOptions): Promise<SleepResult>;
  /** The same; the name, of 1 to 255 characters, tells this sleep from others. */
  sleepUntil(name: string, moment: Date | number, options?: SleepOptions): Promise<SleepResult>;
  /** An inline task. Rejects with `TaskFailedError` once it has failed for good; its `cause` is the last error. */
  step<Output>(
    name: string,
    work: (context: TaskContext) => Output | Promise<Output>,
    options?: StepOptions,
  ): Promise<Output>;
  /**
   * Works on all items, in order and at most `concurrency` at once, and resolves with the results in the order of the
   * items; rejects with the first error. An item that fails ends one of the `concurrency` lanes; the others go on with
   * the items that are left. Each item has a branch of its own, so that alike calls of different items are told apart
   * even after plain asynchronous work. Rejects with `AikiError` `INVALID_KEY` when two items have one key.
   */
  map<Item, Result>(
    items: Iterable<Item>,
    work: (item: Item, index: number) => Result | PromiseLike<Result>,
    options?: MapOptions<Item>,
  ): Promise<Result[]>;
  /**
   * Settles like the first contender that settles, and gives up the others: a wait takes no event any more, a sleep is
   * no longer counted, a task's signal aborts. A contender is a durable call, or a function whose calls take its
   * signal.
   */
  race<const Contenders extends readonly Contender[]>(contenders: Contenders): Promise<Winner<Contenders>>;
  /**
   * Resolves with the first contender that resolves, and gives up the others like `race`. Rejects with an
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

/** One that takes part in a race: a promise, or a function that begins it and is told by a signal when it has lost. */
export type Contender = PromiseLike<unknown> | ((signal: AbortSignal) => unknown);

/** What the winner of a race comes to. */
export type Winner<Contenders extends readonly Contender[]> = Contenders[number] extends infer One
  ? One extends (signal: AbortSignal) => infer Result
    ? Awaited<Result>
    : Awaited<One>
  : never;

/** Options of `map`. */
export interface MapOptions<Item> {
  /** How many items are worked on at once, 1 to 10,000. Default: all. */
  concurrency?: number;
  /** Tells items apart when their order may change while a run is under way. Default: the index. */
  key?: (item: Item, index: number) => string;
}

/** Options of calls that are answered at once. */
export interface KeyOptions {
  /** Tells this call from others that are alike. At most 255 characters. Default: none. */
  key?: string;
}

/** Options of an inline step. */
export interface StepOptions {
  /** Which failures are tried again, and when. Default: none. */
  retry?: RetryPolicy;
  /** How long one try may take. Default: 5 minutes. */
  timeout?: Duration;
  /** Tells this step from others of its name. At most 255 characters. Default: none. */
  key?: string;
  /**
   * Gives the step up: it rejects with `AikiError` `WAIT_WITHDRAWN` when this aborts, and so does its own signal.
   * Default: none.
   */
  signal?: AbortSignal;
}

/** Where a handler waits for an event. */
export interface EventWaiter<Data> {
  /**
   * The next event of this name that no earlier wait took, however long it takes. Rejects with `AikiError`
   * `SCHEMA_MISMATCH` when it does not fit the event's schema.
   */
  wait(options?: EventWaitOptions & { timeout?: undefined }): Promise<Data>;
  /** The same, or `timedOut: true` when none came within the timeout. */
  wait(options: EventWaitOptions & { timeout: Duration }): Promise<EventWaitResult<Data>>;
}

/** A child run, as its parent sees it. */
export interface ChildHandle<Output> {
  /** The id of the child run, a UUID. */
  readonly id: string;
  /**
   * The child's output. Rejects with `ChildRunFailedError` (its `cause` is the recorded error) when it ended
   * otherwise.
   */
  result(options?: ChildWaitOptions): Promise<Output>;
  /** Waits for the child's end, and says whether it ended in this status. Never rejects for the way it ended. */
  waitFor<Status extends FinalStatus>(
    status: Status,
    options?: ChildWaitOptions & { timeout?: undefined },
  ): Promise<ChildReached<Output, Status> | ChildEnded>;
  /** The same, or `reason: "timed_out"` when it did not end within the timeout. */
  waitFor<Status extends FinalStatus>(
    status: Status,
    options: ChildWaitOptions & { timeout: Duration },
  ): Promise<ChildReached<Output, Status> | ChildEnded | ChildTimedOut>;
}

/** Options of a wait for a child. */
export interface ChildWaitOptions {
  /**
   * Gives the wait up: it rejects with `AikiError` `WAIT_WITHDRAWN` when this aborts. The child goes on. Default: none.
   */
  signal?: AbortSignal;
}

/** The child ended as hoped. */
export type ChildReached<Output, Status extends FinalStatus> = Status extends "completed"
  ? { reached: true; status: Status; output: Output }
  : { reached: true; status: Status; error: ChildRunFailedError };

/** The child ended otherwise. */
export interface ChildEnded {
  /** The child did not end in the status that was waited for. */
  reached: false;
  /** Why not: it ended otherwise. */
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
