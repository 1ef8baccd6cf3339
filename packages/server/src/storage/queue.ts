/** In which order queued runs are handed out, alike in every dialect. */

import type { RunId } from "@aikirun/lib/protocol";

/** Runs of one workflow version in one shard. */
export interface Stream {
  name: string;
  versionId: string;
  shardKey: string | null;
}

export interface QueueFilter {
  namespace: string;
  /** In the order of their turns. */
  streams: readonly Stream[];
}

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
 * The highest priority first. Within one, streams take turns: the first of each in their order, then the second of
 * each; so a long queue of one workflow keeps no other waiting. Each stream is given in its own order, with one run
 * more than the limit if it has it.
 */
export function interleaved(streams: ReadonlyArray<readonly Ranked[]>, limit: number): Queued {
  const all = streams.flatMap((runs, place) => {
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
