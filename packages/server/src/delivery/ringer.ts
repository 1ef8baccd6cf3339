/**
 * Rings for runs that nobody here takes at once. A worker that hears one bell takes all it has slots for, so a herd
 * needs few: more ring, moment by moment, for as long as runs are left.
 */

import type { Env } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import type { Hint } from "./ready.ts";

export interface RingerOptions {
  env: Pick<Env, "after">;
  /** Whether the run still waits to be taken. */
  isListed: (id: RunId) => boolean;
  ring: (hint: Hint) => void;
  /** When it aborts nobody here takes anything more: the first that are left are rung for at once. */
  closing: AbortSignal;
}

/** Who waits here is served before that. Milliseconds. */
const firstMs = 5;
/** The pauses after that double up to this: who hears was heard of in the first ones. Milliseconds. */
const longestMs = 160;
/** In one moment, for the runs of one workflow version in one shard. */
const mostRings = 10;

/** When a queue has grown to this, and to twice what was left last time, those that were taken leave it. */
const wasteful = 1_000;

/** What is left to ring for of one workflow version in one shard, in order. */
interface Queue {
  hints: Map<RunId, Hint>;
  /** At this size it is looked through. */
  fullAt: number;
}

/** Takes hints to ring for. */
export function ringer({ env, isListed, ring, closing }: RingerOptions): (hints: readonly Hint[]) => void {
  const queues = new Map<string, Queue>();

  const ringSome = ({ hints }: Queue) => {
    let rings = 0;
    for (const [id, hint] of hints) {
      if (rings === mostRings) return;
      hints.delete(id);
      if (isListed(id)) {
        ring(hint);
        rings += 1;
      }
    }
  };

  const begin = (key: string): Queue => {
    const queue: Queue = { hints: new Map(), fullAt: wasteful };
    const moment = (pauseMs: number) => {
      ringSome(queue);
      if (queue.hints.size > 0) env.after(pauseMs, () => moment(Math.min(longestMs, 2 * pauseMs)));
      else queues.delete(key);
    };
    env.after(firstMs, () => moment(2 * firstMs));
    queues.set(key, queue);
    return queue;
  };

  const add = ({ id, namespace, name, versionId, shardKey, priority }: Hint) => {
    const key = JSON.stringify([namespace, name, versionId, shardKey]);
    const queue = queues.get(key) ?? begin(key);
    // Not what was hinted at, which is a whole run.
    queue.hints.set(id, { id, namespace, name, versionId, shardKey, priority });
    if (queue.hints.size >= queue.fullAt) {
      queue.hints = new Map([...queue.hints].filter(([other]) => isListed(other)));
      queue.fullAt = Math.max(wasteful, 2 * queue.hints.size);
    }
  };

  const finish = () => {
    for (const queue of queues.values()) {
      ringSome(queue);
      queue.hints.clear();
    }
  };
  closing.addEventListener("abort", finish, { once: true });

  return (hints) => {
    for (const hint of hints) {
      if (isListed(hint.id)) add(hint);
    }
    if (closing.aborted) finish();
  };
}
