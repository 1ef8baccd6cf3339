/** How servers and workers name queues, in memory and in Redis. */

import type { Served } from "./messages.ts";

/** Names a queue: the runs of one workflow version in one shard of a namespace that wait for a worker. */
export interface QueueKey {
  /** The namespace of the runs. */
  namespace: string;
  /** The name of the workflow. */
  name: string;
  /** The id of the workflow version. */
  versionId: string;
  /** Null: the runs without a shard key. */
  shardKey: string | null;
}

/**
 * The key as text, different for each queue. Names may contain any character, so they are encoded. In Redis the braces
 * keep all streams of a namespace on one node of a cluster, so that one command can read them.
 */
export function queueText({ namespace, name, versionId, shardKey }: QueueKey): string {
  const shard = shardKey === null ? "" : `:${encodeURIComponent(shardKey)}`;
  return `{${encodeURIComponent(namespace)}}:${encodeURIComponent(name)}:${encodeURIComponent(versionId)}${shard}`;
}

/** The queues that a worker serves, each once. Without shard keys these are the queues of runs without one. */
export function queuesOf(
  namespace: string,
  { serves, shardKeys }: { serves: readonly Served[]; shardKeys: readonly string[] },
): QueueKey[] {
  const shards = shardKeys.length === 0 ? [null] : shardKeys;
  const queues = serves.flatMap(({ name, versionId }) =>
    shards.map((shardKey): QueueKey => ({ namespace, name, versionId, shardKey })),
  );
  return [...new Map(queues.map((queue) => [queueText(queue), queue])).values()];
}

/** The Redis stream that carries the wake-ups of a queue. Only the arrival of an entry matters, not its content. */
export function wakeUpStream(prefix: string, queue: QueueKey): string {
  return `${prefix}:${queueText(queue)}`;
}

/** The consumer group that all workers read through. It begins at 0, so that earlier wake-ups are received. */
export const wakeUpGroup = "workers";

/** A stream keeps about this many wake-ups, and Redis removes older ones. The newer ones make workers claim too. */
export const wakeUpStreamLength = 10_000;
