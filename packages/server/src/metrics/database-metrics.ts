/**
 * Gauges of the whole database. They are read from storage when metrics are scraped, at most once in 10 s, so that all
 * servers of a database show the same values.
 */

import type { Env, MetricLabels } from "@aikirun/lib";
import { limitedSeries, type MetricDefinition } from "@aikirun/lib/internal";
import { Gauge, type Registry } from "prom-client";
import { serves } from "../engine/worker-registry.ts";
import type { RegisteredWorker } from "../storage/registered-worker.ts";
import type { QueueStats, Stats, StatsLimits } from "../storage/stats.ts";
import type { Storage } from "../storage/storage.ts";
import * as definitions from "./definitions.ts";

/** How long values are reused. Milliseconds. */
const cachedMs = 10_000;

/** What one read counts. A queue with more runs shows this number. */
export const statsLimits: StatsLimits = { queues: 1_000, queued: 5_000, stalled: 5_000 };

/** How many combinations of label values a gauge has at most. Further ones share the series `other`. */
const seriesLimit = 500;

export interface DatabaseMetricsOptions {
  registry: Registry;
  storage: Pick<Storage, "read">;
  env: Pick<Env, "elapsed">;
}

/** Returns a function that updates the gauges. If the database cannot be read, they have no values. Never rejects. */
export function databaseMetrics({ registry, storage, env }: DatabaseMetricsOptions): () => Promise<void> {
  const gauge = ({ name, help, labels }: MetricDefinition) =>
    new Gauge({ name, help, labelNames: [...labels], registers: [registry] });
  const depth = gauge(definitions.queueDepth);
  const oldest = gauge(definitions.queueOldest);
  const stalled = gauge(definitions.stalledRuns);
  const slots = gauge(definitions.workerSlots);
  let readAt = Number.NEGATIVE_INFINITY;
  let current: Promise<void> | null = null;

  const read = async (): Promise<void> => {
    for (const each of [depth, oldest, stalled, slots]) each.reset();
    const { now, stats } = await storage.read(async (reader) => {
      const now = reader.now();
      return { now, stats: await reader.stats(now, statsLimits) };
    });
    write(depth, depths(stats), sum);
    write(oldest, ages(stats, now), Math.max);
    write(stalled, stalls(stats), sum);
    write(slots, slotsOf(stats), sum);
    readAt = env.elapsed();
  };

  return () => {
    if (current === null && env.elapsed() - readAt < cachedMs) return Promise.resolve();
    // Storage faults are already in the log and in a counter.
    current ??= read()
      .catch(() => {})
      .finally(() => {
        current = null;
      });
    return current;
  };
}

interface Sample {
  labels: MetricLabels;
  value: number;
}

function depths({ queues, workers }: Stats): Sample[] {
  return queues.map((queue) => ({
    labels: { ...queueLabels(queue), reason: reasonOf(queue, workers) },
    value: queue.count,
  }));
}

function ages({ queues }: Stats, now: number): Sample[] {
  return queues.map((queue) => ({ labels: queueLabels(queue), value: Math.max(0, now - queue.since) / 1_000 }));
}

function stalls({ stalled }: Stats): Sample[] {
  return stalled.map(({ namespace, name, versionId, reason, count }) => ({
    labels: { namespace, workflow: name, version: versionId, reason },
    value: count,
  }));
}

function slotsOf({ workers }: Stats): Sample[] {
  return workers.flatMap(({ namespace, load }) =>
    load === undefined
      ? []
      : [
          { labels: { namespace, state: "busy" }, value: load.busy },
          { labels: { namespace, state: "free" }, value: Math.max(0, load.slots - load.busy) },
        ],
  );
}

/** Why the runs of a queue wait. A worker that did not report its load may have a free slot. */
function reasonOf(queue: QueueStats, workers: readonly RegisteredWorker[]): "ready" | "no_worker" | "blocked" {
  const serving = workers.filter((worker) => worker.namespace === queue.namespace && serves(worker, queue));
  if (serving.length === 0) return "no_worker";
  return serving.some(({ load }) => load === undefined || load.busy < load.slots) ? "ready" : "blocked";
}

/** A run without a shard has an empty label, which Prometheus treats as absent. */
function queueLabels({ namespace, name, versionId, shardKey }: QueueStats): MetricLabels {
  return { namespace, workflow: name, version: versionId, shard: shardKey ?? "" };
}

/** Samples with the same labels, such as those of `other`, are combined. */
function write(gauge: Gauge, samples: readonly Sample[], combine: (left: number, right: number) => number): void {
  const limited = limitedSeries(seriesLimit);
  const combined = new Map<string, Sample>();
  for (const { labels, value } of samples) {
    const series = limited(labels);
    const key = JSON.stringify(Object.values(series));
    const before = combined.get(key);
    combined.set(key, { labels: series, value: before === undefined ? value : combine(before.value, value) });
  }
  for (const { labels, value } of combined.values()) gauge.set(labels, value);
}

function sum(left: number, right: number): number {
  return left + right;
}
