/**
 * Storage as one server process sees it: slow, interleaved with other events, failing before or after a commit, and
 * interrupted within a transaction if the process dies.
 */

import { AikiError } from "@aikirun/lib";
import type { Reader, Storage, Transaction } from "../../packages/server/src/storage/storage.ts";
import type { DiskKnobs } from "./knobs.ts";
import type { Mirror, Written } from "./mirror.ts";
import type { Prng } from "./prng.ts";
import type { Process } from "./process.ts";

export interface DiskOptions {
  inner: Storage;
  process: Process;
  mirror: Mirror;
  knobs: DiskKnobs;
  prng: Prng;
  /** Whether faults may happen now. */
  hasFaults: () => boolean;
}

export function diskOf(options: DiskOptions): Storage {
  const { inner, process, mirror, knobs, prng, hasFaults } = options;
  const { world } = process;
  const fails = (probability: number) => probability > 0 && hasFaults() && prng.chance(probability);

  const interleave = async () => {
    if (knobs.interleave > 0 && prng.chance(knobs.interleave)) {
      await world.turn(null, `${process.name} disk`, knobs.delayMs === 0 ? 0 : prng.below(knobs.delayMs));
    }
    if (!process.isAlive) throw new Error("The process died during a transaction.");
  };

  const transact = async <T>(work: (transaction: Transaction) => Promise<T>): Promise<T> => {
    await interleave();
    const result = await inner.transaction(async (transaction) => {
      const written: Written = { runs: [], entries: [] };
      const value = await work(watched(transaction, written, interleave));
      await interleave();
      if (fails(knobs.failBefore)) throw failure(prng, "before");
      mirror.commit(written, transaction.now(), process.name);
      return value;
    });
    await interleave();
    if (fails(knobs.failAfter)) {
      world.trace(`${process.name} gets no reply to its commit`);
      throw failure(prng, "after");
    }
    return result;
  };

  const read = async <T>(work: (reader: Reader) => Promise<T>): Promise<T> => {
    await interleave();
    if (fails(knobs.failRead)) throw failure(prng, "instead of");
    return inner.read(work);
  };

  return {
    transaction: (work) => process.reach(transact(work)),
    read: (work) => process.reach(read(work)),
    close: () => Promise.resolve(),
  };
}

function failure(prng: Prng, when: string): Error {
  const message = `The disk failed ${when} the commit.`;
  return prng.chance(0.5) ? new AikiError("STORAGE_FAILED", message) : new Error(message);
}

/** Wraps a transaction: records what it writes, and lets other events happen between its statements. */
function watched(inner: Transaction, written: Written, interleave: () => Promise<void>): Transaction {
  const then = async <T>(result: Promise<T>): Promise<T> => {
    const value = await result;
    await interleave();
    return value;
  };
  return {
    now: () => inner.now(),
    fenceFloor: () => inner.fenceFloor(),
    load: (ids) => then(inner.load(ids)),
    payloads: (ids) => then(inner.payloads(ids)),
    journal: (requests) => then(inner.journal(requests)),
    entriesAt: (keys) => then(inner.entriesAt(keys)),
    queued: (keys, limit) => then(inner.queued(keys, limit)),
    due: (now, limit) => then(inner.due(now, limit)),
    hold: (ids) => then(inner.hold(ids)),
    nextDue: () => then(inner.nextDue()),
    children: (parents, limit) => then(inner.children(parents, limit)),
    stalledChildren: (parents) => then(inner.stalledChildren(parents)),
    inSession: (namespace, session, limit) => then(inner.inSession(namespace, session, limit)),
    claimed: (session, claimId) => then(inner.claimed(session, claimId)),
    referenced: (keys) => then(inner.referenced(keys)),
    find: (namespace, request, listLimits) => then(inner.find(namespace, request, listLimits)),
    workers: (namespace, at) => then(inner.workers(namespace, at)),
    stats: (at, limits) => then(inner.stats(at, limits)),
    all: (after, limit) => then(inner.all(after, limit)),
    saveWorkers: (workers) => then(inner.saveWorkers(workers)),
    forgetWorkers: (before) => then(inner.forgetWorkers(before)),
    async insert(runs) {
      const inserted = await inner.insert(runs);
      const fresh = new Set(inserted);
      for (const run of runs) {
        if (fresh.delete(run.id)) written.runs.push({ before: null, after: run });
      }
      await interleave();
      return inserted;
    },
    async save(batch) {
      const obstacles = await inner.save(batch);
      if (obstacles.length === 0) {
        written.runs.push(...batch.changes);
        written.entries.push(...batch.entries);
      }
      await interleave();
      return obstacles;
    },
    async reuse(from, to) {
      const tail = await inner.reuse(from, to);
      const [copies = []] = await inner.journal([{ runId: to, after: 0, limit: 1_000_000, bytes: 1e12 }]);
      written.entries.push(...copies);
      await interleave();
      return tail;
    },
  };
}
