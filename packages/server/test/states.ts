/** Runs in every state, and every command, for the table of the core's tests. */

import { uuid } from "@aikirun/testing/virtual-env";
import { decide } from "../src/core/decide.ts";
import type { Command, Decision, Run } from "../src/core/run.ts";
import {
  aRun,
  at,
  awaitingAttempt,
  awaitingChild,
  awaitingEvent,
  awaitingTask,
  childEnded,
  claimed,
  complete,
  diverged,
  error,
  event,
  eventWait,
  fail,
  go,
  kinds,
  later,
  now,
  paused,
  queued,
  report,
  retryWait,
  returned,
  running,
  scheduled,
  sleeping,
  sleeps,
  sleepWait,
  suspend,
} from "./runs.ts";

const parent = { id: uuid(9), address: "child:order:x#0" };

export const states: Record<string, Run> = {
  scheduled: aRun(scheduled),
  queued: aRun(queued),
  running: aRun(running()),
  /** Resumed from the worker's execution cache. */
  resumed: aRun(running({ resumable: { session: "session-1", fence: 2, tail: 4, attempt: 1 } })),
  unconfirmed: aRun(running({ confirmed: false })),
  pausing: aRun(running({ pause: {} })),
  sleeping: aRun(sleeping, { waits: [sleepWait] }),
  awaiting_event: aRun(awaitingEvent, { waits: [eventWait] }),
  awaiting_child_workflow: aRun(awaitingChild, { children: 1 }),
  awaiting_retry: aRun(awaitingAttempt, { attempt: 2, lastError: error }),
  awaiting_task: aRun(awaitingTask, { waits: [retryWait] }),
  paused_scheduled: aRun(paused(scheduled)),
  paused_queued: aRun(paused(queued)),
  paused_sleeping: aRun(paused(sleeping), { waits: [sleepWait] }),
  paused_event: aRun(paused(awaitingEvent), { waits: [eventWait] }),
  paused_child: aRun(paused(awaitingChild), { children: 1 }),
  paused_retry: aRun(paused(awaitingAttempt), { attempt: 2, lastError: error }),
  paused_task: aRun(paused(awaitingTask), { waits: [retryWait] }),
  crash_loop: aRun({ status: "stalled", reason: "crash_loop", crashes: 3 }, { crashes: 3 }),
  diverged: aRun({ status: "stalled", ...diverged }),
  completed: aRun({ status: "completed" }, { parent }),
  failed: aRun({ status: "failed", error }, { parent }),
  cancelled: aRun({ status: "cancelled" }, { parent }),
  /** Ended, with children that must still be cancelled. */
  failed_children: aRun({ status: "failed", error }, { children: 2 }),
};

const signalled = { signalId: "signal-1", known: [] };

function again(session: string, claimId: string): Command {
  return { type: "claim", claim: { claimId: "c", session, worker: "w", leaseMs: 90_000, repeats: ["lost", claimId] } };
}

export const commands: Record<string, Command> = {
  tick: { type: "tick" },
  claim: claimed,
  reclaim: { type: "claim", claim: { claimId: "c", session: "session-1", worker: "w", leaseMs: 90_000, reclaim: 3 } },
  "reclaim of another session": {
    type: "claim",
    claim: { claimId: "c", session: "session-2", worker: "w", leaseMs: 90_000, reclaim: 3 },
  },
  "claim again": again("session-1", "claim-1"),
  "claim again of another session": again("session-2", "claim-1"),
  "claim again of another claim": again("session-1", "claim-0"),
  renew: { type: "renew", session: "session-1", fence: 3, leaseMs: 90_000 },
  "renew under an old fence": { type: "renew", session: "session-1", fence: 2, leaseMs: 90_000 },
  leave: { type: "leave", session: "session-1" },
  "leave of another session": { type: "leave", session: "session-2" },
  "report continue": report(go, { entries: [returned("task:a#0")] }),
  "report continue under an old fence": report(go, { fence: 2 }),
  "report suspend": report(suspend, { opens: [sleeps(500)] }),
  "report suspend before new entries": report(suspend, { seen: 1, entries: [returned("task:a#0")] }),
  "report suspend on nothing": report(suspend),
  "report release": report({ type: "release", reason: "shutdown" }),
  "report stall": report({ type: "stall", stall: diverged }),
  "report finish completed": report(complete, { entries: [returned("task:a#0")] }),
  "report finish failed": report(fail),
  "report finish to retry": report({
    type: "finish",
    outcome: { status: "failed", error, retryInMs: 700 },
  }),
  "receive event": event("paid"),
  "receive child": childEnded(),
  cancel: { type: "cancel", ...signalled },
  pause: { type: "pause", ...signalled },
  resume: { type: "resume", ...signalled },
  wake: { type: "wake", ...signalled },
  retry: { type: "retry", newRunId: uuid(5), ...signalled },
  orphan: { type: "orphan" },
  childless: { type: "childless" },
};

/** Decides a tick when the run is due, and other commands before. */
export function decideAt(command: Command, run: Run): Decision {
  return decide(run, command, at(command.type === "tick" ? Math.max(later, run.dueAt ?? 0) : now));
}

/** The decision in one line: the new status, the recorded entries and the effects. */
export function describeDecision(run: Run, decision: Decision): string {
  if (!decision.ok) {
    return decision.code;
  }
  const { run: after, entries, effects } = decision;
  const recorded = kinds(entries).map((kind) => ` +${kind}`);
  const done = effects.map((effect) => (effect.type === "send" ? ` >send ${effect.command.type}` : ` >${effect.type}`));
  if (after.revision === run.revision) {
    return ["same", ...recorded, ...done].join("");
  }
  return [stateOf(after), ...recorded, ...done].join("");
}

function stateOf({ state }: Run): string {
  switch (state.status) {
    case "paused":
      return `paused(${state.interrupted.status})`;
    case "running":
      return `running${state.confirmed ? "" : " unconfirmed"}${state.pause !== undefined ? " pausing" : ""}`;
    case "stalled":
      return `stalled(${state.reason})`;
    default:
      return state.status;
  }
}
