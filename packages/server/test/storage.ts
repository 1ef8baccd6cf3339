/** A storage that counts its calls, and fails where a test wants it to. */

import { AikiError } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import { RowsLeft } from "../src/storage/heavy.ts";
import type { Batch, Obstacle, Reader, Storage, Transaction } from "../src/storage/storage.ts";

export interface Counts {
  /** Transactions that began, committed or not, except those that only save workers. */
  transactions: number;
  /** Transactions that only saved workers. */
  workerSaves: number;
  /** Rows loaded by id, found or not, in transactions. */
  loads: number;
  /** Calls of `entriesAt`. */
  lookups: number;
  /** Calls of `referenced`. */
  references: number;
  /** Calls of `queued`. */
  scans: number;
  inserts: number;
  updates: number;
  entries: number;
  /** Reads outside of transactions. */
  reads: number;
  /** The most characters of rows, entries and payloads that one transaction or read loaded by id or address. */
  characters: number;
}

export interface WatchedStorage extends Storage {
  readonly counts: Counts;
  /** Returns the counts since the last call, and sets them to 0. */
  takeCounts(): Counts;
  /** The faults of the next transactions, in order; each is used once. */
  readonly faults: StorageFault[];
  /** Called for every save; returns the obstacles. */
  obstruct: (batch: Batch) => Obstacle[];
  /** The saved batches. */
  readonly batches: Batch[];
  /** Whether other transactions lock all queued runs. */
  isLockedElsewhere: boolean;
  /** A run whose row cannot be read. */
  unreadable: RunId | null;
}

/** How a transaction fails. `before`: it does not begin. `during`: it is rolled back. `after`: it was committed. */
export type StorageFault = "none" | "before" | "during" | "after";

const nothing: Counts = {
  transactions: 0,
  workerSaves: 0,
  loads: 0,
  lookups: 0,
  references: 0,
  scans: 0,
  inserts: 0,
  updates: 0,
  entries: 0,
  reads: 0,
  characters: 0,
};

export function watchedStorage(inner: Storage): WatchedStorage {
  let counts = { ...nothing };
  const batches: Batch[] = [];
  const faults: StorageFault[] = [];
  const watched: WatchedStorage = {
    get counts() {
      return counts;
    },
    takeCounts() {
      const before = counts;
      counts = { ...nothing };
      return before;
    },
    faults,
    batches,
    obstruct: () => [],
    isLockedElsewhere: false,
    unreadable: null,
    async transaction(work) {
      const fault = faults.shift() ?? "none";
      counts.transactions += 1;
      if (fault === "before") {
        throw new Error("The connection is lost.");
      }
      const result = await inner.transaction(async (transaction) => {
        const done = await work(counted(transaction, watched));
        if (fault === "during") {
          throw new Error("The disk is full.");
        }
        return done;
      });
      if (fault === "after") {
        throw new Error("The connection was lost while committing.");
      }
      return result;
    },
    read(work) {
      counts.reads += 1;
      return inner.read((reader) => work(measuredReader(reader, watched)));
    },
    close: () => inner.close(),
  };
  return watched;
}

/** Measures what one transaction or read loads. */
function measuring(watched: WatchedStorage): <Loaded>(loading: Promise<Loaded>) => Promise<Loaded> {
  let characters = 0;
  const note = (loaded: unknown) => {
    characters += JSON.stringify(loaded instanceof Map ? [...loaded] : loaded).length;
    watched.counts.characters = Math.max(watched.counts.characters, characters);
  };
  return async (loading) => {
    try {
      const loaded = await loading;
      note(loaded);
      return loaded;
    } catch (thrown) {
      if (thrown instanceof RowsLeft) note(thrown.runs);
      throw thrown;
    }
  };
}

function measuredReader(reader: Reader, watched: WatchedStorage): Reader {
  const measured = measuring(watched);
  return {
    ...readerOf(reader),
    load: (ids) => measured(reader.load(ids)),
    stalledChildren: (parents) => measured(reader.stalledChildren(parents)),
  };
}

/** The transaction, whose calls are counted. */
function counted(transaction: Transaction, watched: WatchedStorage): Transaction {
  const measured = measuring(watched);
  return {
    ...readerOf(transaction),
    payloads: (ids) => measured(transaction.payloads(ids)),
    journal: (requests) => measured(transaction.journal(requests)),
    async load(ids) {
      watched.counts.loads += ids.length;
      if (ids.some((id) => id === watched.unreadable)) throw new AikiError("ROW_UNREADABLE", "A row cannot be read.");
      return measured(transaction.load(ids));
    },
    entriesAt(keys) {
      watched.counts.lookups += 1;
      return measured(transaction.entriesAt(keys));
    },
    referenced(keys) {
      watched.counts.references += 1;
      return measured(transaction.referenced(keys));
    },
    async insert(runs) {
      const inserted = await transaction.insert(runs);
      watched.counts.inserts += inserted.length;
      return inserted;
    },
    async save(batch) {
      const obstacles = [...watched.obstruct(batch), ...(await transaction.save(batch))];
      if (obstacles.length === 0) {
        watched.counts.updates += batch.changes.length;
        watched.counts.entries += batch.entries.length;
        watched.batches.push(batch);
      }
      return obstacles;
    },
    async queued(keys, limit) {
      watched.counts.scans += 1;
      return watched.isLockedElsewhere ? { ids: [], more: true } : transaction.queued(keys, limit);
    },
    due: (now, limit) => transaction.due(now, limit),
    hold: (ids) => measured(transaction.hold(ids)),
    reuse: (from, to) => transaction.reuse(from, to),
    async saveWorkers(workers) {
      watched.counts.transactions -= 1;
      watched.counts.workerSaves += 1;
      await transaction.saveWorkers(workers);
    },
    forgetWorkers: (before) => transaction.forgetWorkers(before),
  };
}

function readerOf(reader: Reader): Reader {
  return {
    now: () => reader.now(),
    fenceFloor: () => reader.fenceFloor(),
    load: (ids) => reader.load(ids),
    journal: (requests) => reader.journal(requests),
    entriesAt: (keys) => reader.entriesAt(keys),
    nextDue: () => reader.nextDue(),
    children: (parents, limit) => reader.children(parents, limit),
    stalledChildren: (parents) => reader.stalledChildren(parents),
    claimed: (session, claimIds) => reader.claimed(session, claimIds),
    inSession: (namespace, session, limit) => reader.inSession(namespace, session, limit),
    referenced: (keys) => reader.referenced(keys),
    find: (namespace, request, listLimits) => reader.find(namespace, request, listLimits),
    workers: (namespace, at) => reader.workers(namespace, at),
    stats: (at, limits) => reader.stats(at, limits),
    payloads: (ids) => reader.payloads(ids),
    all: (after, limit) => reader.all(after, limit),
  };
}
