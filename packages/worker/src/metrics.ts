/** What a worker counts: tasks whose results are recorded, and replays. */

import type { Logger, Metrics } from "@aikirun/lib";
import {
  createCounter,
  createHistogram,
  longBuckets,
  type MetricDefinition,
  shortBuckets,
  taskNameOf,
} from "@aikirun/lib/internal";
import type { ClaimedRun, NewEntry } from "@aikirun/lib/protocol";

const taskLabels = ["workflow", "version", "task"];

const taskDuration: MetricDefinition = {
  name: "aiki_task_duration_seconds",
  help: "Time of one attempt of a task or step until its result is sent: succeeded, retrying or failed.",
  labels: [...taskLabels, "outcome"],
  buckets: longBuckets,
};

const taskAttempts: MetricDefinition = {
  name: "aiki_task_attempts_total",
  help: "Attempts of tasks and steps whose result the server has recorded.",
  labels: taskLabels,
};

const replayDuration: MetricDefinition = {
  name: "aiki_replay_seconds",
  help: "Time from the start of a handler on a run with a journal until it makes a new call, waits or ends.",
  labels: ["workflow", "version"],
  buckets: shortBuckets,
};

const outcomes: ReadonlyMap<NewEntry["value"]["type"], string> = new Map([
  ["returned", "succeeded"],
  ["retrying", "retrying"],
  ["threw", "failed"],
]);

type ReportedRun = Pick<ClaimedRun, "name" | "versionId">;

/** Counts for all workers that share a `Metrics` object. */
export interface WorkerMetrics {
  /** The server has recorded these entries, which were sent at `sentAt`. Epoch milliseconds. */
  recorded(run: ReportedRun, entries: readonly NewEntry[], sentAt: number): void;
  /** A replay took this long. Milliseconds. */
  replayed(run: ReportedRun, durationMs: number): void;
}

/** A `Metrics` object may be given to several workers, and refuses to create a metric twice. */
const created = new WeakMap<Metrics, WorkerMetrics>();

/** Counts nothing if there are no metrics. A failure of `metrics` is logged and does not affect the run. */
export function workerMetrics(metrics: Metrics | null, logger: Logger): WorkerMetrics {
  if (metrics === null) return { recorded: () => {}, replayed: () => {} };
  const known = created.get(metrics) ?? createMetrics(metrics);
  created.set(metrics, known);
  const safely = (count: () => void): void => {
    try {
      count();
    } catch (error) {
      logger.error("the metrics given to the worker failed", { error });
    }
  };
  return {
    recorded: (run, entries, sentAt) => safely(() => known.recorded(run, entries, sentAt)),
    replayed: (run, durationMs) => safely(() => known.replayed(run, durationMs)),
  };
}

function createMetrics(metrics: Metrics): WorkerMetrics {
  const duration = createHistogram(metrics, taskDuration);
  const attempts = createCounter(metrics, taskAttempts);
  const replays = createHistogram(metrics, replayDuration);
  return {
    recorded({ name, versionId }, entries, sentAt) {
      for (const { address, startedAt, value } of entries) {
        const outcome = outcomes.get(value.type);
        const task = taskNameOf(address);
        if (outcome === undefined || task === null || startedAt === undefined) continue;
        const labels = { workflow: name, version: versionId, task };
        attempts.inc(labels, 1);
        duration.observe({ ...labels, outcome }, (sentAt - startedAt) / 1_000);
      }
    },
    replayed({ name, versionId }, durationMs) {
      replays.observe({ workflow: name, version: versionId }, durationMs / 1_000);
    },
  };
}
