/** In which order queued runs are handed out, alike in every dialect. */

import type { RunId } from "@aikirun/lib/protocol";

/** What was found, and whether there may be more that fits. */
export interface Queued {
  ids: RunId[];
  more: boolean;
}

export interface Ranked {
  id: RunId;
  priority: number;
}

/**
 * The highest priority first. Within a priority, queues take turns: the first run of each in their order, then the
 * second of each; so a long queue delays no other. Each queue is given in its own order, with one run more than the
 * limit if it has it.
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
