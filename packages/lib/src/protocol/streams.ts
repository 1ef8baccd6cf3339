/**
 * Where Redis carries doorbells between servers and workers: one stream per namespace, workflow, version and shard, so
 * that a worker never hears of what it cannot run. An entry says only that a run may be ready; its content is not read.
 */

import type { Served } from "./messages.ts";

/** The consumer group that all workers read through; it is made at 0, so that what was sent before is heard. */
export const streamGroup = "workers";

/** Entries that a stream keeps, about: more doorbells than that ring for nothing new. */
export const streamLength = 10_000;

/**
 * What the keys of a namespace's streams begin with. The braces keep them together on one node of a cluster, so that
 * one read goes over all of them.
 */
export function streamsOf(prefix: string, namespace: string): string {
  return `${prefix}:{${encodeURIComponent(namespace)}}`;
}

/** The key of one stream. Names may hold any character, hence the encoding. */
export function streamKey(streams: string, { name, versionId }: Served, shardKey: string | null): string {
  const shard = shardKey === null ? "" : `:${encodeURIComponent(shardKey)}`;
  return `${streams}:${encodeURIComponent(name)}:${encodeURIComponent(versionId)}${shard}`;
}
