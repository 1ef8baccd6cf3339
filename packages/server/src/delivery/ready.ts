/**
 * Delivery in-process: which runs may be ready, and who waits for them. A hint says only that a run may be ready;
 * losing, doubling or reordering one costs latency and nothing else (R7), so the list is bounded and never persisted.
 */

import type { Env } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import { Hints } from "./hints.ts";

/** Runs of one workflow version in one shard. */
export interface StreamName {
  name: string;
  versionId: string;
  shardKey: string | null;
}

/** What of a run decides who hears of it. */
export interface Hint extends StreamName {
  id: RunId;
  namespace: string;
  priority: number;
}

/** What a worker can run. */
export interface Audience {
  namespace: string;
  streams: readonly StreamName[];
}

/** A claim that found nothing yet. */
export interface Waiter {
  audience: Audience;
  wake: () => void;
}

export interface Ready {
  /** Whether somebody was woken by it. */
  push(hint: Hint): boolean;
  /** Another server's hint: for who waits here; else it only says that storage holds more. */
  hear(hint: Hint): void;
  /** The run is not queued any more. */
  drop(id: RunId): void;
  /** Takes up to `limit` ids that fit: highest priority first; within one, streams take turns. */
  take(audience: Audience, limit: number): RunId[];
  /** The same streams in the order of their turns: who was served longest ago comes first. */
  inTurn(audience: Audience): Audience;
  /** A run was taken from storage: its stream has had its turn. */
  served(hint: Omit<Hint, "id" | "priority">): void;
  /** Whether storage may hold queued runs for this audience that were never hinted here. */
  isStale(audience: Audience): boolean;
  /** Storage was asked for this audience; `drained` when it had no more than was returned. */
  scanned(audience: Audience, drained: boolean): void;
  /** Whether `take` would find something. */
  has(audience: Audience): boolean;
  wait(waiter: Waiter): () => void;
  /** One who was woken goes without taking anything: somebody else is woken in its place. */
  pass(audience: Audience): void;
}

/** Hints kept per workflow, version and shard; more are found by asking storage. */
const maxHints = 10_000;
/** How often a claim asks storage although every hint it got was for it. Milliseconds. */
const rescanMs = 5_000;

interface Stream {
  hints: Hints;
  scannedAt: number;
  /** The turn in which it was last served. */
  turn: number;
  waiters: Set<Waiter>;
}

export function readyRuns(env: Pick<Env, "elapsed">): Ready {
  const streams = new Map<string, Stream>();
  const places = new Map<RunId, Stream>();
  let turn = 0;

  const streamAt = (key: string): Stream => {
    let stream = streams.get(key);
    if (stream === undefined) {
      stream = { hints: new Hints(), scannedAt: Number.NEGATIVE_INFINITY, turn: 0, waiters: new Set() };
      streams.set(key, stream);
    }
    return stream;
  };

  const push = (hint: Hint): boolean => {
    const stream = streamAt(keyOf(hint.namespace, hint));
    if (stream.hints.size >= maxHints) {
      stream.scannedAt = Number.NEGATIVE_INFINITY;
    } else if (!places.has(hint.id)) {
      stream.hints.add(hint.id, hint.priority);
      places.set(hint.id, stream);
    }
    return wakeOne(stream);
  };

  const known = (audience: Audience): Stream[] => keysOf(audience).flatMap((key) => streams.get(key) ?? []);

  return {
    push,
    hear(hint) {
      const stream = streams.get(keyOf(hint.namespace, hint));
      if (stream !== undefined && stream.waiters.size > 0) {
        push(hint);
      } else if (stream !== undefined) {
        stream.scannedAt = Number.NEGATIVE_INFINITY;
      }
    },
    drop(id) {
      places.get(id)?.hints.remove(id);
      places.delete(id);
    },
    has: (audience) => keysOf(audience).some((key) => (streams.get(key)?.hints.size ?? 0) > 0),
    pass(audience) {
      for (const stream of known(audience)) {
        if (stream.hints.size > 0) {
          wakeOne(stream);
        }
      }
    },
    take(audience, limit) {
      const served = known(audience);
      const taken: RunId[] = [];
      while (taken.length < limit) {
        const next = nextOf(served);
        const id = next?.hints.take() ?? null;
        if (next === null || id === null) {
          break;
        }
        places.delete(id);
        next.turn = ++turn;
        taken.push(id);
      }
      return taken;
    },
    inTurn({ namespace, streams: names }) {
      const turnOf = (name: StreamName) => streams.get(keyOf(namespace, name))?.turn ?? 0;
      return { namespace, streams: names.toSorted((left, right) => turnOf(left) - turnOf(right)) };
    },
    served(hint) {
      streamAt(keyOf(hint.namespace, hint)).turn = ++turn;
    },
    isStale: (audience) => keysOf(audience).some((key) => env.elapsed() - streamAt(key).scannedAt >= rescanMs),
    scanned(audience, drained) {
      for (const key of keysOf(audience)) {
        streamAt(key).scannedAt = drained ? env.elapsed() : Number.NEGATIVE_INFINITY;
      }
    },
    wait(waiter) {
      const all = keysOf(waiter.audience).map(streamAt);
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

function wakeOne({ waiters }: Stream): boolean {
  const [first] = waiters;
  if (first === undefined) {
    return false;
  }
  waiters.delete(first);
  first.wake();
  return true;
}

function keysOf({ namespace, streams }: Audience): string[] {
  return streams.map((stream) => keyOf(namespace, stream));
}

function keyOf(namespace: string, { name, versionId, shardKey }: StreamName): string {
  return JSON.stringify([namespace, name, versionId, shardKey]);
}

/** The stream whose turn it is among those with the best hint. */
function nextOf(streams: readonly Stream[]): Stream | null {
  let best: Stream | null = null;
  for (const stream of streams) {
    const { size, priority } = stream.hints;
    if (size === 0) {
      continue;
    }
    const isBetter =
      best === null || priority > best.hints.priority || (priority === best.hints.priority && stream.turn < best.turn);
    if (isBetter) {
      best = stream;
    }
  }
  return best;
}
