/** Metrics: the port to a library that collects them, and instruments whose number of series is limited. */

import { AikiError } from "./error.ts";
import { isRecord } from "./fields.ts";

/** The values of a metric's labels, by name. */
export type MetricLabels = Readonly<Record<string, string>>;

/** How a metric is created, in the form of `prom-client`. */
export interface MetricOptions {
  /** The name, for example `aiki_task_duration_seconds`. */
  name: string;
  /** What it measures, in one sentence. */
  help: string;
  /** The names of its labels. */
  labelNames: string[];
  /** Upper bounds of the buckets of a histogram, in the metric's unit. Absent for a counter. */
  buckets?: number[];
}

/** A value that only grows. */
export interface MetricCounter {
  /** Adds `value`, which is at least 0. */
  inc(labels: MetricLabels, value: number): void;
}

/** A distribution of values. */
export interface MetricHistogram {
  /** Counts `value`, in the metric's unit. */
  observe(labels: MetricLabels, value: number): void;
}

/**
 * Where metrics are collected: the two classes of `prom-client` that Aiki uses. The module itself can be passed.
 *
 * @example
 * ```ts
 * import type { Metrics } from "@aikirun/lib";
 *
 * const counted = new Map<string, number>();
 *
 * export const metrics: Metrics = {
 *   Counter: class {
 *     readonly #name: string;
 *     constructor({ name }: { name: string }) {
 *       this.#name = name;
 *     }
 *     inc(_: unknown, value: number) {
 *       counted.set(this.#name, (counted.get(this.#name) ?? 0) + value);
 *     }
 *   },
 *   Histogram: class {
 *     observe() {}
 *   },
 * };
 * ```
 */
export interface Metrics {
  /** Creates a counter. Aiki creates each metric once for each `Metrics` object. */
  readonly Counter: new (
    options: MetricOptions,
  ) => MetricCounter;
  /** Creates a histogram. Aiki creates each metric once for each `Metrics` object. */
  readonly Histogram: new (
    options: MetricOptions,
  ) => MetricHistogram;
  /**
   * The registries of `prom-client` to which new metrics are added. Default: its global registry. Aiki passes them to
   * the constructors and does nothing else with them.
   */
  readonly registers?: readonly unknown[];
}

/** One metric as Aiki defines it. */
export interface MetricDefinition {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of the buckets of a histogram, in the metric's unit. */
  readonly buckets?: readonly number[];
}

/** Buckets for durations from 1 ms (one statement) to 1 minute (a long poll). Seconds. */
export const shortBuckets: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60,
];

/** Buckets for durations from 10 ms (one step) to 1 day (a sleep). Seconds. */
export const longBuckets: readonly number[] = [
  0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 60, 300, 1_800, 7_200, 86_400,
];

/** How many combinations of label values one metric has at most. Further ones are counted as `other`. */
export const seriesLimits = { counter: 1_000, histogram: 200 } as const;

/** What stands for the values of labels beyond the limit. */
export const otherValue = "other";

/** Labels whose values come from users, so that there may be any number of them. */
const open: ReadonlySet<string> = new Set(["namespace", "workflow", "version", "task", "shard"]);

/**
 * Returns a function that limits how many combinations of label values a metric has. After `limit` combinations, a new
 * one gets `other` as the value of each label that users name.
 */
export function limitedSeries(limit: number): (labels: MetricLabels) => MetricLabels {
  const known = new Set<string>();
  return (labels) => {
    const key = JSON.stringify(Object.values(labels));
    if (known.has(key)) return labels;
    if (known.size < limit) {
      known.add(key);
      return labels;
    }
    return Object.fromEntries(
      Object.entries(labels).map(([name, value]) => [name, open.has(name) ? otherValue : value]),
    );
  };
}

/** Creates a counter with at most `seriesLimits.counter` series, and further ones as `other`. */
export function createCounter(metrics: Metrics, definition: MetricDefinition): MetricCounter {
  const counter = new metrics.Counter(optionsOf(metrics, definition));
  const limited = limitedSeries(seriesLimits.counter);
  return { inc: (labels, value) => counter.inc(limited(labels), value) };
}

/** Creates a histogram with at most `seriesLimits.histogram` series. A negative duration counts as 0. */
export function createHistogram(metrics: Metrics, definition: MetricDefinition): MetricHistogram {
  const histogram = new metrics.Histogram(optionsOf(metrics, definition));
  const limited = limitedSeries(seriesLimits.histogram);
  return { observe: (labels, value) => histogram.observe(limited(labels), Math.max(0, value)) };
}

/** Throws `INVALID_CONFIG` if the value has not the form of `Metrics`. */
export function checkMetrics(value: unknown, field: string): Metrics {
  if (isMetrics(value)) return value;
  const message = `${field} must have the classes Counter and Histogram of prom-client. Pass the module itself.`;
  throw new AikiError("INVALID_CONFIG", message, { ids: { field } });
}

function isMetrics(value: unknown): value is Metrics {
  return isRecord(value) && typeof value.Counter === "function" && typeof value.Histogram === "function";
}

function optionsOf({ registers }: Metrics, { name, help, labels, buckets }: MetricDefinition): MetricOptions {
  return {
    name,
    help,
    labelNames: [...labels],
    ...(buckets !== undefined && { buckets: [...buckets] }),
    ...(registers !== undefined && { registers }),
  };
}
