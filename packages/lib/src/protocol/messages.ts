import type { ErrorCode } from "../error-codes/table.ts";
import type { CallSite, Entry, NewEntry } from "./entry.ts";
import type {
  Address,
  Build,
  Failure,
  FinalStatus,
  Payload,
  ReportedStall,
  RetryPolicy,
  RunId,
  RunSpec,
  RunStatus,
  RunView,
} from "./run.ts";

/** Why one item of a batch was refused: the same code on every verb. `errorCodes` explains each. */
export type RejectionCode = Extract<
  ErrorCode,
  | "RUN_NOT_FOUND"
  | "RUN_FINAL"
  | "RUN_ID_CONFLICT"
  | "REFERENCE_CONFLICT"
  | "FENCED"
  | "ILLEGAL_STATE"
  | "LIMIT_EXCEEDED"
  | "BAD_REQUEST"
  | "FORBIDDEN"
>;

/** The answer to one item that was refused; the rest of its batch is not touched. */
export interface Rejection {
  /** The item was refused. */
  ok: false;
  /** A client keeps a code that it does not know, of a newer server, as it is. */
  code: RejectionCode;
  /** What was wrong, and what to do. */
  message: string;
}

// start

/** Runs to create, at most `limits.batchItems`. */
export interface StartRequest {
  /** What to start, one item for each run. */
  runs: RunSpec[];
}

/** `id` is the existing run's when the reference or id was known. */
export type StartResult = { ok: true; id: RunId; created: boolean } | Rejection;

/** One result per run, in order. */
export interface StartReply {
  /** One result for each run, in order. */
  results: StartResult[];
}

// claim

/** One workflow version that a worker can run. */
export interface Served {
  /** The name of the workflow. */
  name: string;
  /** The id of the workflow version. */
  versionId: string;
  /** A fingerprint of its code, in claims. At most 64 characters. */
  build?: string;
}

/** What a worker says of itself with every claim and heartbeat. */
export interface WorkerDescription {
  /** Made per process; owns leases. */
  session: string;
  /** The worker's id: a label for people. */
  worker: string;
  /** The workflow versions that the worker executes. */
  serves: Served[];
  /** Empty: only runs without a shard key. */
  shardKeys: string[];
  /** The lease; the worker renews at a third of it. Milliseconds. */
  leaseMs: number;
  /** How busy the worker is. */
  load?: WorkerLoad;
}

/** Asks for runs to execute. A claim of suspended runs alone serves nothing. */
export interface ClaimRequest extends WorkerDescription {
  /** Made by the caller, new each time it asks. */
  claimId: string;
  /** Claims of the caller that got no answer, or that it aborted: what they took is this one's instead. At most 20. */
  repeats?: string[];
  /** At most this many runs, 1 to 1000. */
  limit: number;
  /** Waits up to this long for a run to be ready. Milliseconds; 0 answers at once. At most 60,000. */
  waitMs: number;
  /** Parked runs of the caller's own that went on without being asked; claimed at once, besides the filter. */
  reclaim?: Array<{ runId: RunId; fence: number }>;
}

/** How busy a worker is, in runs that it can execute at once and does. */
export interface WorkerLoad {
  /** How many runs the worker can execute at once. */
  slots: number;
  /** How many runs the worker executes now. */
  busy: number;
}

/** A run in the hands of a worker. */
export interface ClaimedRun {
  /** The id of the run, a UUID. */
  id: RunId;
  /** The name of the workflow. */
  name: string;
  /** The id of the workflow version. */
  versionId: string;
  /** The input as JSON; absent for `undefined`. */
  input?: Payload;
  /** The attempt of the run, from 1. */
  attempt: number;
  /** The number of this claim: what is reported under an earlier one is refused. */
  fence: number;
  /** Epoch milliseconds when the run was created. */
  createdAt: number;
  /** The shard key that the run was started with. */
  shardKey?: string;
  /** Higher runs first; -1000 to 1000. */
  priority: number;
  /** The caller's own id of the run. */
  referenceId?: string;
  /** The texts by which the run is found. */
  tags: string[];
  /** The start's own policy; absent, the version's holds. */
  retry?: RetryPolicy;
  /** The run that started it, and where. */
  parent?: { id: RunId; address: Address };
  /** The first run of a chain of `retryOf`, else the run itself: what `random()` and `uuid()` derive from. */
  origin: RunId;
  /** How many facts came from outside so far; the `seen` of the next report. */
  inbox: number;
  /** True when `journal` holds only the entries after those this session had when the run was suspended. */
  isCached: boolean;
  /** Entries in order of `seq`: all of them, or with `isCached` the new ones. */
  journal: Entry[];
  /** Set when the journal is not complete: read the entries after this `seq` before executing. */
  journalCutAt?: number;
  /** True when the input is left out because the reply is full: read it before executing. */
  inputLeftOut?: boolean;
  /** The waits that are open. Left out when `isCached`, whose session opened them itself. */
  waits: ClaimedWait[];
  /** Which code recorded the run last; absent before the first report. */
  build?: Build;
  /**
   * Leases of the run that ended without a report since the last one. With any, renew once before executing anything,
   * so that a crash is counted; with several, put no other run at stake beside it.
   */
  lostLeases: number;
  /** Epoch milliseconds by the server's clock when this was answered. */
  now: number;
}

/** An open wait of a claimed run. */
export interface ClaimedWait {
  /** The durable call that waits. */
  address: Address;
  /** When the handler made the call. Absent when that was not recorded. */
  callSite?: CallSite;
}

/** The runs that are the caller's by now; empty when the wait ran out. */
export interface ClaimReply {
  /** The claimed runs. */
  runs: ClaimedRun[];
  /** True when the reply is full: more runs may be queued for the caller. */
  more?: boolean;
  /** How long the claim was pending before it took them: their leases are no older. Milliseconds; absent, 0. */
  pendingMs?: number;
  /** The `streams` of a `RenewReply`. */
  streams?: WakeUpStreams;
}

// report

/**
 * A wait that the handler reached. Durations, because only the database's clock fixes deadlines. Opening an open wait
 * again changes nothing.
 */
export interface OpenWait {
  /** The durable call that waits. */
  address: Address;
  /** What is waited for. */
  type: "sleep" | "event" | "retry" | "child";
  /** The event's name, or a sleep's label. */
  name?: string;
  /** Milliseconds; null waits without deadline, or for `until`. */
  durationMs: number | null;
  /** Epoch milliseconds by the database's clock; `durationMs` is null then. */
  until?: number;
  /** When the handler made the call. */
  callSite?: CallSite;
}

/** A child to start. Inherits shard and priority unless `spec` says otherwise. */
export interface ChildStart {
  /** The durable call that starts the child. */
  address: Address;
  /** When the handler made the call. */
  callSite?: CallSite;
  /** What to start. */
  spec: RunSpec;
}

/** What a report says of its run. */
export type Next =
  /** It goes on here. */
  | { type: "continue" }
  /**
   * All durable calls of the run wait for something from outside. The answer is `released: false`, with the news, if
   * something arrived meanwhile. `mayBeBusyMs`: how long the handler may go on by itself, in milliseconds, because it
   * may also await something that is not durable; absent: it cannot.
   */
  | { type: "suspend"; children: number; mayBeBusyMs?: number }
  /** Handed back, for others to go on with. */
  | { type: "release"; reason: "shutdown" | "paused" | "unserved" }
  /** It cannot go on before a user fixes the cause. */
  | { type: "stall"; stall: ReportedStall }
  | {
      type: "finish";
      outcome:
        | { status: "completed"; output?: Payload }
        | { status: "failed"; error: Failure; retryInMs: number | null };
    };

/** What a worker has done of one run, and how the run goes on. */
export interface Report {
  /** Unique per run and fence; a repeat gets the first answer. */
  reportId: string;
  /** The run that it reports on. */
  runId: RunId;
  /** The `fence` of the claim under which the run is executed. */
  fence: number;
  /** The `inbox` count that the worker knows. */
  seen: number;
  /** The highest `seq` up to which the worker has every entry. */
  after: number;
  /** A fingerprint of the code that executes the run. At most 64 characters. */
  build?: string;
  /** The replay waits for the handler to make this recorded call again. Absent when it waits for none. */
  expecting?: Address;
  /** What to record, in order. */
  entries: NewEntry[];
  /** The waits to open. */
  opens: OpenWait[];
  /** The children to start. */
  starts: ChildStart[];
  /** How the run goes on. */
  next: Next;
}

/** Reports of many runs of one worker, at most `limits.batchItems` and `limits.requestBytes`. */
export interface ReportRequest {
  /** The id of the worker's process, which owns the leases. */
  session: string;
  /** The worker's id: a label for people. */
  worker: string;
  /** One report for each run. */
  reports: Report[];
}

/** What became of one report: recorded as a whole or refused as a whole. */
export type ReportResult =
  | {
      ok: true;
      /** The `seq` of the report's first entry (child starts follow the entries); those after it follow densely. */
      first: number;
      /** The run's last `seq`. */
      tail: number;
      inbox: number;
      /** Entries after `after` that the report did not bring, in order of `seq`. */
      entries: Entry[];
      /**
       * Set when the reply is full, or where the large output of a child follows that had ended: read the entries
       * after this `seq` before using the answer.
       */
      entriesCutAt?: number;
      /** True when the run left the worker's hands: suspended, queued, stalled, paused or ended. */
      released: boolean;
      /** True when the run should be paused: start nothing, record what is in flight, release. */
      pause: boolean;
    }
  | Rejection;

/** One result per report, in order. */
export interface ReportReply {
  /** One result for each report, in order. */
  results: ReportResult[];
}

// renew

/** One heartbeat for all runs that a worker holds. */
export interface RenewRequest extends WorkerDescription {
  /** The runs that the worker holds, and the `fence` of each claim. */
  runs: Array<{ runId: RunId; fence: number }>;
  /** The session ends: its worker is no longer listed as live, and all runs that it holds are released at once. */
  leaving?: boolean;
}

/** Where a server publishes wake-ups for the workers of a namespace. */
export interface WakeUpStreams {
  /** What the keys of all its streams begin with. */
  prefix: string;
  /** The namespace of the caller. */
  namespace: string;
}

/** Whether the lease holds for another `leaseMs`. */
export type RenewResult = { ok: true; pause: boolean; inbox: number } | Rejection;

/** One result per run, in order. */
export interface RenewReply {
  /** One result for each run, in order. */
  results: RenewResult[];
  /** Where the server publishes wake-ups for the caller. Absent while it does not publish any through Redis. */
  streams?: WakeUpStreams;
}

// signal

/** What the outside may ask of a run. */
export type Signal =
  /** `referenceId` makes it one event however often it is sent; without it `signalId` does. */
  | { type: "event"; name: string; data?: Payload; referenceId?: string }
  | { type: "cancel"; reason?: string }
  | { type: "pause" }
  | { type: "resume" }
  /** Ends open sleeps; hastens `scheduled` and `awaiting_retry`. */
  | { type: "wake" }
  /**
   * Queues a stalled or awaiting_retry run; on a failed or cancelled one starts `newRunId`, which reuses its
   * successes.
   */
  | { type: "retry"; newRunId: RunId };

/** One signal to one run. */
export interface SignalItem {
  /** Made by the caller; a repeat gets the first answer. */
  signalId: string;
  /** The run that the signal is for. */
  runId: RunId;
  /** What the run is asked to do. */
  signal: Signal;
}

/** Signals to many runs, at most `limits.batchItems`. */
export interface SignalRequest {
  /** One item for each signal. */
  signals: SignalItem[];
}

/** `runId` is the new run's for a retry of an ended one. */
export type SignalResult = { ok: true; runId: RunId; status: RunStatus } | Rejection;

/** One result per signal, in order. */
export interface SignalReply {
  /** One result for each signal, in order. */
  results: SignalResult[];
}

// watch

/** One thing that a caller wants to hear of. */
export type Watched =
  /** Answers with the run's view when its status is one of these, or final. */
  | { type: "status"; runId: RunId; statuses: RunStatus[] }
  /** A worker's run: answers when entries arrived, a pause was asked for, or the run was lost. */
  | { type: "changes"; runId: RunId; fence: number; seen: number; after: number };

/** Things to wait for, at most `limits.watchedItems`. */
export interface WatchRequest {
  /** What to wait for. */
  watched: Watched[];
  /** Milliseconds to wait for the first to have something to say; at most 60,000. */
  waitMs: number;
}

/** What there is to say of one watched thing. */
export type WatchResult =
  | { type: "status"; run: RunView }
  | { type: "changes"; runId: RunId; inbox: number; entries: Entry[]; pause: boolean }
  | { type: "lost"; runId: RunId; code: "FENCED" | "RUN_FINAL" | "RUN_NOT_FOUND"; status?: FinalStatus };

/** Only those that have something to say; empty when the wait ran out. */
export interface WatchReply {
  /** What changed. */
  results: WatchResult[];
}
