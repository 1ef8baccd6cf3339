/**
 * Optimistic commit: a batch is decided from cached rows alone and written by one guarded statement, which replaces the
 * three round trips of a transaction (begin, write, commit). If a guard fails, nothing is written, and the batch is
 * decided again in a transaction that loads rows.
 */

import type { Run, RunId } from "../core/run.ts";
import type { Batch, KnownTime, OptimisticBatch, Transaction } from "../storage/storage.ts";

/** Thrown when the batch cannot be decided from cached rows alone. */
export class NeedsLoad extends Error {}

export interface OptimisticTransaction extends Transaction {
  readonly batch: OptimisticBatch;
}

/** A transaction that reads nothing, assumes that nothing conflicts, and collects what is to be written. */
export function optimisticTransaction({ now, fenceFloor }: KnownTime): OptimisticTransaction {
  const inserts: Run[] = [];
  let saved: Batch | null = null;
  return {
    get batch() {
      return { now, fenceFloor, inserts, ...(saved ?? { changes: [], holds: [], entries: [] }) };
    },
    now: () => now,
    fenceFloor: () => fenceFloor,
    async insert(runs) {
      inserts.push(...runs);
      if (hasConflicts(inserts)) throw new NeedsLoad("Two starts of the batch have the same id or reference.");
      return runs.map(({ id }): RunId => id);
    },
    async save(batch) {
      if (saved !== null) needsLoad();
      saved = batch;
      return [];
    },
    load: needsLoad,
    payloads: needsLoad,
    journal: needsLoad,
    entriesAt: needsLoad,
    queued: needsLoad,
    due: needsLoad,
    hold: needsLoad,
    nextDue: needsLoad,
    children: needsLoad,
    stalledChildren: needsLoad,
    claimed: needsLoad,
    inSession: needsLoad,
    referenced: needsLoad,
    find: needsLoad,
    reuse: needsLoad,
    workers: needsLoad,
    stats: needsLoad,
    all: needsLoad,
    saveWorkers: needsLoad,
    forgetWorkers: needsLoad,
  };
}

function needsLoad(): never {
  throw new NeedsLoad("The batch needs something that is not cached.");
}

/** Whether two runs have the same id or reference: then storage decides which of them is inserted. */
function hasConflicts(runs: readonly Run[]): boolean {
  const keys = runs.flatMap(({ id, namespace, name, referenceId }) =>
    referenceId === null ? [id] : [id, JSON.stringify([namespace, name, referenceId])],
  );
  return new Set(keys).size < keys.length;
}
