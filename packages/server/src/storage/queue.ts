/** The order in which queued runs are claimed, the same in every dialect. */

import type { RunId } from "@aikirun/lib/protocol";

/** The runs that were found, and whether there may be more. */
export interface Queued {
  ids: RunId[];
  more: boolean;
}

export interface Ranked {
  id: RunId;
  priority: number;
}

/**
 * Orders runs by priority, highest first. Within a priority, queues take turns: the first run of each queue, then the
 * second of each, so that a long queue does not delay the others. Each queue is given in its own order, with one run
 * more than the limit if it has that many.
 */
export function interleaved(queues: ReadonlyArray<readonly Ranked[]>, limit: number): Queued {
  const all = queues.flatMap((runs, place) => {
    const ranks = new Map<number, number>();
    return runs.map(({ id, priority }) => {
      const rank = ranks.get(priority) ?? 0;
      ranks.set(priority, rank + 1);
      return { id, priority, rank, place };
    });
  });
  all.sort((left, right) => right.priority - left.priority || left.rank - right.rank || left.place - right.place);
  return { ids: all.slice(0, limit).map(({ id }) => id), more: all.length > limit };
}
