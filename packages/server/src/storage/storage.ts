import { isAikiError } from "@aikirun/lib";
import type { Entry, FindRequest, QueueKey, RunId } from "@aikirun/lib/protocol";
import type { EntryKey } from "../core/entry-keys.ts";
import type { Outline, Run, WholeRun } from "../core/run.ts";
import type { Payloads } from "../core/unread.ts";
import type { ListLimits, ListPage } from "./find.ts";
import type { Queued } from "./queue.ts";
import type { RegisteredWorker } from "./registered-worker.ts";
import type { Stats, StatsLimits } from "./stats.ts";

/** Called with the text of every statement that is executed. */
export type ObserveStatement = (sql: string) => void;

/**
 * The port for stored runs. The memory storage is the specification; one suite tests every implementation against it.
 *
 * Every method takes a batch and costs a constant number of statements. Storage makes no decisions: it compares
 * revisions, keeps addresses unique, and returns what it found.
 */
export interface Storage {
  /**
   * Runs `work` in one transaction and commits. If `work` throws, rolls back and rethrows. SQLite and memory run
   * transactions one after another, in order of arrival; PostgreSQL runs them concurrently, also those of other
   * servers. Throws `STORAGE_CONFLICT` when another transaction conflicts: nothing was written, and the caller may run
   * `work` again in a new transaction.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
  /**
   * Reads one consistent snapshot, which contains everything committed before the call. Must not be called inside a
   * transaction.
   */
  read<T>(work: (reader: Reader) => Promise<T>): Promise<T>;
  /** How many transactions to run concurrently, default 1; further work waits and shares a transaction. */
  readonly lanes?: number;
  /** Present only if a transaction takes several round trips to the database. */
  readonly optimistic?: OptimisticWriting;
  /** Closes all connections and files. May be called twice. */
  close(): Promise<void>;
}

/** An estimate of the database's clock, made without a query: between `now` and `latest`. Epoch milliseconds. */
export interface KnownTime {
  now: number;
  latest: number;
  /** The fence floor that the storage last read. */
  fenceFloor: number;
}

/** Writes decisions that were made without reading from the database. */
export interface OptimisticWriting {
  /** Null while the estimate is not accurate enough. */
  now(): KnownTime | null;
  /**
   * Writes and commits the whole batch in one round trip and returns true. Writes nothing and returns false if an
   * obstacle was found, if the fence floor has changed, or if `now` is ahead of the database's clock or far behind it.
   * Throws what `transaction` throws.
   */
  write(batch: OptimisticBatch): Promise<boolean>;
}

export interface Reader {
  /** Epoch milliseconds, by the database's clock. */
  now(): number;
  /**
   * Fences up to this one are void, because the commits that issued them may be lost. It rises when the database was
   * replaced by an older state of itself; data read before that may be lost too. 0 if that cannot happen.
   */
  fenceFloor(): number;
  /**
   * The runs that exist, in any order. `tail` comes from the last entry of a run, and so does `updatedAt` if that is
   * later. Every method except `all` leaves payloads larger than `loadedBytes` in storage. Every method that loads rows
   * throws `RowsLeft` if several rows have large states, except `find`, which ends its page there.
   */
  load(ids: RunId[]): Promise<Run[]>;
  /** The whole inputs and outputs, however large, of the runs that exist. */
  payloads(ids: RunId[]): Promise<Map<RunId, Payloads>>;
  /**
   * For each request, the entries with `seq > after`, ascending, at most `limit`. The list is cut when its size exceeds
   * `bytes`, but never before the first entry.
   */
  journal(requests: JournalRequest[]): Promise<Entry[][]>;
  /** The entry at each `(runId, attempt, address)` that is recorded. Values over `outlinedBytes` stay in storage. */
  entriesAt(keys: EntryKey[]): Promise<Outline[]>;
  /** The earliest `dueAt` of all, or null. */
  nextDue(): Promise<number | null>;
  /** Ids of live children (not final, not `onParentEnd: "abandon"`) of these parents, at most `limit`. */
  children(parents: RunId[], limit: number): Promise<RunId[]>;
  /** For each of these parents that has stalled children, the one with the lowest id, in any order. */
  stalledChildren(parents: RunId[]): Promise<Run[]>;
  /** Ids of running runs that were claimed by these claims, in id order. */
  claimed(session: string, claimIds: readonly string[]): Promise<RunId[]>;
  /** Ids of runs of the namespace whose holder (see `holderOf`) is the session, in any order, at most `limit`. */
  inSession(namespace: string, session: string, limit: number): Promise<RunId[]>;
  /** Runs by reference: one per `(namespace, name, referenceId)` that exists. */
  referenced(keys: ReferenceKey[]): Promise<Run[]>;
  /**
   * A page of the runs of the namespace that match, without their payloads, ordered by creation time and then by id,
   * newest first unless `order` says otherwise. A page ends after `scan` examined rows, however few of them match, and
   * says where the next page begins.
   */
  find(namespace: string, request: FindRequest, listLimits: ListLimits): Promise<ListPage>;
  /** Workers of the namespace with `liveUntil` later than `at`, in any order. */
  workers(namespace: string, at: number): Promise<RegisteredWorker[]>;
  /** Numbers about all namespaces, in any order, with workers whose `liveUntil` is later than `at`. Two statements. */
  stats(at: number, limits: StatsLimits): Promise<Stats>;
  /** A page of the runs of all namespaces, whole, in id order; `after` is the last id of the previous page. */
  all(after: RunId | null, limit: number): Promise<WholeRun[]>;
}

export interface Transaction extends Reader {
  /**
   * Runs in these queues, at most `limit`, in the order of `interleaved`, held for this transaction. Concurrent
   * transactions receive different runs.
   */
  queued(queues: readonly QueueKey[], limit: number): Promise<Queued>;
  /** Ids whose `dueAt` is at or before `now`, earliest first, at most `limit`; also held for this transaction. */
  due(now: number, limit: number): Promise<RunId[]>;
  /** Loads and holds the runs that exist and that no other transaction holds. Does not wait for other transactions. */
  hold(ids: RunId[]): Promise<Run[]>;
  /**
   * Inserts the runs whose id and `(namespace, name, referenceId)` are both free; returns the ids inserted. If two runs
   * of one batch conflict, the first one is inserted.
   */
  insert(runs: Run[]): Promise<RunId[]>;
  /**
   * Writes a batch of decisions and returns the obstacles. If there are any, the caller throws to roll back.
   *
   * - `changes`: replaces each row whose stored revision is `before.revision`, in id order. Values fixed at the start
   *   (id, namespace, name, version, shard, priority, input, options, reference, parent, createdAt) never change.
   * - `holds`: rows that must be at `revision` and are locked until the commit, although they do not change.
   * - `entries`: inserted; `(runId, attempt, address)` and `(runId, seq)` are unique.
   */
  save(batch: Batch): Promise<Obstacle[]>;
  /**
   * Copies successes (returned, observed, elapsed, started with a returned result, arrived, received) as attempt 0,
   * with dense `seq` from 1. Returns the last `seq`.
   */
  reuse(from: RunId, to: RunId): Promise<number>;
  /**
   * Saves workers, at most one row for each `(namespace, session)`. A row that is older than the stored one (`seenAt`)
   * changes nothing, and a worker that left stays gone; `since` is the earliest that was ever saved.
   */
  saveWorkers(workers: RegisteredWorker[]): Promise<void>;
  /** Deletes the workers whose `seenAt` and `liveUntil` are both before this time. */
  forgetWorkers(before: number): Promise<void>;
}

/** Decisions made at `now` and `fenceFloor`. `inserts` are written first. */
export interface OptimisticBatch extends Batch {
  now: number;
  fenceFloor: number;
  inserts: Run[];
}

export interface Batch {
  changes: Change[];
  holds: Array<{ id: RunId; revision: number }>;
  entries: Entry[];
}

export interface Change {
  before: Run;
  after: Run;
}

export interface JournalRequest {
  runId: RunId;
  after: number;
  limit: number;
  bytes: number;
}

export interface ReferenceKey {
  namespace: string;
  name: string;
  referenceId: string;
}

/** Whether `transaction` may be called again with the same work. */
export function isConflict(error: unknown): boolean {
  return isAikiError(error) && error.code === "STORAGE_CONFLICT";
}

/** `revision`: the row has changed or does not exist. `address`, `seq`: an entry already has it. */
export interface Obstacle {
  runId: RunId;
  kind: "revision" | "address" | "seq";
}
