/** JSON text exactly as it travels and rests. An absent payload means `undefined`. The server never parses one. */
export type Payload = string;

/** Made by the caller (UUIDv7); the idempotency key of a start. */
export type RunId = string;

/**
 * Where in a workflow's history a fact belongs: `task:charge-card:9f2c…#0`, `sleep:#1`, `event:approved#0`.
 * Components are encoded, so that a name may hold `:`, `#` or `/`. Scoped by attempt.
 */
export type Address = string;

/** The statuses that no command changes. */
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

/** Where a run stands. */
export type RunStatus = (typeof runStatuses)[number];

/** How a run ended. */
export type FinalStatus = (typeof finalStatuses)[number];

/** An error as a value: what is recorded of something thrown. At most 64 KiB; made by `describeError` of lib. */
export interface Failure {
  /** The error's name. */
  name: string;
  /** The error's message. */
  message: string;
  /** Stable code, for errors of Aiki's own and for errors whose `code` is a string or a number. */
  code?: string | number;
  /** Where it was thrown. */
  stack?: string;
  /** The error that led to it. */
  cause?: Failure;
  /** The errors of an `AggregateError`; at most 10. */
  errors?: Failure[];
  /** How many errors of an `AggregateError` were left out of `errors`; absent when none were. */
  omittedErrors?: number;
  /** The error's other own fields: the JSON text of an object. */
  details?: Payload;
  /** The run whose failure this is, for a child's. */
  runId?: RunId;
}

/** How a run ended. */
export type Outcome =
  | { status: "completed"; output?: Payload }
  | { status: "failed"; error: Failure }
  | { status: "cancelled"; reason?: string };

/** Why a stalled run stopped. Left by `retry` or `cancel`. */
export type Stall = { reason: "crash_loop"; crashes: number } | ReportedStall;

/** Why a worker stopped a run: nothing is lost, and `retry` goes on once the cause is mended. */
export type ReportedStall =
  /** The code no longer fits the record: it waits at `call`, and has not made those of `unclaimed` again. */
  | { reason: "diverged"; call: Address; unclaimed: Address[] }
  /**
   * Two alike calls cannot be distinguished. `call` is where one of them would be recorded, `identity` what they share,
   * `places` where the code makes them.
   */
  | { reason: "ambiguous_call"; call: Address; identity: string; places: string[] }
  /** What is recorded at `call` no longer fits the schema that the code has for it. */
  | { reason: "schema_mismatch"; call: Address; error: Failure }
  /** The handler awaited only non-durable work for `idleMs` milliseconds. */
  | { reason: "idle"; idleMs: number };

/** The code that recorded a run last. */
export interface Build {
  /** A fingerprint of the code. At most 64 characters. */
  id: string;
  /** Entries up to this `seq` were recorded by other code; 0 when all are of this one. */
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

/** What becomes of a child whose parent failed or was cancelled. Default `cancel`. */
export type OnParentEnd = "cancel" | "abandon";

/** Everything that a start says of a run. */
export interface RunSpec {
  /** The id of the run, a UUIDv7 that the caller made. */
  id: RunId;
  /** The name of the workflow. */
  name: string;
  /** The id of the workflow version. */
  versionId: string;
  /** The input as JSON; absent for `undefined`. */
  input?: Payload;
  /** SHA-256 of the canonical input; compared when two starts share a `referenceId`. Required with it. */
  inputHash?: string;
  /** Unique per namespace and workflow name for as long as the run's row exists. */
  referenceId?: string;
  /**
   * What a start with a taken `referenceId` and another input does. Default `error`. The same input is always the
   * same run.
   */
  onConflict?: "error" | "return_existing";
  /** Milliseconds from the server's receipt. */
  delayMs?: number;
  /** Epoch milliseconds; excludes `delayMs`. */
  at?: number;
  /** Only workers that serve this shard key execute the run. */
  shardKey?: string;
  /** Higher runs first; -1000 to 1000, default 0. */
  priority?: number;
  /** Overrides the version's own policy. */
  retry?: RetryPolicy;
  /** Milliseconds from when the run is first queued, over all attempts. */
  timeoutMs?: number;
  /** Texts by which runs are found, at most `limits.tags`. */
  tags?: string[];
  /** For a child: what happens to it when its parent fails or is cancelled. Default `cancel`. */
  onParentEnd?: OnParentEnd;
}

/** The wait or child that a suspended run names. */
export interface WaitView {
  /** What is waited for. */
  type: "sleep" | "event" | "child" | "retry";
  /** The durable call that waits. */
  address: Address;
  /** The event's name, or the name of a sleep. */
  name?: string;
  /** Epoch milliseconds; null waits without deadline. */
  until: number | null;
}

/** A run as the outside sees it. */
export interface RunView {
  /** The id of the run, a UUID. */
  id: RunId;
  /** The name of the workflow. */
  name: string;
  /** The id of the workflow version. */
  versionId: string;
  /** Where the run stands. */
  status: RunStatus;
  /** Grows with every change of the run. */
  revision: number;
  /** From 1; grows with every retry of the whole run. */
  attempt: number;
  /** Epoch milliseconds when it was created. */
  createdAt: number;
  /** Epoch milliseconds of the last change of its row. */
  updatedAt: number;
  /** Only workers that serve this shard key execute the run. */
  shardKey?: string;
  /** Higher runs first; -1000 to 1000. */
  priority: number;
  /** The caller's own id of the run. */
  referenceId?: string;
  /** The texts by which the run is found. */
  tags: string[];
  /** The run that started it, and where. */
  parent?: { id: RunId; address: Address };
  /** The run that this one retries. */
  retryOf?: RunId;
  /** The input as JSON. Absent for `undefined`, and in lists. */
  input?: Payload;
  /** How the run ended. Absent while it has not ended. */
  outcome?: Outcome;
  /** Why the run is stalled. Absent while it is not. */
  stall?: Stall;
  /** What a suspended run waits for, in the order it asked; at most 100. */
  waits: WaitView[];
  /** How many children it awaits. */
  awaitedChildren: number;
  /** Events that arrived and that no wait has taken yet, by name; at most 100 names. */
  unboundEvents: Array<{ name: string; count: number }>;
  /** Epoch milliseconds when the clock looks at this run next. */
  dueAt: number | null;
  /** Who holds it, when running. */
  worker?: string;
  /** The last failure under a run-level retry. */
  lastError?: Failure;
  /** One sentence: what the run is doing or waiting for. */
  explanation: string;
}
