/** A run as the outside sees it, with one sentence that says what it does or waits for. */

import type { Address, RunView } from "@aikirun/lib/protocol";
import { isFinal } from "../core/draft.ts";
import type { Run, State, Wait } from "../core/run.ts";

/** `isServed`: whether a live worker is known that can run it; asked of queued runs only. */
export function viewOf(run: Run, isServed: (run: Run) => boolean): RunView {
  const { state, options } = run;
  return {
    id: run.id,
    name: run.name,
    versionId: run.versionId,
    status: state.status,
    revision: run.revision,
    attempt: run.attempt,
    createdAt: run.createdAt,
    updatedAt: run.updatedAt,
    priority: run.priority,
    tags: options.tags ?? [],
    waits: run.waits.slice(0, 100),
    awaitedChildren: "children" in state ? state.children : 0,
    dueAt: run.dueAt,
    explanation: explain(run, state, isServed),
    ...(run.shardKey === null ? {} : { shardKey: run.shardKey }),
    ...(run.referenceId === null ? {} : { referenceId: run.referenceId }),
    ...(run.parent === null ? {} : { parent: run.parent }),
    ...(options.retryOf === undefined ? {} : { retryOf: options.retryOf }),
    ...(run.input === null ? {} : { input: run.input }),
    ...(isFinal(state) ? { outcome: state } : {}),
    ...(state.status === "stalled" ? { stall: stallOf(state) } : {}),
    ...(state.status === "running" ? { worker: state.worker } : {}),
    ...(run.lastError === null ? {} : { lastError: run.lastError }),
  };
}

function stallOf(state: Extract<State, { status: "stalled" }>): NonNullable<RunView["stall"]> {
  return state.reason === "crash_loop"
    ? { reason: state.reason, crashes: state.crashes }
    : { reason: state.reason, call: state.call, unclaimed: state.unclaimed };
}

function explain(run: Run, state: State, isServed: (run: Run) => boolean): string {
  switch (state.status) {
    case "scheduled":
      return `Starts at ${moment(state.at)}.`;
    case "queued":
      return isServed(run)
        ? "Queued: ready for the next free worker."
        : `Queued: no worker serves ${run.name}@${run.versionId}${shard(run)}.`;
    case "running":
      return state.pauseRequested
        ? `Worker ${state.worker} records what is in flight, then the run pauses.`
        : `Worker ${state.worker} executes attempt ${run.attempt}.`;
    case "paused":
      return "Paused; resume continues it.";
    case "sleeping":
    case "awaiting_event":
      return `Waits for ${run.waits.map(named).slice(0, 3).join(" and ") || "news"}.`;
    case "awaiting_child_workflow":
      return `Waits for ${state.children} child ${state.children === 1 ? "workflow" : "workflows"}.`;
    case "awaiting_retry":
      return state.retryAt === null
        ? `Retries a task: ${run.waits.map(named).slice(0, 3).join(" and ")}.`
        : `Attempt ${run.attempt} begins at ${moment(state.retryAt)}; ` +
            `the last one failed: ${run.lastError?.message ?? ""}`;
    case "stalled":
      return state.reason === "crash_loop"
        ? `Stalled: its worker died ${state.crashes} times without a report. Mend the cause, then retry or cancel it.`
        : `Stalled: the code reached ${state.call}, but never asked for what is recorded: ` +
            `${firstOf(state.unclaimed)}. Deploy code that fits, then retry, or cancel it.`;
    case "completed":
      return "Completed.";
    case "failed":
      return `Failed: ${state.error.message}`;
    case "cancelled":
      return state.reason === undefined ? "Cancelled." : `Cancelled: ${state.reason}`;
    default:
      return state satisfies never;
  }
}

function named({ type, name, until }: Wait): string {
  const deadline = until === null ? "" : ` until ${moment(until)}`;
  return `${name === undefined ? type : `${type} ${name}`}${deadline}`;
}

function firstOf(addresses: readonly Address[]): string {
  const rest = addresses.length - 3;
  return `${addresses.slice(0, 3).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

function moment(at: number): string {
  return Number.isFinite(at) && Math.abs(at) < 8.64e15 ? new Date(at).toISOString() : String(at);
}

function shard({ shardKey }: Run): string {
  return shardKey === null ? "" : ` in shard ${shardKey}`;
}
