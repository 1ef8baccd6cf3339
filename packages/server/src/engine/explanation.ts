/** One or two sentences for people: what a run does or waits for, and what they should do if the run needs help. */

import type { RunView, Stall } from "@aikirun/lib/protocol";
import type { PauseRequest, Run, State, Wait } from "../core/run.ts";
import { counted, exactSpan, firstOf, moment, named, shortened } from "./phrases.ts";

/** What the explanation needs besides the run. */
export interface Surroundings {
  /** Whether a live worker serves the run; called for queued runs only. */
  isServed: (run: Run) => boolean;
  /** A stalled child of a run that awaits children. */
  stalledChild?: StalledChild | undefined;
}

export interface StalledChild {
  child: Run;
  /** Whether its parent is known to wait for this one. */
  isAwaited: boolean;
}

export function explain(run: Run, unbound: RunView["unboundEvents"], { isServed, stalledChild }: Surroundings): string {
  const { state } = run;
  switch (state.status) {
    case "scheduled":
      return `Starts at ${moment(state.at)}.`;
    case "queued":
      return isServed(run)
        ? "Queued: ready for the next free worker."
        : `Queued: no worker serves ${run.name}@${run.versionId}${shard(run)}.`;
    case "running":
      return running(run, state);
    case "paused":
      return `Paused${byWhom(state)}; resume continues it.`;
    case "sleeping":
    case "awaiting_event":
    case "awaiting_child_workflow":
    case "awaiting_retry":
      return [waiting(run, state, stalledChild), ...unboundSentence(unbound)].join(" ");
    case "stalled":
      return `Stalled: ${stalled(state)}`;
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

/** Who asked for the pause, and why. */
function byWhom({ by, reason }: PauseRequest): string {
  const whom = by === undefined ? "" : ` by ${by}`;
  return reason === undefined ? whom : `${whom} (${shortened(reason)})`;
}

/** The state of a run that waits for something. */
export type SuspendedState = Extract<State, { children: number }>;

function waiting(run: Run, state: SuspendedState, stalledChild: StalledChild | undefined): string {
  const { waits } = run;
  if (state.status === "awaiting_retry") {
    return state.retryAt === null
      ? `Retries a task: ${listOf(waits)}.`
      : `Attempt ${run.attempt} begins at ${moment(state.retryAt)}; ` +
          `the last one failed: ${run.lastError?.message ?? ""}`;
  }
  const children = Math.max(state.children, waits.filter(({ type }) => type === "child").length);
  const plain =
    state.status === "awaiting_child_workflow"
      ? `Waits for ${counted(children, "child workflow")}.`
      : `Waits for ${listOf(waits) || "something from outside"}.`;
  if (stalledChild === undefined) {
    return plain;
  }
  const { child, isAwaited } = stalledChild;
  const cause = child.state.status === "stalled" ? stalled(child.state) : "";
  return isAwaited && state.status === "awaiting_child_workflow" && children === 1
    ? `Waits for child ${child.id} of ${child.name}, which is stalled: ${cause}`
    : `${plain} Child ${child.id} of ${child.name} is stalled: ${cause}`;
}

function listOf(waits: readonly Wait[]): string {
  return firstOf(waits.map(nameOf), " and ");
}

export function unboundSentence(unbound: RunView["unboundEvents"]): string[] {
  if (unbound.length === 0) {
    return [];
  }
  const each = unbound.slice(0, named).map(({ name, count }) => `${counted(count, "event")} "${name}"`);
  const more = unbound.length > named ? " and events of other names" : "";
  return [`${each.join(" and ")}${more} arrived that the run has not waited for.`];
}

function running(run: Run, state: Extract<State, { status: "running" }>): string {
  const { worker, expecting, pause } = state;
  if (pause !== undefined) {
    return `Worker ${worker} records what is in flight, then the run pauses${byWhom(pause)}.`;
  }
  return expecting === undefined
    ? `Worker ${worker} executes attempt ${run.attempt}.`
    : `Worker ${worker} replays attempt ${run.attempt} and waits since ${moment(expecting.since)} for ` +
        `${expecting.call}, which the code made before. If this lasts, deploy code that fits, or cancel the run and ` +
        "retry it.";
}

export function stalled(stall: Stall): string {
  switch (stall.reason) {
    case "crash_loop":
      return (
        `worker leases ended without a report ${stall.crashes} times in a row. Find out from the workers' logs what ` +
        "ended or blocked their processes and mend it, then retry or cancel the run."
      );
    case "diverged":
      return (
        `the code waits at the call ${firstOf([stall.call, ...(stall.alsoNew ?? [])])}, but has not made these ` +
        `recorded calls again: ${firstOf(stall.unclaimed)}. Deploy code that fits, then retry the run; or cancel it.`
      );
    case "ambiguous_call":
      return (
        `alike calls of ${stall.call} cannot be distinguished; the code makes them at ${firstOf(stall.places)}. Give ` +
        "each of them a key (a sleep: a name), or make them in run.map with a key. Deploy that, then retry the run."
      );
    case "schema_mismatch":
      return (
        `what is recorded at ${stall.call} does not fit the schema of the code: ${shortened(stall.error.message)} ` +
        "Deploy a schema that accepts it, then retry the run."
      );
    case "idle":
      return stall.idleMs === 0
        ? "the handler awaits something that is not durable: no sleep, event, child or retry is open. Make what it " +
            "awaits a step, then retry the run."
        : `the handler awaited only non-durable work for ${exactSpan(stall.idleMs)}. Make it a step, or raise ` +
            "workflowRun.idleTimeoutMs of the worker, then retry the run.";
    default:
      return stall satisfies never;
  }
}

function nameOf({ type, name, until }: Wait): string {
  if (type === "retry") return `${name ?? "a task"}${until === null ? "" : ` at ${moment(until)}`}`;
  const deadline = until === null ? "" : ` until ${moment(until)}`;
  return `${name === undefined ? type : `${type} ${name}`}${deadline}`;
}

export function shard({ shardKey }: Run): string {
  return shardKey === null ? "" : ` in shard ${shardKey}`;
}
