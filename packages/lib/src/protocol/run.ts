/** JSON text, exactly as it is sent and stored. An absent payload means `undefined`. The server never parses one. */
export type Payload = string;

/** The id of a run, a UUIDv7 that the caller makes. If a start is repeated with the same id, it gets the same run. */
export type RunId = string;

/**
 * The name of a durable call in the journal of one attempt: `task:charge-card:9f2c…#0`, `sleep:#1`, `event:approved#0`.
 * Its parts are encoded, so that a name may contain `:`, `#` or `/`.
 */
export type Address = string;

/** The statuses of runs that have ended. */
export const finalStatuses = ["completed", "failed", "cancelled"] as const;

/** Every status a run can have. */
export const runStatuses = [
  "scheduled",
  "queued",
  "running",
  "paused",
  "sleeping",
  "awaiting_event",
  "awaiting_retry",
  "awaiting_child_workflow",
  "stalled",
  "completed",
  "failed",
  "cancelled",
] as const;

/** The status of a run. */
export type RunStatus = (typeof runStatuses)[number];

/** The status of a run that has ended. */
export type FinalStatus = (typeof finalStatuses)[number];

/** An error as it is recorded, made by `describeError` of lib. At most 64 KiB. */
export interface Failure {
  /** The error's name. */
  name: string;
  /** The error's message. */
  message: string;
  /** The code of an error of Aiki, or the `code` of another error if that is a string or a number. */
  code?: string | number;
  /** The stack trace. */
  stack?: string;
  /** The error's cause. */
  cause?: Failure;
  /** The errors of an `AggregateError`; at most 10. */
  errors?: Failure[];
  /** How many errors of an `AggregateError` were omitted from `errors`. Absent if none were. */
  omittedErrors?: number;
  /** The error's other own fields: the JSON text of an object. */
  details?: Payload;
  /** The child that failed, if this is the failure of a child. */
  runId?: RunId;
}

/** How a run ended. */
export type Outcome =
  | { status: "completed"; output?: Payload }
  | { status: "failed"; error: Failure }
  | { status: "cancelled"; reason?: string };

/** Why a run is stalled. `retry` continues it, `cancel` ends it. */
export type Stall = { reason: "crash_loop"; crashes: number } | ReportedStall;

/** Why a worker stalled a run. Nothing is lost: after a user has fixed the cause, `retry` continues the run. */
export type ReportedStall =
  /**
   * The code does not fit the journal: it made the new call `call`, but not the recorded calls `unclaimed`. `alsoNew`
   * are the other new calls that it made; absent if there are none.
   */
  | { reason: "diverged"; call: Address; unclaimed: Address[]; alsoNew?: Address[] }
  /**
   * Two alike calls cannot be distinguished. `call` is the address of one of them, `identity` is the identity of both,
   * and `places` are the places in the code that make them.
   */
  | { reason: "ambiguous_call"; call: Address; identity: string; places: string[] }
  /** The schema in the code refuses the data that is recorded at `call`. */
  | { reason: "schema_mismatch"; call: Address; error: Failure }
  /** The handler awaited only non-durable work for `idleMs` milliseconds. */
  | { reason: "idle"; idleMs: number };

/** The code that recorded a run last. */
export interface Build {
  /** A fingerprint of the code. At most 64 characters. */
  id: string;
  /** Other code recorded the entries up to this `seq`. 0 if this code recorded all entries. */
  since: number;
}

/**
 * When and how often to try again. Delays are milliseconds from 0 to 100 years; `maxAttempts` is 1 or more and counts
 * the first attempt too.
 */
export type RetryPolicy =
  /** The first failure is final. */
  | { type: "never" }
  /** Waits `delayMs` before each further attempt. */
  | { type: "fixed"; maxAttempts: number; delayMs: number }
  /**
   * Waits `baseDelayMs` before the second attempt, and before each further one `factor` times as long, up to
   * `maxDelayMs`. `factor` is 1 to 1,000, default 2; `maxDelayMs` is by default one day.
   */
  | { type: "exponential"; maxAttempts: number; baseDelayMs: number; factor?: number; maxDelayMs?: number }
  /**
   * Like `exponential` with factor 2, but each delay is shortened by a random part, `jitterFactor` of it at most.
   * `jitterFactor` is 0 to 1, default 0.5; `maxDelayMs` is by default one day.
   */
  | { type: "jittered"; maxAttempts: number; baseDelayMs: number; jitterFactor?: number; maxDelayMs?: number };

/** What happens to a child when its parent fails or is cancelled. Default `cancel`. */
export type OnParentEnd = "cancel" | "abandon";

/** A run to start. */
export interface RunSpec {
  /** The id of the run, a UUIDv7 that the caller made. */
  id: RunId;
  /** The name of the workflow. */
  name: string;
  /** The id of the workflow version. */
  versionId: string;
  /** The input as JSON; absent for `undefined`. */
  input?: Payload;
  /** SHA-256 of the canonical input, by which the server compares inputs. Required if there is a `referenceId`. */
  inputHash?: string;
  /** Unique per namespace and workflow name for as long as the run's row exists. */
  referenceId?: string;
  /**
   * What happens if a run with this `referenceId` and another input exists. Default `error`. If the input is the same,
   * the start always gets that run.
   */
  onConflict?: "error" | "return_existing";
  /** The delay until the run is queued, in milliseconds from the receipt of the start. Not together with `at`. */
  delayMs?: number;
  /** When the run is queued, in epoch milliseconds. Not together with `delayMs`. */
  at?: number;
  /** Only workers that serve this shard key execute the run. */
  shardKey?: string;
  /** Higher runs first; -1000 to 1000, default 0. */
  priority?: number;
  /** The retry policy of the run. If absent, the policy of the workflow version applies. */
  retry?: RetryPolicy;
  /** The time limit of all attempts together, in milliseconds from when the run is first queued. */
  timeoutMs?: number;
  /** Texts by which runs are found, at most `limits.tags`. */
  tags?: string[];
  /** For a child: what happens to it when its parent fails or is cancelled. Default `cancel`. */
  onParentEnd?: OnParentEnd;
}

/** One thing that a suspended run waits for. */
export interface WaitView {
  /** What is waited for. */
  type: "sleep" | "event" | "child" | "retry";
  /** The durable call that waits. */
  address: Address;
  /** The name of the event, of the sleep, or of the task that is tried again. */
  name?: string;
  /** When the wait was opened, in epoch milliseconds. */
  openedAt: number;
  /** The deadline in epoch milliseconds. Null if there is none. */
  until: number | null;
}

/** The state of a run, as the server returns it to callers. */
export interface RunView {
  /** The id of the run, a UUID. */
  id: RunId;
  /** The name of the workflow. */
  name: string;
  /** The id of the workflow version. */
  versionId: string;
  /** The status of the run. */
  status: RunStatus;
  /** When the run entered its status, in epoch milliseconds. */
  since: number;
  /** Grows with every change of the run. */
  revision: number;
  /** The attempt of the run, from 1. */
  attempt: number;
  /** When the run was created, in epoch milliseconds. */
  createdAt: number;
  /** When the run last changed, in epoch milliseconds. */
  updatedAt: number;
  /** Only workers that serve this shard key execute the run. */
  shardKey?: string;
  /** Higher runs first; -1000 to 1000. */
  priority: number;
  /** The caller's own id of the run. */
  referenceId?: string;
  /** The texts by which the run is found. */
  tags: string[];
  /** The run that started this run, and the address of the call that did so. */
  parent?: { id: RunId; address: Address };
  /** The run that this one retries. */
  retryOf?: RunId;
  /** The input as JSON. Absent for `undefined`, and in lists. */
  input?: Payload;
  /** How the run ended. Absent while it has not ended. */
  outcome?: Outcome;
  /** Why the run is stalled. Absent if it is not. */
  stall?: Stall;
  /** What a suspended run waits for, in the order in which the waits opened; at most 100. */
  waits: WaitView[];
  /** How many children the run waits for. */
  awaitedChildren: number;
  /** Events that arrived and that no wait has taken yet, by name; at most 100 names. */
  unboundEvents: Array<{ name: string; count: number }>;
  /** When the server must act on the run next, in epoch milliseconds. Null if never. */
  dueAt: number | null;
  /** The id of the worker that holds the run. Absent if no worker holds it. */
  worker?: string;
  /** The error of the last failed attempt, if the run is tried again. */
  lastError?: Failure;
  /** One sentence: what the run is doing or waiting for. */
  explanation: string;
}
