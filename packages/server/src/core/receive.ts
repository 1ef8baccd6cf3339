/** What arrives from outside: events, and the ends of children. */

import { arrivalAddress, resultAddress } from "@aikirun/lib/internal";
import { countArrival, receivedBy, takeWait } from "./bind.ts";
import { arrive, change, type Draft, decided, draft, enqueue, isFinal, record, recordEnd, refuse } from "./draft.ts";
import type { Arrival, Decision, DecisionContext, Ended, Outline, Run, RunId, UnreadEnd, Value } from "./run.ts";
import { isUnread, wholeOf } from "./unread.ts";

export function receive(run: Run, arrival: Arrival, known: Outline[], moment: DecisionContext): Decision {
  const next = draft(run, moment);
  if (known.length > 0) {
    return decided(next);
  }
  // mutant: receive-after-end
  if (isFinal(run.state)) {
    return refuse("RUN_FINAL", `The run has ended (${run.state.status}) and receives nothing more.`);
  }
  switch (arrival.type) {
    case "event":
      receiveEvent(next, arrival);
      break;
    case "child":
      receiveChild(next, arrival);
      break;
    default:
      arrival satisfies never;
  }
  return decided(next);
}

function receiveEvent(next: Draft, { name, data, referenceId, signalId }: Extract<Arrival, { type: "event" }>): void {
  const address = arrivalAddress(name, referenceId ?? signalId); // mutant: arrival-address
  record(next, address, { type: "arrived", name, ...(data === undefined ? {} : { data }) }, { attempt: 0 });
  arrive(next);
  countArrival(next, name);
  const wait = takeWait(next, name);
  const value = wait === null ? null : receivedBy(next, name);
  if (wait !== null && value !== null) {
    recordEnd(next, wait, value);
    queueSuspended(next);
  }
}

function receiveChild(next: Draft, { address, outcome, runId, counted }: Extract<Arrival, { type: "child" }>): void {
  record(next, resultAddress(address), childValue(outcome, runId));
  arrive(next);
  const { waits, children, state } = next.run;
  const others = waits.filter((wait) => !(wait.type === "child" && wait.address.startsWith(`${address}/`)));
  change(next, { children: counted ? Math.max(0, children - 1) : children, waits: others });
  if (others.length < waits.length || ("children" in state && state.children > 0)) {
    queueSuspended(next);
  }
}

/** Queues a suspended run that has a new entry. In any other state the entry comes with the next claim or report. */
export function queueSuspended(next: Draft): void {
  const { state } = next.run;
  switch (state.status) {
    case "sleeping":
    case "awaiting_event":
    case "awaiting_child_workflow":
      enqueue(next, state.resumable);
      return;
    case "awaiting_retry":
      if (state.retryAt === null) {
        enqueue(next, state.resumable);
      }
      return;
    case "scheduled":
    case "queued":
    case "running":
    case "paused":
    case "stalled":
    case "completed":
    case "failed":
    case "cancelled":
      return;
    default:
      state satisfies never;
  }
}

/** The outcome of a child as its parent's journal records it; null while it has not ended. A large output is unread. */
export function childEnd({ id, state }: Pick<Run, "id" | "state">): Value | UnreadEnd | null {
  if (!isFinal(state)) {
    return null;
  }
  return state.status === "completed" && isUnread(state.output)
    ? { type: "unread", of: "returned", bytes: state.output.bytes, child: id }
    : childValue(state, id);
}

function childValue(outcome: Ended, runId: RunId): Value {
  switch (outcome.status) {
    case "completed":
      return { type: "returned", ...(outcome.output === undefined ? {} : { output: wholeOf(outcome.output, runId) }) };
    case "failed": {
      const message = `Child run ${runId} failed: ${outcome.error.message}`;
      return {
        type: "threw",
        error: { name: "ChildRunFailedError", code: "CHILD_RUN_FAILED", message, cause: outcome.error, runId },
      };
    }
    case "cancelled": {
      const message = `Child run ${runId} was cancelled${outcome.reason === undefined ? "" : `: ${outcome.reason}`}`;
      return { type: "threw", error: { name: "ChildRunFailedError", code: "CHILD_RUN_CANCELLED", message, runId } };
    }
    default:
      return outcome satisfies never;
  }
}
