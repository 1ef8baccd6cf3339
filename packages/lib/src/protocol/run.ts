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
  name: string;
  message: string;
  /** Stable code, for errors of Aiki's own and for errors whose `code` is a string or a number. */
  code?: string | number;
  stack?: string;
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
  /** The code no longer fits the record: it made the new call `call` and never made those of `unclaimed`. */
  | { reason: "diverged"; call: Address; unclaimed: Address[] }
  /**
   * Two alike calls cannot be told apart. `call` is where one of them would be recorded, `identity` what they share,
   * `places` where the code makes them.
   */
  | { reason: "ambiguous_call"; call: Address; identity: string; places: string[] }
  /** What is recorded at `call` no longer fits the schema that the code has for it. */
  | { reason: "schema_mismatch"; call: Address; error: Failure }
  /** The handler awaited something that is not durable for `idleMs` milliseconds. */
  | { reason: "idle"; idleMs: number };

/** The code that recorded a run last. */
export interface Build {
  /** A fingerprint of the code. At most 64 characters. */
  id: string;
  /** Entries up to this `seq` were recorded by other code; 0 when all are of this one. */
  since: number;
}

/** When and how often to try again. Delays in milliseconds; `maxAttempts` counts the first attempt too. */
export type RetryPolicy =
  | { type: "never" }
  | { type: "fixed"; maxAttempts: number; delayMs: number }
  | { type: "exponential"; maxAttempts: number; baseDelayMs: number; factor?: number; maxDelayMs?: number }
  | { type: "jittered"; maxAttempts: number; baseDelayMs: number; jitterFactor?: number; maxDelayMs?: number };

/** What becomes of a child whose parent failed or was cancelled. Default `cancel`. */
export type OnParentEnd = "cancel" | "abandon";

/** Everything that a start says of a run. */
export interface RunSpec {
  id: RunId;
  name: string;
  versionId: string;
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
  shardKey?: string;
  /** Higher runs first; -1000 to 1000, default 0. */
  priority?: number;
  /** Overrides the version's own policy. */
  retry?: RetryPolicy;
  /** Milliseconds from when the run is first queued, over all attempts. */
  timeoutMs?: number;
  tags?: string[];
  onParentEnd?: OnParentEnd;
}

/** The wait or child that a parked run names. */
export interface WaitView {
  type: "sleep" | "event" | "child" | "retry";
  address: Address;
  name?: string;
  /** Epoch milliseconds; null waits without deadline. */
  until: number | null;
}

/** A run as the outside sees it. */
export interface RunView {
  id: RunId;
  name: string;
  versionId: string;
  status: RunStatus;
  revision: number;
  attempt: number;
  createdAt: number;
  /** Epoch milliseconds of the last change of its row. */
  updatedAt: number;
  shardKey?: string;
  priority: number;
  referenceId?: string;
  tags: string[];
  parent?: { id: RunId; address: Address };
  retryOf?: RunId;
  input?: Payload;
  outcome?: Outcome;
  stall?: Stall;
  /** What a parked run waits for, in the order it asked; at most 100. */
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
