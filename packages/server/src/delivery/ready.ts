/**
 * Delivery in-process: which runs may be ready, and who waits for them. A hint says only that a run may be ready;
 * losing, doubling or reordering one costs latency and nothing else (R7), so the list is bounded and never persisted.
 *
 * Runs are taken from the list only while it is whole: while it holds all that its stream has queued. After a restart,
 * an overflow, or another server's hint storage comes first, since only storage knows whose turn it is.
 */

import type { Env } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import { type Moment, type Stream, type StreamName, Streams } from "./streams.ts";

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

/** What storage had left when it was asked: nothing, more than was asked for, or only what others hold. */
export type Left = "nothing" | "more" | "held";

export interface Ready {
  /** Whether somebody was woken by it. */
  push(hint: Hint): boolean;
  /** Whether it waits here to be taken. */
  isListed(id: RunId): boolean;
  /** What is listed may never have been: storage is to be asked for all. */
  forget(): void;
  /** Another server's hint: storage holds more, and one who waits here may look. */
  hear(hint: Hint): void;
  /** The run is not queued any more. */
  drop(id: RunId): void;
  /**
   * Takes up to `limit` ids that fit: highest priority first; within one, streams take turns. None while storage is to
   * be asked first.
   */
  take(audience: Audience, limit: number): RunId[];
  /** The same streams in the order of their turns: who was served longest ago comes first. */
  inTurn(audience: Audience): Audience;
  /** A run was taken from storage: its stream has had its turn. */
  served(hint: Omit<Hint, "id" | "priority">): void;
  /** Whether storage is to be asked for this audience, before or after what is listed here. */
  isStale(audience: Audience): boolean;
  /** How long until that is so, if nobody hints. Milliseconds. */
  restMs(audience: Audience): number;
  /** Before storage is asked: what is heard from now on, its answer may lack. */
  asking(): Moment;
  /** Storage was asked at that moment. Unless it has more, the lists are whole from then on. */
  scanned(audience: Audience, asked: Moment, left: Left): void;
  /** What was taken from the lists came to nothing: storage is to be asked. */
  doubt(audience: Audience): void;
  /** Whether it is worth trying: a hint can be taken, or storage is to be asked. */
  isHopeful(audience: Audience): boolean;
  wait(waiter: Waiter): () => void;
  /** One who was woken goes without taking anything: somebody else is woken in its place. */
  pass(audience: Audience): void;
}

/** Hints kept per workflow, version and shard; more are found by asking storage. */
const maxHints = 10_000;
/** How often a claim asks storage although every hint it got was for it. Milliseconds. */
const rescanMs = 5_000;
/** When others hold what is left, they may let go of it: then it is asked for again so soon. Milliseconds. */
const heldMs = 50;

export function readyRuns(env: Pick<Env, "elapsed">): Ready {
  const streams = new Streams();
  const places = new Map<RunId, Stream>();
  const isDue = ({ askAt }: Stream): boolean => askAt <= env.elapsed();

  const take = (audience: Audience, limit: number): RunId[] => {
    const served = streams.of(audience);
    const taken: RunId[] = [];
    for (let next = nextOf(served); next !== null && taken.length < limit; next = nextOf(served)) {
      const id = next.hints.take();
      streams.serve(next);
      if (id !== null) {
        places.delete(id);
        taken.push(id);
      }
    }
    return taken;
  };

  const scanned = (audience: Audience, asked: Moment, left: Left): void => {
    for (const stream of streams.of(audience)) {
      if (left === "more") {
        streams.doubt(stream);
      } else if (stream.doubtedAt <= asked) {
        stream.isWhole = true;
        stream.askAt = env.elapsed() + (left === "held" ? heldMs : rescanMs);
      }
    }
  };

  const wait = (waiter: Waiter): (() => void) => {
    const all = streams.of(waiter.audience);
    for (const stream of all) {
      stream.waiters.add(waiter);
    }
    return () => {
      for (const stream of all) {
        stream.waiters.delete(waiter);
      }
    };
  };

  return {
    push(hint) {
      const stream = streams.at(hint.namespace, hint);
      if (stream.hints.size >= maxHints) {
        streams.doubt(stream);
      } else if (!places.has(hint.id)) {
        stream.hints.add(hint.id, hint.priority);
        places.set(hint.id, stream);
      }
      return wakeOne(stream);
    },
    isListed: (id) => places.has(id),
    forget() {
      for (const [id, stream] of places) {
        stream.hints.remove(id);
      }
      places.clear();
      for (const stream of streams.all()) {
        streams.doubt(stream);
      }
    },
    hear(hint) {
      const stream = streams.known(hint.namespace, hint);
      if (stream !== undefined) {
        streams.doubt(stream);
        wakeOne(stream);
      }
    },
    drop(id) {
      places.get(id)?.hints.remove(id);
      places.delete(id);
    },
    take: (audience, limit) => (streams.of(audience).every(isWhole) ? take(audience, limit) : []),
    inTurn: ({ namespace, streams: names }) => {
      const turnOf = (name: StreamName) => streams.known(namespace, name)?.turn ?? 0;
      return { namespace, streams: names.toSorted((left, right) => turnOf(left) - turnOf(right)) };
    },
    served: (hint) => streams.serve(streams.at(hint.namespace, hint)),
    isStale: (audience) => streams.of(audience).some(isDue),
    restMs: (audience) =>
      Math.max(0, Math.min(rescanMs, ...streams.of(audience).map(({ askAt }) => askAt - env.elapsed()))),
    asking: () => streams.moment,
    scanned,
    doubt(audience) {
      for (const stream of streams.of(audience)) {
        streams.doubt(stream);
      }
    },
    isHopeful: (audience) => streams.of(audience).some((stream) => stream.hints.size > 0 || isDue(stream)),
    wait,
    pass(audience) {
      for (const stream of streams.of(audience)) {
        if (stream.hints.size > 0 || isDue(stream)) {
          wakeOne(stream);
        }
      }
    },
  };
}

function isWhole(stream: Stream): boolean {
  return stream.isWhole;
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
