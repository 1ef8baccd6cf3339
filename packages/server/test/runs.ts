/** Complete runs and commands for tests of the core; a test sets only the fields that it is about. */

import type { NewEntry, Next, OpenWait, Report, ReportedStall } from "@aikirun/lib/protocol";
import { uuid } from "@aikirun/testing/virtual-env";
import { dueOf } from "../src/core/draft.ts";
import type {
  Command,
  Decision,
  DecisionContext,
  Interrupted,
  Outline,
  Run,
  Settings,
  State,
  Wait,
} from "../src/core/run.ts";

/** The time of decisions. */
export const now = 1_000_000;
/** The deadline of everything that the runs wait for. */
export const later = now + 1_000;

export const settings: Settings = {
  unconfirmedLeaseMs: 10_000,
  redeliverMs: 5_000,
  maxRedeliverMs: 300_000,
  maxCrashes: 2,
  maxOpenWaits: 5,
  aliveMs: 90_000,
};

/** The context of a decision in a server that started long ago. */
export function at(time: number, more: Partial<DecisionContext> = {}): DecisionContext {
  return { now: time, latest: time, bootAt: 0, fenceFloor: 0, settings, ...more };
}

export function aRun(state: State, more: Partial<Run> = {}): Run {
  const run: Run = {
    id: uuid(1),
    namespace: "default",
    name: "order",
    versionId: "1.0.0",
    shardKey: null,
    priority: 0,
    input: '"in"',
    options: {},
    referenceId: null,
    parent: null,
    createdAt: now - 60_000,
    updatedAt: now - 1_000,
    state,
    since: now - 1_000,
    waits: [],
    events: new Map(),
    timeoutAt: null,
    dueAt: null,
    revision: 7,
    fence: 3,
    inbox: 2,
    attempt: 1,
    build: null,
    crashes: 0,
    lostLeases: 0,
    children: 0,
    reported: null,
    lastError: null,
    tail: 4,
    ...more,
  };
  return { ...run, dueAt: dueOf(run, now) };
}

export const error = { name: "Error", message: "no" };
export const diverged: Extract<ReportedStall, { reason: "diverged" }> = {
  reason: "diverged",
  call: "task:b#0",
  unclaimed: ["task:a#0"],
};
const resumable = { session: "session-1", fence: 3, tail: 4, attempt: 1 };

export const scheduled: Interrupted = { status: "scheduled", at: later };
export const queued: Interrupted = { status: "queued", resumable: null, redeliveries: 0, redeliverAt: later };
export const sleeping: Interrupted = { status: "sleeping", resumable, children: 0 };
export const awaitingEvent: Interrupted = { status: "awaiting_event", resumable, children: 0 };
export const awaitingChild: Interrupted = { status: "awaiting_child_workflow", resumable, children: 1 };
/** Between two attempts of the run. */
export const awaitingAttempt: Interrupted = { status: "awaiting_retry", retryAt: later, resumable: null, children: 0 };
/** Between two tries of a task. */
export const awaitingTask: Interrupted = { status: "awaiting_retry", retryAt: null, resumable, children: 0 };

export function running(more: Partial<Extract<State, { status: "running" }>> = {}): State {
  return {
    status: "running",
    session: "session-1",
    worker: "worker-1",
    claimId: "claim-1",
    leaseMs: 90_000,
    leaseUntil: later,
    confirmed: true,
    resumable: null,
    ...more,
  };
}

export function paused(interrupted: Interrupted, inbox = 2): State {
  return { status: "paused", interrupted, inbox };
}

export const sleepWait: Wait = { address: "sleep:#0", type: "sleep", openedAt: now, until: later };
export const eventWait: Wait = { address: "event:paid#0", type: "event", name: "paid", openedAt: now, until: later };
export const retryWait: Wait = {
  address: "task:charge#0/1/retry",
  type: "retry",
  name: "charge",
  openedAt: now,
  until: later,
};
export const childAddress = "child:ship:abc#0";

/** A report of a worker that has received all entries; `more` overrides fields. */
export function report(next: Next, more: Partial<Report> & { session?: string; known?: Outline[] } = {}): Command {
  const { session = "session-1", known = [], ...fields } = more;
  const report: Report = {
    reportId: "report-1",
    runId: uuid(1),
    fence: 3,
    seen: 2,
    after: 4,
    entries: [],
    opens: [],
    starts: [],
    next,
    ...fields,
  };
  return { type: "report", session, worker: "worker-1", report, known };
}

export const go: Next = { type: "continue" };
export const suspend: Next = { type: "suspend", children: 0 };
export const complete: Next = { type: "finish", outcome: { status: "completed", output: '"out"' } };
export const fail: Next = { type: "finish", outcome: { status: "failed", error, retryInMs: null } };

export function returned(address: string, output = '"done"'): NewEntry {
  return { address, value: { type: "returned", output } };
}

export function sleeps(durationMs: number, address = "sleep:#9"): OpenWait {
  return { address, type: "sleep", durationMs };
}

export function awaits(name: string, durationMs: number | null = null, address = `event:${name}#9`): OpenWait {
  return { address, type: "event", name, durationMs };
}

export function awaitsChild(durationMs: number): OpenWait {
  return { address: `${childAddress}/wait#0`, type: "child", durationMs };
}

export function event(
  name: string,
  signalId = "signal-1",
  more: { referenceId?: string; data?: string } = {},
): Command {
  return { type: "receive", arrival: { type: "event", name, signalId, ...more }, known: [] };
}

export function childEnded(counted = true): Command {
  const arrival = {
    type: "child",
    address: childAddress,
    outcome: { status: "completed", output: '"shipped"' },
    runId: uuid(2),
    counted,
  } as const;
  return { type: "receive", arrival, known: [] };
}

export const claimed: Command = {
  type: "claim",
  claim: { claimId: "claim-2", session: "session-2", worker: "worker-2", leaseMs: 90_000 },
};

export function accepted(decision: Decision): Extract<Decision, { ok: true }> {
  if (!decision.ok) {
    throw new Error(`Refused: ${decision.code}: ${decision.message}`);
  }
  return decision;
}

/** The type of each entry's value, or its mark. */
export function kinds(entries: readonly Outline[]): string[] {
  return entries.map(({ value }) => (value.type === "marked" ? value.mark : value.type));
}
