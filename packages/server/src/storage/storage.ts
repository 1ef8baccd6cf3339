import { isAikiError } from "@aikirun/lib";
import type { Entry, FindRequest, QueueKey, RunId } from "@aikirun/lib/protocol";
import type { EntryKey } from "../core/entry-keys.ts";
import type { Outline, Run, WholeRun } from "../core/run.ts";
import type { Payloads } from "../core/unread.ts";
import type { ListLimits, ListPage } from "./find.ts";
import type { Queued } from "./queue.ts";
import type { RegisteredWorker } from "./registered-worker.ts";

/**
 * The port to where runs rest. Memory is the specification; one suite proves every implementation against it.
 *
 * Every method takes a batch and costs a constant number of statements. Nothing is judged here: storage compares
 * revisions, keeps addresses unique, and says what it found.
 */
export interface Storage {
  /**
   * Runs `work` in one transaction and commits; a throw rolls back and is rethrown. Transactions of one server on
   * SQLite and in memory are serialised in order of arrival; on PostgreSQL they run at once, beside those of others.
   * Throws `STORAGE_CONFLICT` when another was in the way: nothing was written, and `work` may run again in a new one.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
  /**
   * Reads one consistent state, which holds all that was committed before the call. Not to be called inside a
   * transaction.
   */
  read<T>(work: (reader: Reader) => Promise<T>): Promise<T>;
  /** How many transactions are worth having under way at once, default 1; others wait and go together. */
  readonly lanes?: number;
  /** Only where a transaction takes several round trips to the database. */
  readonly optimistic?: OptimisticWriting;
  /** Ends all that is open. May be called twice. */
  close(): Promise<void>;
}

/** The database's clock, as it is known without asking: epoch milliseconds between which it is. */
export interface KnownTime {
  now: number;
  latest: number;
  /** The fence floor that the storage found last. */
  fenceFloor: number;
}

/** Optimistic commits: writes what was decided from cached rows. */
export interface OptimisticWriting {
  /** Null while it is not known well enough. */
  now(): KnownTime | null;
  /**
   * Writes and commits all of it in one round trip, and returns true. Or writes nothing and returns false: there was a
   * conflict, the fence floor is another one, or the time was ahead of the database's clock, or far behind it. Throws
   * as `transaction` does.
   */
  write(batch: OptimisticBatch): Promise<boolean>;
}

export interface Reader {
  /** Epoch milliseconds, by the database's clock. */
  now(): number;
  /**
   * Fences up to this one are void, since commits that gave them out may have been lost. It rises when the database was
   * replaced by an older state of itself: what was read before that may never have been. 0 where that cannot happen.
   */
  fenceFloor(): number;
  /**
   * Those that exist, in any order; `tail`, and `updatedAt` when it is later, derived from their last entry. Of these
   * and of all other rows but those of `all`, larger payloads than `loadedBytes` are left in storage. Throws `RowsLeft`
   * where several rows have large states, as all that load rows do but `find`, which ends its page there.
   */
  load(ids: RunId[]): Promise<Run[]>;
  /** Whole inputs and outputs, however large, of those that exist. */
  payloads(ids: RunId[]): Promise<Map<RunId, Payloads>>;
  /**
   * Per request: entries with `seq > after`, ascending, at most `limit`, cut where their size passes `bytes` (never
   * to none).
   */
  journal(requests: JournalRequest[]): Promise<Entry[][]>;
  /** The entry at each `(runId, attempt, address)` that is recorded. Values over `outlinedBytes` stay in storage. */
  entriesAt(keys: EntryKey[]): Promise<Outline[]>;
  /** The earliest `dueAt` of all, or null. */
  nextDue(): Promise<number | null>;
  /** Ids of live children (not final, not `onParentEnd: "abandon"`) of these parents, at most `limit`. */
  children(parents: RunId[], limit: number): Promise<RunId[]>;
  /** Of each of these parents its stalled child with the lowest id, where it has one, in any order. */
  stalledChildren(parents: RunId[]): Promise<Run[]>;
  /** Ids of running runs that these claims took, in id order. */
  claimed(session: string, claimIds: readonly string[]): Promise<RunId[]>;
  /** Ids of runs of the namespace whose holder (see `holderOf`) is the session, in any order, at most `limit`. */
  inSession(namespace: string, session: string, limit: number): Promise<RunId[]>;
  /** Runs by reference: one per `(namespace, name, referenceId)` that exists. */
  referenced(keys: ReferenceKey[]): Promise<Run[]>;
  /**
   * A page of the runs of the namespace that fit, without their payloads, by when they were created and then by id:
   * newest first unless `order` says otherwise. A page that examined `scan` rows ends there, however few fit, and says
   * where the next one begins.
   */
  find(namespace: string, request: FindRequest, listLimits: ListLimits): Promise<ListPage>;
  /** Workers of the namespace that count as live at this moment (`liveUntil` is later), in any order. */
  workers(namespace: string, at: number): Promise<RegisteredWorker[]>;
  /** One page of the runs of all namespaces, whole, in id order; `after` is the last id of the page before. */
  all(after: RunId | null, limit: number): Promise<WholeRun[]>;
}

export interface Transaction extends Reader {
  /**
   * Queued runs that fit, at most `limit`, in the order of `interleaved`. Where several transactions are under way,
   * each finds others, and those that it found are held for it.
   */
  queued(queues: readonly QueueKey[], limit: number): Promise<Queued>;
  /** Ids whose `dueAt` is at or before `now`, earliest first, at most `limit`; held for this transaction alike. */
  due(now: number, limit: number): Promise<RunId[]>;
  /** Loads those that exist and that no other transaction holds, and holds them for this one. Waits for nobody. */
  hold(ids: RunId[]): Promise<Run[]>;
  /**
   * Inserts the runs whose id and `(namespace, name, referenceId)` are both free; returns the ids inserted. Of two in
   * one batch the first wins.
   */
  insert(runs: Run[]): Promise<RunId[]>;
  /**
   * Writes a batch of decisions. Returns what stood in the way; unless that is empty, the caller throws to roll back.
   *
   * - `changes`: replaces each row whose stored revision is `before.revision`, in id order. What a start fixed (id,
   *   namespace, name, version, shard, priority, input, options, reference, parent, createdAt) is the same in `after`.
   * - `holds`: rows that must stand at `revision` and be held until the commit though nothing of them changes.
   * - `entries`: inserted; `(runId, attempt, address)` and `(runId, seq)` are unique.
   */
  save(batch: Batch): Promise<Obstacle[]>;
  /**
   * Copies successes (returned, observed, elapsed, started with a returned result, arrived, received) as attempt 0,
   * with dense `seq` from 1. Returns the last `seq`.
   */
  recall(from: RunId, to: RunId): Promise<number>;
  /**
   * Saves workers, at most one row for each `(namespace, session)`. A row that is older than the stored one (`seenAt`)
   * changes nothing, and a worker that left stays gone; `since` is the earliest that was ever saved.
   */
  saveWorkers(workers: RegisteredWorker[]): Promise<void>;
  /** Deletes the workers that were seen last, and counted as live last, before this moment. */
  forgetWorkers(before: number): Promise<void>;
}

/** Inserts first; all of it is written under the time and the fence floor it was decided at. */
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

/** `revision`: the row moved on (or is gone). `address`, `seq`: an entry stands there already. */
export interface Obstacle {
  runId: RunId;
  kind: "revision" | "address" | "seq";
}
