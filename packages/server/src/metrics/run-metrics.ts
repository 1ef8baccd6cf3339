/** Counts what commits did to runs. A transaction that was rolled back, or is decided again, is never counted. */

import type { Metrics } from "@aikirun/lib";
import { createCounter, createHistogram } from "@aikirun/lib/internal";
import { isFinal } from "../core/decide.ts";
import type { Run } from "../core/run.ts";
import type { Transition } from "../engine/unit-of-work.ts";
import * as definitions from "./definitions.ts";

/** Returns a function that counts the changes of one commit. */
export function runMetrics(metrics: Metrics): (transitions: readonly Transition[]) => void {
  const started = createCounter(metrics, definitions.runsStarted);
  const finished = createCounter(metrics, definitions.runsFinished);
  const duration = createHistogram(metrics, definitions.runDuration);
  const queued = createHistogram(metrics, definitions.runQueue);
  const lateness = createHistogram(metrics, definitions.timerLateness);
  const leases = createCounter(metrics, definitions.leasesExpired);

  const count = ({ before, after }: Transition): void => {
    const labels = { namespace: after.namespace, workflow: after.name, version: after.versionId };
    if (before === null) started.inc(labels, 1);
    if (isFinal(after.state) && (before === null || !isFinal(before.state))) {
      finished.inc({ ...labels, status: after.state.status }, 1);
      duration.observe(labels, seconds(after.since - after.createdAt));
    }
    const queuedSince = queuedUntilClaim(before, after);
    if (queuedSince !== null) queued.observe(labels, seconds(after.since - queuedSince));
    const dueAt = elapsedTimer(before, after);
    if (dueAt !== null) lateness.observe({}, seconds(after.since - dueAt));
    const lost = after.lostLeases - (before?.lostLeases ?? 0);
    if (lost > 0) leases.inc(labels, lost);
  };

  return (transitions) => {
    for (const transition of transitions) count(transition);
  };
}

/** Since when the run was queued, if a claim took it; null otherwise. Epoch milliseconds. */
function queuedUntilClaim(before: Run | null, after: Run): number | null {
  if (after.state.status !== "running" || after.fence === (before?.fence ?? 0)) return null;
  if (before === null) return after.createdAt;
  return before.state.status === "queued" ? before.since : null;
}

/** When the run was due, if the end of a delay, sleep or deadline queued it; null otherwise. Epoch milliseconds. */
function elapsedTimer(before: Run | null, after: Run): number | null {
  if (before === null || before.dueAt === null || before.dueAt > after.since) return null;
  const wasWaiting = before.state.status === "scheduled" || "children" in before.state;
  const isQueued = after.state.status === "queued" || after.state.status === "running";
  return wasWaiting && isQueued ? before.dueAt : null;
}

function seconds(milliseconds: number): number {
  return milliseconds / 1_000;
}
