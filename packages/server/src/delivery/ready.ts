/**
 * Delivery in-process: which runs may be ready, and who waits for them. A hint says only that a run may be ready;
 * losing, doubling or reordering one costs latency and nothing else (R7), so the list is bounded and never persisted.
 */

import type { Env } from "@aikirun/lib";
import type { RunId, Served } from "@aikirun/lib/protocol";

/** What of a run decides who hears of it. */
export interface Hint {
  id: RunId;
  namespace: string;
  name: string;
  versionId: string;
  shardKey: string | null;
  priority: number;
}

/** What a worker can run. */
export interface Audience {
  namespace: string;
  serves: Served[];
  /** Empty: only runs without a shard key. */
  shardKeys: string[];
}

/** A claim that found nothing yet. */
export interface Waiter {
  keys: string[];
  wake: () => void;
}

export interface Ready {
  push(hint: Hint): void;
  /** Takes up to `limit` ids that fit: highest priority first, then first hinted. */
  take(filter: Audience, limit: number): RunId[];
  /** Whether storage may hold queued runs for this filter that were never hinted here. */
  isStale(filter: Audience): boolean;
  /** Storage was asked for this filter; `drained` when it had no more than was returned. */
  scanned(filter: Audience, drained: boolean): void;
  /** Whether `take` would find something. */
  has(filter: Audience): boolean;
  wait(waiter: Waiter): () => void;
  /** One who was woken goes without taking anything: somebody else is woken in its place. */
  pass(filter: Audience): void;
  keysOf(filter: Audience): string[];
}

/** Hints kept per workflow, version and shard; more are found by asking storage. */
const maxHints = 10_000;
/** How often a claim asks storage although every hint it got was for it. Milliseconds. */
const rescanMs = 5_000;

interface Stream {
  /** By priority, highest first; each in order of arrival, numbered across streams. */
  levels: Array<{ priority: number; hints: Queue }>;
  size: number;
  scannedAt: number;
  waiters: Set<Waiter>;
}

interface Queue {
  items: Array<{ id: RunId; order: number }>;
  head: number;
}

export function readyRuns(env: Pick<Env, "elapsed">): Ready {
  const streams = new Map<string, Stream>();
  let order = 0;

  const streamOf = (key: string): Stream => {
    let stream = streams.get(key);
    if (stream === undefined) {
      stream = { levels: [], size: 0, scannedAt: Number.NEGATIVE_INFINITY, waiters: new Set() };
      streams.set(key, stream);
    }
    return stream;
  };

  const keysOf = ({ namespace, serves, shardKeys }: Audience): string[] => {
    const shards = shardKeys.length === 0 ? [null] : shardKeys;
    return serves.flatMap((served) => shards.map((shard) => keyOf(namespace, served, shard)));
  };

  return {
    keysOf,
    push(hint) {
      const stream = streamOf(keyOf(hint.namespace, hint, hint.shardKey));
      if (stream.size >= maxHints) {
        stream.scannedAt = Number.NEGATIVE_INFINITY;
      } else {
        levelOf(stream, hint.priority).items.push({ id: hint.id, order: order++ });
        stream.size += 1;
      }
      wakeOne(stream);
    },
    has: (filter) => keysOf(filter).some((key) => (streams.get(key)?.size ?? 0) > 0),
    pass(filter) {
      for (const key of keysOf(filter)) {
        const stream = streams.get(key);
        if (stream !== undefined && stream.size > 0) {
          wakeOne(stream);
        }
      }
    },
    take(filter, limit) {
      const served = keysOf(filter).flatMap((key) => streams.get(key) ?? []);
      const taken: RunId[] = [];
      while (taken.length < limit) {
        const best = firstOf(served);
        if (best === null) {
          break;
        }
        taken.push(best);
      }
      return taken;
    },
    isStale: (filter) => keysOf(filter).some((key) => env.elapsed() - streamOf(key).scannedAt >= rescanMs),
    scanned(filter, drained) {
      for (const key of keysOf(filter)) {
        streamOf(key).scannedAt = drained ? env.elapsed() : Number.NEGATIVE_INFINITY;
      }
    },
    wait(waiter) {
      const all = waiter.keys.map(streamOf);
      for (const stream of all) {
        stream.waiters.add(waiter);
      }
      return () => {
        for (const stream of all) {
          stream.waiters.delete(waiter);
        }
      };
    },
  };
}

function wakeOne({ waiters }: Stream): void {
  const [first] = waiters;
  if (first !== undefined) {
    waiters.delete(first);
    first.wake();
  }
}

function keyOf(namespace: string, { name, versionId }: Served, shardKey: string | null): string {
  return JSON.stringify([namespace, name, versionId, shardKey]);
}

function levelOf(stream: Stream, priority: number): Queue {
  const found = stream.levels.find((level) => level.priority === priority);
  if (found !== undefined) {
    return found.hints;
  }
  const hints: Queue = { items: [], head: 0 };
  stream.levels.push({ priority, hints });
  stream.levels.sort((a, b) => b.priority - a.priority);
  return hints;
}

/** Takes the best hint of several streams. */
function firstOf(streams: Stream[]): RunId | null {
  let best: { stream: Stream; level: Stream["levels"][number]; order: number } | null = null;
  for (const stream of streams) {
    const level = stream.levels[0];
    const order = level?.hints.items[level.hints.head]?.order;
    if (level === undefined || order === undefined) {
      continue;
    }
    const isBetter =
      best === null ||
      level.priority > best.level.priority ||
      (level.priority === best.level.priority && order < best.order);
    if (isBetter) {
      best = { stream, level, order };
    }
  }
  return best === null ? null : shift(best.stream, best.level);
}

function shift(stream: Stream, level: Stream["levels"][number]): RunId | null {
  const { hints } = level;
  const item = hints.items[hints.head];
  hints.head += 1;
  stream.size -= 1;
  if (hints.head === hints.items.length) {
    stream.levels.splice(stream.levels.indexOf(level), 1);
  } else if (hints.head > 1_000 && hints.head * 2 > hints.items.length) {
    hints.items = hints.items.slice(hints.head);
    hints.head = 0;
  }
  return item?.id ?? null;
}
