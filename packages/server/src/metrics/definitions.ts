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

export const storeDuration: MetricDefinition = {
  name: "aiki_store_seconds",
  help: "Time of one operation of the database, from the call to its end: transaction, write or read.",
  labels: ["operation"],
  buckets: shortBuckets,
};

export const storeErrors: MetricDefinition = {
  name: "aiki_store_errors_total",
  help: "Operations that failed because of the database, by error code. Conflicts, which are retried, do not count.",
  labels: ["code"],
};

export const httpDuration: MetricDefinition = {
  name: "aiki_http_request_seconds",
  help: "Time of one HTTP request by verb and HTTP status. The long polls claim and watch may wait for a minute.",
  labels: ["verb", "status"],
  buckets: shortBuckets,
};

export const queueDepth: MetricDefinition = {
  name: "aiki_queue_depth",
  help: "Queued runs in the database: ready, no_worker (no live worker serves them) or blocked (all slots are busy).",
  labels: [...versionLabels, "shard", "reason"],
};

export const queueOldest: MetricDefinition = {
  name: "aiki_queue_oldest_seconds",
  help: "Time that the run that has waited for longest in a queue of the database has been queued.",
  labels: [...versionLabels, "shard"],
};

export const stalledRuns: MetricDefinition = {
  name: "aiki_stalled_runs",
  help: "Stalled runs in the database, by the reason of the stall.",
  labels: [...versionLabels, "reason"],
};

export const workerSlots: MetricDefinition = {
  name: "aiki_worker_slots",
  help: "Slots of all live workers of the database: busy or free.",
  labels: ["namespace", "state"],
};
