/** Numbers about the whole database: how long its queues are, which runs are stalled, which workers are alive. */

import type { QueueKey } from "@aikirun/lib/protocol";
import type { RegisteredWorker } from "./registered-worker.ts";
import { numberOf, optionalTextOf, type Row, textOf } from "./row.ts";
import { fromText } from "./text.ts";

/** How much of the database is counted, so that the cost has a bound. */
export interface StatsLimits {
  /** Queues at most; further ones are left out. */
  queues: number;
  /** Runs of one queue to count at most, in the order in which they are claimed. */
  queued: number;
  /** Stalled runs to count at most. */
  stalled: number;
}

export interface QueueStats extends QueueKey {
  /** How many runs are queued, up to the limit. */
  count: number;
  /** When the counted run that has been queued for longest became queued. Epoch milliseconds. */
  since: number;
}

/** How many runs of one version are stalled for one reason. */
export interface StalledStats {
  namespace: string;
  name: string;
  versionId: string;
  reason: string;
  count: number;
}

export interface RunStats {
  queues: QueueStats[];
  stalled: StalledStats[];
}

export interface Stats extends RunStats {
  /** The live workers of all namespaces. */
  workers: RegisteredWorker[];
}

/** A row of a queue has no `reason`. A row of stalled runs has no `since`. */
export function runStatsOf(rows: readonly Row[]): RunStats {
  const stats: RunStats = { queues: [], stalled: [] };
  for (const row of rows) {
    const version = {
      namespace: fromText(textOf(row, "namespace")),
      name: fromText(textOf(row, "name")),
      versionId: fromText(textOf(row, "version_id")),
    };
    const count = numberOf(row, "count");
    if (row.reason === null) {
      const since = numberOf(row, "since");
      stats.queues.push({ ...version, shardKey: optionalTextOf(row, "shard_key"), count, since });
    } else {
      stats.stalled.push({ ...version, reason: textOf(row, "reason"), count });
    }
  }
  return stats;
}
