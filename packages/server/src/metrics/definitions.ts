/** The metrics of a server: names, meanings, labels and buckets. `docs/metrics.md` describes them for users. */

import { longBuckets, type MetricDefinition, shortBuckets } from "@aikirun/lib/internal";

/** Which workflow version a run has. */
const versionLabels = ["namespace", "workflow", "version"];

export const runsStarted: MetricDefinition = {
  name: "aiki_runs_started_total",
  help: "Runs that this server has started, children and retries included.",
  labels: versionLabels,
};

export const runsFinished: MetricDefinition = {
  name: "aiki_runs_finished_total",
  help: "Runs that ended, by their final status: completed, failed or cancelled.",
  labels: [...versionLabels, "status"],
};

export const runDuration: MetricDefinition = {
  name: "aiki_run_duration_seconds",
  help: "Time from the start request of a run to its end.",
  labels: versionLabels,
  buckets: longBuckets,
};

export const runQueue: MetricDefinition = {
  name: "aiki_run_queue_seconds",
  help: "Time that a run was queued until a worker claimed it.",
  labels: versionLabels,
  buckets: longBuckets,
};

export const leasesExpired: MetricDefinition = {
  name: "aiki_leases_expired_total",
  help: "Leases of workers that ended without a report.",
  labels: versionLabels,
};

export const timerLateness: MetricDefinition = {
  name: "aiki_timer_lateness_seconds",
  help: "Time from the moment at which a sleep, delay or deadline was over until its run was queued.",
  labels: [],
  buckets: shortBuckets,
};
