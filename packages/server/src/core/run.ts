/**
 * The vocabulary of the engine: what a run is. Types only; no behaviour, no I/O.
 *
 * Invariants, cited by number in code and tests:
 *
 *  R1  A decision reads exactly one run.
 *  R2  `revision` and `fence` only grow; a final state absorbs every command.
 *  R3  `(runId, attempt, address)` holds one value for ever: the first write wins.
 *  R4  Only the holder of the current fence may report or renew.
 *  R5  A run that is neither paused, stalled nor final has a `dueAt`, or waits without a deadline for an event or a
 *      child that queues it. While the handler of a suspended run may still await something that is not durable, the
 *      run also has a `checkWorkerAt`.
 *  R6  A run is not suspended while its journal has an entry that its worker has not received.
 *  R7  Wake-ups and notifications carry nothing that storage lacks, so losing one costs latency only.
 *  R8  `decide` is pure, so a failed commit may be retried by deciding again.
 *  R9  Crash loops are bounded: leases that end without a report are counted; past the limit the run is stalled.
 */

import type {
  Address,
  Build,
  CallSite,
  Entry,
  Mark,
  Outcome,
  Payload,
  Report,
  RetryPolicy,
  RunId,
  Stall,
  TaskTry,
  Value,
} from "@aikirun/lib/protocol";

/** An open wait. It stays until its entry exists: no crash, pause or sibling's event restarts its deadline. */
export interface Wait {
  address: Address;
  type: "sleep" | "event" | "retry" | "child";
  name?: string;
  /** When it was opened. Epoch milliseconds. */
  openedAt: number;
  /** Epoch milliseconds; null waits without deadline. */
  until: number | null;
  /** The durable call that opened it; the entry that ends the wait carries it too. */
  callSite?: CallSite;
}

/** What a worker had of a run when it suspended it. It lets the same session resume the run without a replay. */
export interface Resumable {
  session: string;
  fence: number;
  tail: number;
  attempt: number;
}

export interface Suspension {
  /** Null when the run must be replayed. */
  resumable: Resumable | null;
  /** How many children the handler awaits. */
  children: number;
  /**
   * When the clock checks whether the worker that suspended the run is alive. The handler may still await something
   * that is not durable, and only that worker can detect its end. If the worker is gone, the run is queued again.
   * Epoch milliseconds; absent when the handler awaits durable calls only.
   */
  checkWorkerAt?: number;
  /** Set once the worker was found alive: the time between the last check and the next. It doubles. Milliseconds. */
  checkEveryMs?: number;
}

/** Who asked for a pause, and why. */
export interface PauseRequest {
  by?: string;
  reason?: string;
}

/** A try of a task that a worker executes. */
export interface ExecutedTry extends Omit<TaskTry, "runningMs"> {
  /** When it began. Epoch milliseconds. */
  since: number;
}

export type State =
  | { status: "scheduled"; at: number }
  /** Until a worker claims it, its wake-up is published again at `redeliverAt`, after ever longer intervals. */
  | { status: "queued"; resumable: Resumable | null; redeliveries: number; redeliverAt: number }
  | {
      status: "running";
      session: string;
      worker: string;
      claimId: string;
      leaseMs: number;
      leaseUntil: number;
      /** False until a renew or a report shows that the claim's answer arrived. */
      confirmed: boolean;
      /** Present if the run is to be paused as soon as its worker has recorded what is in flight. */
      pause?: PauseRequest;
      /** What the holder already had when it claimed the run: it receives only later entries. Null: it had nothing. */
      resumable: Resumable | null;
      /**
       * The code that the holder executes, as its claim named it, and the last `seq` that it has not recorded. Absent
       * when the claim named none.
       */
      holderCode?: { id: string; after: number };
      /** The recorded call that the holder's replay waits for, and since when. Epoch milliseconds. */
      expecting?: { call: Address; since: number };
      /** What the holder executed when it sent its last heartbeat. Absent if that was nothing. */
      tries?: ExecutedTry[];
    }
  | ({ status: "sleeping" | "awaiting_event" | "awaiting_child_workflow" } & Suspension)
  /** Waits for a workflow-level retry (`retryAt` set), or only for retries of tasks. */
  | ({ status: "awaiting_retry"; retryAt: number | null } & Suspension)
  /** `inbox` is the count when the run was paused: if it has grown, resume queues the run. */
  | ({ status: "paused"; interrupted: Interrupted; inbox: number } & PauseRequest)
  | ({ status: "stalled" } & Stall)
  | Ended;

/** The outcome of a run as its row has it. */
export type Ended = Exclude<Outcome, { status: "completed" }> | { status: "completed"; output?: Payload | Unread };

/** A run as storage has it, with all its payloads. */
export type WholeRun = Run & { input: Payload | null; state: Exclude<State, Ended> | Outcome };

/** A payload that is too large to be loaded with its row. It is read by the run's id. */
export interface Unread {
  /** Its size in storage. */
  readonly bytes: number;
}

/** An entry whose value may be left in storage. */
export type Outline = Omit<Entry, "value"> & { value: Value | UnreadValue };

/** A value that is too large to be loaded with its entry. It is read by its `seq`. */
export interface UnreadValue {
  readonly type: "unread";
  readonly of: Value["type"];
  /** Its size in storage. */
  readonly bytes: number;
}

/** The outcome of a child that is not loaded. It is read by the child's id when it is recorded. */
export interface UnreadEnd extends UnreadValue {
  readonly child: RunId;
}

/** An entry that a decision records. Storage receives it with its whole value. */
export type NewFact = Omit<Entry, "value"> & { value: Value | UnreadEnd };

export type Interrupted = Extract<State, { status: "scheduled" | "queued" | SuspendedStatus }>;

export type SuspendedStatus = "sleeping" | "awaiting_event" | "awaiting_child_workflow" | "awaiting_retry";

/** Counts of one event name. No wait has taken the arrivals from number `taken` on, nor those in `returned`. */
export interface Arrivals {
  arrived: number;
  taken: number;
  /** Numbers of arrivals whose waits were withdrawn, in order, until other waits take them. Absent if empty. */
  returned?: readonly number[];
}

/** Set by the start, never changed. */
export interface RunOptions {
  inputHash?: string;
  retry?: RetryPolicy;
  timeoutMs?: number;
  tags?: string[];
  onParentEnd?: "abandon";
  retryOf?: RunId;
  /** The first run of a chain of retries. */
  origin?: RunId;
}

export interface Run {
  id: RunId;
  namespace: string;
  name: string;
  versionId: string;
  shardKey: string | null;
  priority: number;
  input: Payload | Unread | null;
  options: RunOptions;
  referenceId: string | null;
  parent: { id: RunId; address: Address } | null;
  createdAt: number;
  /** When its row last changed or an entry was last recorded; derived like `tail`. */
  updatedAt: number;
  state: State;
  /** When it entered its status. Epoch milliseconds. */
  since: number;
  /** Open waits, in every non-final status. */
  waits: Wait[];
  /** Arrivals by event name. A Map, because callers choose the names. */
  events: Map<string, Arrivals>;
  /** When the run's timeout ends it; null before it is first queued, or if it has no timeout. */
  timeoutAt: number | null;
  /** The earliest of lease end, wait deadlines, run timeout, redelivery: the engine's only timer. */
  dueAt: number | null;
  /** +1 on every change of the row; storage compares and swaps on it. */
  revision: number;
  /** Each claim raises it, by 1 unless commits were lost. A worker with an older one no longer holds the run. */
  fence: number;
  /** The number of entries that arrived from outside. */
  inbox: number;
  attempt: number;
  /** The code that last recorded the run; null when unknown. Reports that do not change the row do not update it. */
  build: Build | null;
  /** Leases that ended since the last report: `crashes` counts confirmed ones, `lostLeases` all of them. */
  crashes: number;
  lostLeases: number;
  /** How many live children end with this run. If it is 0, the children are not read. */
  children: number;
  /** The last report that changed the row. If it is repeated, it gets the same answer. */
  reported: { fence: number; reportId: string } | null;
  /** The failure that a workflow-level retry follows. */
  lastError: Extract<Outcome, { status: "failed" }>["error"] | null;
  /** The `seq` of its last entry. Not a column: storage derives it from the entries, and a cached row counts along. */
  tail: number;
}

export type Command =
  /** `isHolderAlive`: whether the session that suspended the run counts as alive. */
  | { type: "tick"; isHolderAlive?: boolean }
  | { type: "claim"; claim: Claim }
  | { type: "renew"; session: string; fence: number; leaseMs: number; tries?: readonly TaskTry[] }
  /** The session has ended: it neither executes the run any more nor resumes it. */
  | { type: "leave"; session: string }
  /**
   * `known` holds the entries at the addresses that the command would write. It is empty at first; the shell fills it
   * and decides again when the command was refused, conflicted with an entry, or comes from a worker that has not
   * received all entries. `taken` holds runs that have the ids or references of the children that a report starts. If
   * there are others, storage refuses to insert the child, and the report is decided again.
   */
  | { type: "report"; session: string; worker: string; report: Report; known: Outline[]; taken?: readonly Taken[] }
  | { type: "receive"; arrival: Arrival; known: Outline[] }
  | { type: "cancel"; signalId: string; by?: string; reason?: string; known: Outline[] }
  | { type: "pause"; signalId: string; by?: string; reason?: string; known: Outline[] }
  | { type: "resume"; signalId: string; by?: string; known: Outline[] }
  | { type: "wake"; signalId: string; by?: string; known: Outline[] }
  /** `input` is the run's input, if it is not loaded with the row. */
  | { type: "retry"; signalId: string; by?: string; newRunId: RunId; known: Outline[]; input?: Payload }
  /** The parent ended; its live children follow. */
  | { type: "orphan" }
  /** A final run has no live child left to cancel. */
  | { type: "childless" };

/** A run that has an id or a reference. `end`: how a child ended, as its parent's journal records it; else null. */
export type NameHolder = Pick<Run, "id" | "parent"> & { end: Value | UnreadEnd | null };

/** The run that already has the id or the reference of the child at this address. */
export interface Taken {
  address: Address;
  holder: NameHolder;
}

export interface Claim {
  /** A fingerprint of the caller's code. */
  build?: string;
  claimId: string;
  session: string;
  worker: string;
  leaseMs: number;
  /** Set when the caller reclaims a run that it suspended: the fence under which it suspended it. */
  reclaim?: number;
  /** Set for a run that an earlier claim may have taken: the ids of claims whose answers the caller did not receive. */
  repeats?: readonly string[];
}

export type Arrival =
  | { type: "event"; signalId: string; name: string; data?: Payload; referenceId?: string }
  /** `counted`: whether it was one of the parent's `children`. */
  | { type: "child"; address: Address; outcome: Outcome; runId: RunId; counted: boolean };

export type Effect =
  /** Another command, decided and committed in the same transaction. */
  | { type: "send"; to: RunId; command: Command }
  | { type: "start"; run: Run; reuse: RunId | null }
  | { type: "cancelChildren"; of: RunId }
  /** A wake-up, published after the commit. Losing one costs latency, never correctness. */
  | { type: "deliver"; run: Run };

/** Everything that a decision depends on, apart from the run and the command. */
export interface DecisionContext {
  /** Epoch milliseconds. It may be behind the database's clock but never ahead of it, so no timer fires early. */
  now: number;
  /** The database's clock is not ahead of this. Leases and deadlines start here, so that they are never too short. */
  latest: number;
  /**
   * When this server started, or found that commits may have been lost. It ends no lease until the duration of that
   * lease has passed since then.
   */
  bootAt: number;
  /**
   * Fences up to this one are void, because commits that assigned them may have been lost: no worker holds a run under
   * them, and claims assign higher ones.
   */
  fenceFloor: number;
  settings: Settings;
}

/** Limits of the core. Durations in milliseconds. */
export interface Settings {
  /** The lease of a claim until a heartbeat or a report confirms it. Milliseconds, default 10,000. */
  unconfirmedLeaseMs: number;
  /**
   * If no worker claims a queued run within this time, its wake-up is published again. The time doubles up to
   * `maxRedeliverMs`. Milliseconds, default 5,000.
   */
  redeliverMs: number;
  /** The longest time between two wake-ups for one queued run. Milliseconds, default 300,000 (5 minutes). */
  maxRedeliverMs: number;
  /** How many leases may end in a row without a report before the run is stalled. Default 5. */
  maxCrashes: number;
  /** How many waits a run may have open at once; with more it fails as `TOO_MANY_WAITS`. Default 10,000. */
  maxOpenWaits: number;
  /**
   * How long a worker counts as alive after its last claim or heartbeat; its lease counts instead if it is longer.
   * Milliseconds, default 90,000.
   */
  aliveMs: number;
}

export interface Refusal {
  ok: false;
  code: "FENCED" | "RUN_FINAL" | "ILLEGAL_STATE" | "LIMIT_EXCEEDED" | "BAD_REQUEST" | "NOT_DUE";
  message: string;
}

export type Decision = Accepted | Refusal;

/** If `run.revision` is unchanged, the row is not written; `run.tail` counts the new entries even then. */
export interface Accepted {
  ok: true;
  run: Run;
  entries: NewFact[];
  effects: Effect[];
}

export type { Address, Build, CallSite, Entry, Mark, Outcome, Payload, Report, RunId, Stall, Value };
