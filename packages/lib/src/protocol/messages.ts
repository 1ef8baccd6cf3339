import type { ErrorCode } from "../error-codes/table.ts";
import type { CallSite, Entry, NewEntry } from "./entry.ts";
import type { Address, Build, Failure, Payload, ReportedStall, RetryPolicy, RunId, RunSpec, RunStatus } from "./run.ts";

/** Why one item of a batch was refused. All verbs use the same codes. `errorCodes` explains each. */
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

/** The answer to one item that was refused. The rest of its batch is executed. */
export interface Rejection {
  /** The item was refused. */
  ok: false;
  /** The error code. A newer server may send a code that the client does not know; the client passes it on. */
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

/** If a run with this id or reference id already exists, `id` is the id of that run, and `created` is false. */
export type StartResult = { ok: true; id: RunId; created: boolean } | Rejection;

/** What happened to the runs of a `StartRequest`. */
export interface StartReply {
  /** One result for each run, in the order of the request. */
  results: StartResult[];
}

// claim

/** One workflow version that a worker serves. */
export interface Served {
  /** The name of the workflow. */
  name: string;
  /** The id of the workflow version. */
  versionId: string;
  /** A fingerprint of the version's code. Present in claims. At most 64 characters. */
  build?: string;
}

/** The description of itself that a worker sends with every claim and heartbeat. */
export interface WorkerDescription {
  /** The id of the worker's session, which owns the leases. */
  session: string;
  /** The worker's id: a label for people. */
  worker: string;
  /** The workflow versions that the worker executes. */
  serves: Served[];
  /** The shard keys that the worker serves. If empty, it serves only runs without a shard key. */
  shardKeys: string[];
  /** The duration of a lease, in milliseconds. The worker renews it after a third of this time. */
  leaseMs: number;
  /** How busy the worker is. */
  load?: WorkerLoad;
}

/** A request for runs to execute. If `serves` is empty, the claim takes only runs of `repeats` and `reclaim`. */
export interface ClaimRequest extends WorkerDescription {
  /** The id of the claim. The caller makes a new one for each claim. */
  claimId: string;
  /** The ids of claims that got no answer, or that the caller aborted. This claim takes their runs. At most 20. */
  repeats?: string[];
  /** The maximum number of queued runs to take, 1 to 1000. */
  limit: number;
  /** How long the server waits for a queued run, in milliseconds. 0: it answers immediately. At most 60,000. */
  waitMs: number;
  /** Suspended runs of the caller that continued by themselves, with their fences. Taken in addition to `limit`. */
  reclaim?: Array<{ runId: RunId; fence: number }>;
}

/** How busy a worker is. */
export interface WorkerLoad {
  /** How many runs the worker can execute at the same time. */
  slots: number;
  /** How many runs the worker executes now. */
  busy: number;
}

/** A run that a claim gave to a worker. */
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
  /** The fence of this claim. The server refuses reports with a lower one. */
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
  /** The retry policy of the start. If absent, the policy of the workflow version applies. */
  retry?: RetryPolicy;
  /** The run that started this run, and the address of the call that did so. */
  parent?: { id: RunId; address: Address };
  /** The first run of a chain of `retryOf`, or the run itself. `random()` and `uuid()` derive their values from it. */
  origin: RunId;
  /** How many facts the run has received from outside. The worker sends it as `seen` in its next report. */
  inbox: number;
  /** True if `journal` holds only the entries that the worker's execution cache lacks. */
  isCached: boolean;
  /** The entries, in the order of `seq`: all of them, or the new ones if `isCached` is true. */
  journal: Entry[];
  /** Present if the journal is not complete: read the entries after this `seq` before you execute the run. */
  journalCutAt?: number;
  /** True if the reply was full and has no input: read the input before you execute the run. */
  inputLeftOut?: boolean;
  /** The open waits. Empty if `isCached` is true, because the session opened them itself. */
  waits: ClaimedWait[];
  /** The code that recorded the run last. Absent before the first report. */
  build?: Build;
  /**
   * How many leases of the run ended without a report since its last report. If there is one, renew the lease before
   * you execute the run, so that a crash is counted. If there are more, execute such runs one after the other, because
   * each of them may crash the worker.
   */
  lostLeases: number;
  /** When the server answered, in epoch milliseconds by its clock. */
  now: number;
}

/** An open wait of a claimed run. */
export interface ClaimedWait {
  /** The durable call that waits. */
  address: Address;
  /** The call site of that call. Absent if it was not recorded. */
  callSite?: CallSite;
}

/** The runs that a claim took. */
export interface ClaimReply {
  /** The claimed runs. Empty if `waitMs` passed before a run was queued. */
  runs: ClaimedRun[];
  /** True if the reply is full: more runs may be queued for the caller. */
  more?: boolean;
  /** How long the claim was pending before it took the runs, in milliseconds. The leases began then. Absent: 0. */
  pendingMs?: number;
  /** Where the server publishes wake-ups for the caller, as in `RenewReply`. */
  streams?: WakeUpStreams;
}

// report

/**
 * A wait to open. It has a duration, because only the database's clock sets deadlines. To open a wait that is already
 * open changes nothing.
 */
export interface OpenWait {
  /** The durable call that waits. */
  address: Address;
  /** What is waited for. */
  type: "sleep" | "event" | "retry" | "child";
  /** The name of the event, or of the sleep. */
  name?: string;
  /** The milliseconds until the deadline. Null if there is no deadline, or if `until` is present. */
  durationMs: number | null;
  /** The deadline in epoch milliseconds by the database's clock. */
  until?: number;
  /** The call site of that call. */
  callSite?: CallSite;
}

/** A child to start. It inherits the parent's shard key and priority, unless `spec` has its own. */
export interface ChildStart {
  /** The durable call that starts the child. */
  address: Address;
  /** The call site of that call. */
  callSite?: CallSite;
  /** The run to start. */
  spec: RunSpec;
}

/** How a run continues after a report. */
export type Next =
  /** The worker continues the run. */
  | { type: "continue" }
  /**
   * All durable calls of the run wait for something from outside. If something arrived meanwhile, the answer has
   * `released: false` and the new entries. `children` is the number of children that the run waits for. `mayBeBusyMs`
   * is the time for which the handler may still do non-durable work, in milliseconds; absent if it does none.
   */
  | { type: "suspend"; children: number; mayBeBusyMs?: number }
  /** The worker returns the run to the server, so that another worker can continue it. */
  | { type: "release"; reason: "shutdown" | "paused" | "unserved" }
  /** The run cannot continue before a user fixes the cause. */
  | { type: "stall"; stall: ReportedStall }
  /** The attempt has ended. `retryInMs` is the time until the next attempt, in milliseconds; null if there is none. */
  | {
      type: "finish";
      outcome:
        | { status: "completed"; output?: Payload }
        | { status: "failed"; error: Failure; retryInMs: number | null };
    };

/** What a worker did for one run, and how the run continues. */
export interface Report {
  /** The id of the report, unique per run and fence. If the worker repeats the report, it gets the first answer. */
  reportId: string;
  /** The run that the report is about. */
  runId: RunId;
  /** The `fence` of the claim under which the run is executed. */
  fence: number;
  /** The last `inbox` count that the worker received. */
  seen: number;
  /** The worker has all entries up to this `seq`. */
  after: number;
  /** A fingerprint of the code that executes the run. At most 64 characters. */
  build?: string;
  /** The recorded call that the replay waits for the handler to make again. Absent if it waits for none. */
  expecting?: Address;
  /** What to record, in order. */
  entries: NewEntry[];
  /** The waits to open. */
  opens: OpenWait[];
  /** The children to start. */
  starts: ChildStart[];
  /** How the run continues. */
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

/** The answer to one report. A report is recorded as a whole or refused as a whole. */
export type ReportResult =
  | {
      ok: true;
      /** The `seq` of the report's first entry. The others follow without gaps: first `entries`, then `starts`. */
      first: number;
      /** The `seq` of the run's last entry. */
      tail: number;
      /** How many facts the run has received from outside. */
      inbox: number;
      /** The entries after `after` that are not from this report, in the order of `seq`. */
      entries: Entry[];
      /**
       * Present if the reply is full, or if the next entry is the large output of a child that had already ended: read
       * the entries after this `seq` before you use the answer.
       */
      entriesCutAt?: number;
      /** True if the worker no longer holds the run: it is suspended, queued, stalled, paused or ended. */
      released: boolean;
      /** True if a pause was requested: begin nothing, record what is in flight, and release the run. */
      pause: boolean;
    }
  | Rejection;

/** The answers to the reports of a `ReportRequest`. */
export interface ReportReply {
  /** One result for each report, in the order of the request. */
  results: ReportResult[];
}

// renew

/** A try of a task that a worker executes now. */
export interface TaskTry {
  /** The name of the task or step. */
  task: string;
  /** The durable call. */
  address: Address;
  /** The number of the try, from 1. */
  attempt: number;
  /** How many tries the retry policy of the task allows. */
  maxAttempts: number;
  /** How long the try has lasted when the heartbeat is sent, in milliseconds. */
  runningMs: number;
}

/** One heartbeat for all runs that a worker holds. */
export interface RenewRequest extends WorkerDescription {
  /**
   * The runs that the worker holds, and the `fence` of each claim. `tries` are the tries of tasks that the worker
   * executes for the run, the oldest first, at most 10; absent if there are none.
   */
  runs: Array<{ runId: RunId; fence: number; tries?: TaskTry[] }>;
  /** The session ends: its worker is no longer listed as live, and all runs that it holds are released at once. */
  leaving?: boolean;
}

/** Where a server publishes wake-ups for the workers of a namespace. */
export interface WakeUpStreams {
  /** The prefix of the keys of all its streams. */
  prefix: string;
  /** The namespace of the caller. */
  namespace: string;
}

/** `ok` is true if the lease was extended by `leaseMs`. `pause` and `inbox` are as in `ReportResult`. */
export type RenewResult = { ok: true; pause: boolean; inbox: number } | Rejection;

/** The answer to a heartbeat. */
export interface RenewReply {
  /** One result for each run, in the order of the request. */
  results: RenewResult[];
  /** Where the server publishes wake-ups for the caller. Absent while it does not publish any through Redis. */
  streams?: WakeUpStreams;
}

// signal

/** A request to change a run. */
export type Signal =
  /** An event. Signals with the same `referenceId` (or, without one, the same `signalId`) are the same event. */
  | { type: "event"; name: string; data?: Payload; referenceId?: string }
  | { type: "cancel"; reason?: string }
  /** Keeps the run where it is, after its worker has recorded what is in flight. */
  | { type: "pause"; reason?: string }
  | { type: "resume" }
  /** Ends open sleeps. A `scheduled` or `awaiting_retry` run is queued immediately. */
  | { type: "wake" }
  /**
   * Queues a `stalled` or `awaiting_retry` run. For a `failed` or `cancelled` run, it starts a new run with the id
   * `newRunId`, which reuses the results of what succeeded.
   */
  | { type: "retry"; newRunId: RunId };

/** One signal to one run. */
export interface SignalItem {
  /** The id of the signal, made by the caller. If the caller repeats the signal, it gets the first answer. */
  signalId: string;
  /** The run that the signal is for. */
  runId: RunId;
  /**
   * Who sends the signal, as the journal of the run records it. At most 255 characters. A server that requires API keys
   * replaces it by the name of the key.
   */
  by?: string;
  /** The requested change. */
  signal: Signal;
}

/** Signals to many runs, at most `limits.batchItems`. */
export interface SignalRequest {
  /** One item for each signal. */
  signals: SignalItem[];
}

/** The run and its status. For a `retry` of an ended run, `runId` is the id of the new run. */
export type SignalResult = { ok: true; runId: RunId; status: RunStatus } | Rejection;

/** The answers to the signals of a `SignalRequest`. */
export interface SignalReply {
  /** One result for each signal, in the order of the request. */
  results: SignalResult[];
}
