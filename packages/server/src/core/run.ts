/**
 * The vocabulary of the engine: what a run is. Types only; no behaviour, no I/O.
 *
 * Invariants, cited by number in code and tests:
 *
 *  R1  A decision reads exactly one run.
 *  R2  `revision` and `fence` only grow; a final state absorbs every command.
 *  R3  `(runId, attempt, address)` holds one value for ever: the first write wins.
 *  R4  Only the holder of the current fence may report or renew.
 *  R5  A run that is neither paused, stalled nor final has a `dueAt`, or waits without deadline for something that,
 *      when received, queues it. While the handler of a suspended run may still be busy with something that is not
 *      durable, the run also has a `checkWorkerAt`.
 *  R6  A run is not suspended while an entry is there that its worker has not seen.
 *  R7  Hints carry nothing that storage lacks.
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
  Value,
} from "@aikirun/lib/protocol";

/** An open wait. It stays until its entry exists: no crash, pause or sibling's event restarts its deadline. */
export interface Wait {
  address: Address;
  type: "sleep" | "event" | "retry" | "child";
  name?: string;
  /** Epoch milliseconds; null waits without deadline. */
  until: number | null;
  /** The durable call that opened it; the entry that ends the wait carries it too. */
  callSite?: CallSite;
}

/** What a worker had of a run when it let go: lets the same session go on without replay. */
export interface Resumable {
  session: string;
  fence: number;
  tail: number;
  attempt: number;
}

export interface Suspension {
  /** Present when the run may be resumed isCached. */
  resumable: Resumable | null;
  /** How many children the handler awaits. */
  children: number;
  /**
   * When the clock checks whether the worker that suspended the run is alive. The handler may still await something
   * that is not durable, and only that worker knows of it. If the worker is gone, the run is queued again.
   * Epoch milliseconds; absent when the handler awaits durable calls only.
   */
  checkWorkerAt?: number;
  /** Set once the worker was found alive: the time between the last check and the next. It doubles. Milliseconds. */
  checkEveryMs?: number;
}

export type State =
  | { status: "scheduled"; at: number }
  /** Hinted again at `redeliverAt`, ever more rarely, until somebody claims it. */
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
      pauseRequested: boolean;
      /** What the holder had of the run when it was handed out: it gets what came since. Null: all of it. */
      resumable: Resumable | null;
      /**
       * The code that the holder executes, as its claim named it, and the last `seq` that it has not recorded. Absent
       * when the claim named none.
       */
      holderCode?: { id: string; after: number };
      /** The recorded call that the holder's replay waits for, and since when. Epoch milliseconds. */
      expecting?: { call: Address; since: number };
    }
  | ({ status: "sleeping" | "awaiting_event" | "awaiting_child_workflow" } & Suspension)
  /** A workflow-level retry (`retryAt` set), or only retries of tasks are waited for. */
  | ({ status: "awaiting_retry"; retryAt: number | null } & Suspension)
  /** `inbox` is the count when it was interrupted: news meanwhile queues it on resume. */
  | { status: "paused"; interrupted: Interrupted; inbox: number }
  | ({ status: "stalled" } & Stall)
  | Ended;

/** How a run ended, as its row has it. */
export type Ended = Exclude<Outcome, { status: "completed" }> | { status: "completed"; output?: Payload | Unread };

/** A run as storage has it, with all its payloads. */
export type WholeRun = Run & { input: Payload | null; state: Exclude<State, Ended> | Outcome };

/** Stands for a payload that is not loaded with its row, because it is large. It is read by the run's id. */
export interface Unread {
  /** How much it takes in storage. */
  readonly bytes: number;
}

/** An entry, without its value where that is left in storage. */
export type Outline = Omit<Entry, "value"> & { value: Value | UnreadValue };

/** Stands for a value that is not loaded with its entry, because it is large. It is read by its `seq`. */
export interface UnreadValue {
  readonly type: "unread";
  readonly of: Value["type"];
  /** How much it takes in storage. */
  readonly bytes: number;
}

/** Stands for how a child ended, where that is not loaded: it is read by the child's id when it is recorded. */
export interface UnreadEnd extends UnreadValue {
  readonly child: RunId;
}

/** An entry that was decided on. Storage gets it whole. */
export type NewFact = Omit<Entry, "value"> & { value: Value | UnreadEnd };

export type Interrupted = Extract<State, { status: "scheduled" | "queued" | SuspendedStatus }>;

export type SuspendedStatus = "sleeping" | "awaiting_event" | "awaiting_child_workflow" | "awaiting_retry";

/** Arrivals of one event name. Unbound are those from `taken` on, and before them the `returned` ones. */
export interface Arrivals {
  arrived: number;
  taken: number;
  /** Arrivals below `taken` whose waits were withdrawn, in order, until other waits take them. Absent when none. */
  returned?: readonly number[];
}

/** What a start fixed for ever. */
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
  /** When its row changed or a fact was recorded last; like `tail` derived. */
  updatedAt: number;
  state: State;
  /** Open waits, in every non-final status. */
  waits: Wait[];
  /** Arrivals by event name; names from outside, hence a Map. */
  events: Map<string, Arrivals>;
  /** The end of the run by its timeout; null before it is first queued, or without one. */
  timeoutAt: number | null;
  /** The earliest of lease end, wait deadlines, run timeout, redelivery: the engine's only timer. */
  dueAt: number | null;
  /** +1 on every change of the row; storage compares and swaps on it. */
  revision: number;
  /** Each claim raises it, by 1 unless commits were lost; a worker holding an older one is a ghost. */
  fence: number;
  /** Facts that arrived from outside. */
  inbox: number;
  attempt: number;
  /**
   * The code that recorded the run last; null when none is known. While a holder's reports leave the row alone, it is
   * still the code before.
   */
  build: Build | null;
  /** Leases that ended without a report since the last one; unconfirmed ones are counted apart. */
  crashes: number;
  lostLeases: number;
  /** Children that end with this run; 0 spares the query. */
  children: number;
  /** The last report that changed the row, so that its repeat gets the same answer. */
  reported: { fence: number; reportId: string } | null;
  /** The failure that a workflow-level retry follows. */
  lastError: Extract<Outcome, { status: "failed" }>["error"] | null;
  /** The `seq` of its last entry. Not a column: storage derives it from the entries, a cached row keeps count. */
  tail: number;
}

export type Command =
  /** `isHolderAlive`: whether the session that suspended the run counts as alive. */
  | { type: "tick"; isHolderAlive?: boolean }
  | { type: "claim"; claim: Claim }
  | { type: "renew"; session: string; fence: number; leaseMs: number }
  /** The session has ended: it neither executes the run any more nor resumes it. */
  | { type: "leave"; session: string }
  /**
   * `known` holds what is recorded at the addresses that the command would write. Empty at first; the shell fills it
   * and decides again when the command was refused, met an entry, or comes from a worker that is behind. `taken` is
   * what stands in the way of the children that a report starts; if there is more, storage refuses to insert the child
   * and all is decided again.
   */
  | { type: "report"; session: string; worker: string; report: Report; known: Outline[]; taken?: readonly Taken[] }
  | { type: "receive"; arrival: Arrival; known: Outline[] }
  | { type: "cancel"; signalId: string; reason?: string; known: Outline[] }
  | { type: "pause"; signalId: string; known: Outline[] }
  | { type: "resume"; signalId: string; known: Outline[] }
  | { type: "wake"; signalId: string; known: Outline[] }
  /** `input` is that of the run, where it is not loaded with the row. */
  | { type: "retry"; signalId: string; newRunId: RunId; known: Outline[]; input?: Payload }
  /** The parent ended; its live children follow. */
  | { type: "orphan" }
  /** A final run has no live child left to cancel. */
  | { type: "childless" };

/** The run that has the id or the reference which the child at this address is to get. */
export interface Taken {
  address: Address;
  /** `end`: how a child ended, as its parent's journal is to hold it; null while it has not. */
  holder: Pick<Run, "id" | "parent"> & { end: Value | UnreadEnd | null };
}

export interface Claim {
  /** A fingerprint of the caller's code. */
  build?: string;
  claimId: string;
  session: string;
  worker: string;
  leaseMs: number;
  /** Set when the caller reclaims a run that it suspended: the fence under which it did. */
  reclaim?: number;
  /** Set for a run that one of these claims may have taken, whose answer the caller never got. */
  repeats?: readonly string[];
}

export type Arrival =
  | { type: "event"; signalId: string; name: string; data?: Payload; referenceId?: string }
  /** `counted`: whether it was one of the parent's `children`. */
  | { type: "child"; address: Address; outcome: Outcome; runId: RunId; counted: boolean };

export type Effect =
  /** Another command, decided and committed in the same transaction. */
  | { type: "send"; to: RunId; command: Command }
  | { type: "start"; run: Run; recall: RunId | null }
  | { type: "cancelChildren"; of: RunId }
  /** A hint, sent after the commit; losing one costs latency, never correctness. */
  | { type: "deliver"; run: Run };

/** Everything a decision may know besides the run. */
export interface DecisionContext {
  /** Epoch milliseconds, by the database's clock; it may be behind that one, never ahead: no timer is early. */
  now: number;
  /** What the database's clock says at most: from here on run leases, which are never shorter, and deadlines. */
  latest: number;
  /**
   * When this server began, or noticed that commits may have been lost; it expires no lease during the first lease
   * after that.
   */
  bootAt: number;
  /**
   * Fences up to this one are void: no worker holds a run under them, and they are not given out any more. Commits that
   * gave out some of them may have been lost.
   */
  fenceFloor: number;
  settings: Settings;
}

/** How patient the engine is. Durations in milliseconds. */
export interface Settings {
  /** The lease of a claim that nothing has confirmed yet. Milliseconds, default 10,000. */
  unconfirmedLeaseMs: number;
  /**
   * A queued run that no worker claims is hinted again after this time, which doubles up to `maxRedeliverMs`.
   * Milliseconds, default 5,000.
   */
  redeliverMs: number;
  /** The longest time between two hints of one queued run. Milliseconds, default 300,000 (5 minutes). */
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

/** The row is left alone when `run.revision` is the one decided upon; `run.tail` counts the entries even then. */
export interface Accepted {
  ok: true;
  run: Run;
  entries: NewFact[];
  effects: Effect[];
}

export type { Address, Build, CallSite, Entry, Mark, Outcome, Payload, Report, RunId, Stall, Value };
