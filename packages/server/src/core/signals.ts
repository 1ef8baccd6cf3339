/** Signals from callers. Each records an entry at an address with the signal's id, so a repeat changes nothing. */

import { present, signalAddress } from "@aikirun/lib/internal";
import { setPaused } from "./claim.ts";
import {
  arrive,
  change,
  type Draft,
  decided,
  draft,
  end,
  enqueue,
  isFinal,
  record,
  recordEnd,
  refuse,
} from "./draft.ts";
import { queueSuspended } from "./receive.ts";
import type {
  Decision,
  DecisionContext,
  Interrupted,
  Mark,
  Outline,
  PauseRequest,
  Payload,
  Run,
  RunId,
} from "./run.ts";
import { retryOf } from "./start.ts";
import { wholeOf } from "./unread.ts";

interface Signalled {
  signalId: string;
  /** Who sent the signal, for the record. */
  by?: string;
  known: Outline[];
}

export function cancel(run: Run, command: Signalled & { reason?: string }, moment: DecisionContext): Decision {
  const next = draft(run, moment);
  if (command.known.length > 0 || run.state.status === "cancelled") {
    return decided(next);
  }
  // mutant: cancel-after-end
  if (isFinal(run.state)) {
    return refuse("RUN_FINAL", `The run has already ended: ${run.state.status}.`);
  }
  const reason = present({ reason: command.reason });
  mark(next, command, { mark: "cancelled", ...reason });
  end(next, { status: "cancelled", ...reason });
  return decided(next);
}

/** The end of a parent that failed or was cancelled. */
export function orphan(run: Run, moment: DecisionContext): Decision {
  const next = draft(run, moment);
  if (isFinal(run.state)) {
    return refuse("RUN_FINAL", "The child has already ended.");
  }
  const reason = "Its parent failed or was cancelled.";
  record(next, "orphaned:#0", { type: "marked", mark: "cancelled", reason });
  end(next, { status: "cancelled", reason });
  return decided(next);
}

export function childless(run: Run, moment: DecisionContext): Decision {
  const next = draft(run, moment);
  if (!isFinal(run.state)) {
    return refuse("ILLEGAL_STATE", "Only a run that has ended can drop its children.");
  }
  if (run.children > 0) {
    change(next, { children: 0 });
  }
  return decided(next);
}

export function pause(run: Run, command: Signalled & { reason?: string }, moment: DecisionContext): Decision {
  const next = draft(run, moment);
  if (command.known.length > 0 || run.state.status === "paused") {
    return decided(next);
  }
  const { state } = run;
  if (isFinal(state)) {
    return refuse("RUN_FINAL", `The run has already ended: ${state.status}.`);
  }
  if (state.status === "stalled") {
    return refuse("ILLEGAL_STATE", "A stalled run cannot be paused. Retry or cancel it.");
  }
  const { by, reason } = command;
  const request: PauseRequest = present({ by, reason });
  mark(next, command, { mark: "pause_requested", ...present({ reason }) });
  if (state.status === "running") {
    // The worker receives the request, reports the work in flight and releases the run.
    change(next, { state: { ...state, pause: request } });
    arrive(next);
  } else {
    setPaused(next, state, request);
  }
  return decided(next);
}

export function resume(run: Run, command: Signalled, moment: DecisionContext): Decision {
  const next = draft(run, moment);
  if (command.known.length > 0) {
    return decided(next);
  }
  const { state } = run;
  if (state.status === "running" && state.pause !== undefined) {
    mark(next, command, { mark: "resumed" });
    const { pause: _, ...rest } = state;
    change(next, { state: rest });
    return decided(next);
  }
  if (state.status !== "paused") {
    return isFinal(state)
      ? refuse("RUN_FINAL", `The run has already ended: ${state.status}.`)
      : refuse("ILLEGAL_STATE", `Only a paused run can be resumed; this one is ${state.status}.`);
  }
  mark(next, command, { mark: "resumed" });
  const { interrupted, inbox } = state;
  if (interrupted.status === "queued") {
    enqueue(next, interrupted.resumable);
  } else {
    change(next, { state: replayedIfBusy(interrupted, moment) });
    if (run.inbox !== inbox) {
      queueSuspended(next);
    }
  }
  return decided(next);
}

/** During the pause the handler may have continued, but its worker could not claim the run: it is replayed soon. */
function replayedIfBusy(state: Interrupted, { now, settings }: DecisionContext): Interrupted {
  if (!("checkWorkerAt" in state) || state.checkWorkerAt === undefined) {
    return state;
  }
  return { ...state, resumable: null, checkWorkerAt: Math.min(state.checkWorkerAt, now + settings.aliveMs) };
}

export function wake(run: Run, command: Signalled, moment: DecisionContext): Decision {
  const next = draft(run, moment);
  if (command.known.length > 0) {
    return decided(next);
  }
  if (isFinal(run.state)) {
    return refuse("RUN_FINAL", `The run has already ended: ${run.state.status}.`);
  }
  mark(next, command, { mark: "woken" });
  return endDelays(next)
    ? decided(next)
    : refuse("ILLEGAL_STATE", `There is nothing to wake: the run is ${run.state.status} and has no open sleep.`);
}

export function retry(
  run: Run,
  command: Signalled & { newRunId: RunId; input?: Payload },
  moment: DecisionContext,
): Decision {
  const next = draft(run, moment);
  if (command.known.length > 0) {
    return decided(next);
  }
  const { state } = run;
  switch (state.status) {
    case "failed":
    case "cancelled":
      // R2: this run stays as it is. A new run reuses its results.
      next.effects.push({
        type: "start",
        run: retryOf(run, command.newRunId, inputOf(run, command), moment),
        reuse: run.id,
      });
      return decided(next);
    case "stalled":
      mark(next, command, { mark: "retried" });
      change(next, { crashes: 0, lostLeases: 0 });
      enqueue(next, null);
      return decided(next);
    case "awaiting_retry":
      mark(next, command, { mark: "retried" });
      endDelays(next);
      return decided(next);
    case "completed":
      return refuse("RUN_FINAL", "The run completed; there is nothing to retry.");
    case "scheduled":
    case "queued":
    case "running":
    case "paused":
    case "sleeping":
    case "awaiting_event":
    case "awaiting_child_workflow":
      return refuse(
        "ILLEGAL_STATE",
        `Only a failed, cancelled, stalled or awaiting_retry run can be retried; this one is ${state.status}.`,
      );
    default:
      return state satisfies never;
  }
}

function inputOf({ id, input }: Run, { input: read }: { input?: Payload }): Payload | null {
  return input === null ? null : wholeOf(read ?? input, id);
}

/** Ends open sleeps, the delay of a scheduled run, and delays of retries. Returns whether there was any. */
function endDelays(next: Draft): boolean {
  const { state, waits } = next.run;
  if (state.status === "scheduled") {
    enqueue(next, null);
    return true;
  }
  if (state.status === "awaiting_retry" && state.retryAt !== null) {
    enqueue(next, null);
    return true;
  }
  const retries = state.status === "awaiting_retry";
  const isOver = ({ type }: { type: string }) => type === "sleep" || (retries && type === "retry");
  const over = waits.filter(isOver);
  for (const wait of over) {
    recordEnd(next, wait, { type: "elapsed", early: true });
    arrive(next);
  }
  if (over.length > 0) {
    change(next, { waits: waits.filter((wait) => !isOver(wait)) });
    queueSuspended(next);
  }
  return over.length > 0;
}

function mark(next: Draft, { signalId, by }: Signalled, mark: Mark): void {
  record(next, signalAddress(signalId), { type: "marked", ...mark, ...present({ by }) }, { attempt: 0 });
}
