/**
 * Decides a batch from cached rows alone, to be written at one stroke: where every statement is a journey, the three of
 * a transaction (begin, write, commit) become one. Whatever stands in the way refuses the whole, which is then decided
 * again in a transaction that reads.
 */

import type { Run, RunId } from "../core/run.ts";
import type { Batch, KnownTime, OptimisticBatch, Transaction } from "../storage/storage.ts";

/** Thrown where something must be read: this batch is none to decide blindly. */
export class Unseen extends Error {}

export interface OptimisticTransaction extends Transaction {
  /** All that was to be written. */
  readonly batch: OptimisticBatch;
}

/** A transaction that reads nothing, assumes that nothing is in the way, and keeps what it is to write. */
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
      if (hasRivals(inserts)) throw new Unseen("Two of these starts may be one.");
      return runs.map(({ id }): RunId => id);
    },
    async save(batch) {
      if (saved !== null) unseen();
      saved = batch;
      return [];
    },
    load: unseen,
    payloads: unseen,
    journal: unseen,
    entriesAt: unseen,
    queued: unseen,
    due: unseen,
    hold: unseen,
    nextDue: unseen,
    children: unseen,
    stalledChildren: unseen,
    claimed: unseen,
    inSession: unseen,
    referenced: unseen,
    find: unseen,
    recall: unseen,
    workers: unseen,
    all: unseen,
    saveWorkers: unseen,
    forgetWorkers: unseen,
  };
}

function unseen(): never {
  throw new Unseen("Something must be read.");
}

/** Of two with one id or one reference the first wins: storage is to tell. */
function hasRivals(runs: readonly Run[]): boolean {
  const keys = runs.flatMap(({ id, namespace, name, referenceId }) =>
    referenceId === null ? [id] : [id, JSON.stringify([namespace, name, referenceId])],
  );
  return new Set(keys).size < keys.length;
}
