/**
 * The queues of a server in memory: which runs are in them, and which claims wait for a run.
 *
 * A queue is complete while its entries are all that storage has queued in it. Only then are runs taken from the cache.
 * An incomplete queue (after a restart, an overflow, or a commit of another server) is scanned in storage, since only
 * storage knows which run is next. An entry says only that a run may be queued. Losing, doubling or reordering entries
 * costs latency and nothing else (R7), so their number is bounded and they are never persisted.
 */

import type { Env } from "@aikirun/lib";
import { waitUntil } from "@aikirun/lib/internal";
import { type QueueKey, queueText, type RunId } from "@aikirun/lib/protocol";
import { Entries } from "./entries.ts";

/** A run that may be queued. */
export interface QueueEntry extends QueueKey {
  id: RunId;
  priority: number;
}

/** What a claim of some queues does next. */
export interface Plan {
  /** Runs to try. They are removed from the cache. */
  ids: RunId[];
  /** Whether storage is to be scanned for further runs. */
  mustScan: boolean;
  /** The queues, by turn. */
  queues: readonly QueueKey[];
  /**
   * How long the claim may wait for a run before storage is to be scanned; 0 while runs are cached or a scan is due.
   * Milliseconds.
   */
  waitMs: number;
  /** When the plan was made: a scan does not complete a queue that was invalidated later. */
  version: number;
}

/** What a scan left in storage: nothing, more than it requested, or only runs that other transactions have locked. */
export type ScanRemainder = "nothing" | "more" | "held";

interface Queue {
  readonly key: QueueKey;
  readonly entries: Entries;
  isComplete: boolean;
  /** The number of its last invalidation. */
  invalidatedAt: number;
  /** When storage is to be scanned; monotonic milliseconds. */
  scanAt: number;
  /** The turn in which a run of it was last handed out. */
  turn: number;
  /** What wakes each pending claim, in order of arrival. */
  readonly waiting: Set<() => void>;
}

/** How many entries each queue keeps. Further runs are found by scanning storage. */
const maxEntries = 10_000;
/** How often storage is scanned for a queue that is complete. Milliseconds. */
const rescanMs = 5_000;
/** How soon storage is scanned again for runs that other transactions held. Milliseconds. */
const heldMs = 50;

export class QueueCache {
  readonly #env: Pick<Env, "elapsed" | "after">;
  readonly #queues = new Map<string, Queue>();
  readonly #queueOf = new Map<RunId, Queue>();
  #turns = 0;
  #invalidations = 0;

  constructor(env: Pick<Env, "elapsed" | "after">) {
    this.#env = env;
  }

  /** Adds a run. True when a pending claim was woken to take it. */
  enqueue({ id, priority, ...key }: QueueEntry): boolean {
    const queue = this.#queues.get(queueText(key));
    // The first claim of a queue scans storage, so nothing is cached before it.
    if (queue === undefined) return false;
    if (queue.entries.size >= maxEntries) {
      this.#invalidate(queue);
    } else if (!this.#queueOf.has(id)) {
      queue.entries.add(id, priority);
      this.#queueOf.set(id, queue);
    }
    return wakeOne(queue);
  }

  /** The run is no longer queued. */
  remove(id: RunId): void {
    this.#queueOf.get(id)?.entries.remove(id);
    this.#queueOf.delete(id);
  }

  /**
   * Storage may have more than is cached: the next claim scans it, and one pending claim of each queue does so now.
   * Without `keys` all queues are invalidated, and their entries dropped because their runs may never have existed.
   */
  invalidate(keys?: readonly QueueKey[]): void {
    if (keys === undefined) {
      for (const id of [...this.#queueOf.keys()]) this.remove(id);
    }
    for (const queue of keys?.map((key) => this.#queues.get(queueText(key))) ?? this.#queues.values()) {
      // A queue that no claim has requested is not cached.
      if (queue !== undefined) {
        this.#invalidate(queue);
        wakeOne(queue);
      }
    }
  }

  /** What a claim of these queues is to do. Takes up to `limit` runs from the cache: by priority, then by turns. */
  plan(keys: readonly QueueKey[], limit: number): Plan {
    const queues = keys.map((key) => this.#queue(key));
    const ids = limit > 0 && queues.every(({ isComplete }) => isComplete) ? this.#take(queues, limit) : [];
    const now = this.#env.elapsed();
    const restMs = queues.reduce((least, { scanAt }) => Math.min(least, scanAt - now), rescanMs);
    const mustScan = queues.length > 0 && restMs <= 0;
    const isReady = mustScan || queues.some(({ entries }) => entries.size > 0);
    const inTurn = mustScan ? queues.toSorted((left, right) => left.turn - right.turn) : queues;
    return {
      ids,
      mustScan,
      queues: inTurn.map(({ key }) => key),
      waitMs: isReady ? 0 : restMs,
      version: this.#invalidations,
    };
  }

  /** Storage was scanned as planned: these runs were taken from it, in order, and this is what it has left. */
  scanned({ queues, version }: Plan, taken: readonly QueueKey[], rest: ScanRemainder): void {
    for (const run of taken) this.#serve(this.#queue(run));
    for (const queue of queues.map((key) => this.#queue(key))) {
      if (rest === "more") {
        this.#invalidate(queue);
      } else if (queue.invalidatedAt <= version) {
        queue.isComplete = true;
        queue.scanAt = this.#env.elapsed() + (rest === "held" ? heldMs : rescanMs);
      }
    }
  }

  /** Resolves to true when the claim is woken, and to false when the time is up or the signal aborts. */
  async wait(keys: readonly QueueKey[], waitMs: number, signal: AbortSignal): Promise<boolean> {
    const queues = keys.map((key) => this.#queue(key));
    const onBegin = (wake: () => void) => {
      for (const { waiting } of queues) waiting.add(wake);
      return () => {
        for (const { waiting } of queues) waiting.delete(wake);
      };
    };
    return (await waitUntil(this.#env, { timeoutMs: waitMs, signals: [signal], onBegin })) === "woken";
  }

  /**
   * A claim of these queues has ended. If it leaves runs, or a scan is due, another pending claim is woken. Returns the
   * queues that have runs but no pending claim here.
   */
  passOn(keys: readonly QueueKey[]): QueueKey[] {
    const now = this.#env.elapsed();
    return keys.filter((key) => {
      const queue = this.#queue(key);
      const hasRuns = queue.entries.size > 0;
      return (hasRuns || queue.scanAt <= now) && !wakeOne(queue) && hasRuns;
    });
  }

  #queue({ namespace, name, versionId, shardKey }: QueueKey): Queue {
    const key = { namespace, name, versionId, shardKey };
    const text = queueText(key);
    let queue = this.#queues.get(text);
    if (queue === undefined) {
      const unknown = { isComplete: false, invalidatedAt: 0, scanAt: Number.NEGATIVE_INFINITY, turn: 0 };
      queue = { key, entries: new Entries(), ...unknown, waiting: new Set() };
      this.#queues.set(text, queue);
    }
    return queue;
  }

  #invalidate(queue: Queue): void {
    this.#invalidations += 1;
    queue.invalidatedAt = this.#invalidations;
    queue.isComplete = false;
    queue.scanAt = Number.NEGATIVE_INFINITY;
  }

  #take(queues: readonly Queue[], limit: number): RunId[] {
    const ids: RunId[] = [];
    for (let next = nextOf(queues); next !== null && ids.length < limit; next = nextOf(queues)) {
      const id = next.entries.take();
      this.#serve(next);
      if (id !== null) {
        this.#queueOf.delete(id);
        ids.push(id);
      }
    }
    return ids;
  }

  /** A run of the queue was taken: all other queues have their turn before this one has it again. */
  #serve(queue: Queue): void {
    this.#turns += 1;
    queue.turn = this.#turns;
  }
}

function wakeOne({ waiting }: Queue): boolean {
  const [wake] = waiting;
  wake?.();
  return wake !== undefined;
}

/** Of the queues with the highest priority, the one whose turn it is. */
function nextOf(queues: readonly Queue[]): Queue | null {
  let best: Queue | null = null;
  for (const queue of queues) {
    const { size, priority } = queue.entries;
    if (size === 0) continue;
    const isHigher = best === null || priority > best.entries.priority;
    if (isHigher || (priority === best?.entries.priority && queue.turn < best.turn)) best = queue;
  }
  return best;
}
