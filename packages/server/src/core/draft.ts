/** A decision while it is made: the changed run, the entries to record, and the effects. */

import type {
  Build,
  CallSite,
  Decision,
  DecisionContext,
  Effect,
  Ended,
  NewFact,
  Outcome,
  Refusal,
  Resumable,
  Run,
  State,
  Value,
  Wait,
} from "./run.ts";

export interface Draft {
  readonly before: Run;
  readonly moment: DecisionContext;
  /** A copy of `before` that this decision alone writes to. */
  readonly run: Run;
  readonly entries: NewFact[];
  readonly effects: Effect[];
  /** Whether the row must be written; entries alone leave it as it is. */
  touched: boolean;
}

export function draft(run: Run, moment: DecisionContext): Draft {
  return { before: run, moment, run: { ...run }, entries: [], effects: [], touched: false };
}

export function change(draft: Draft, fields: Partial<Run>): void {
  Object.assign(draft.run, fields);
  draft.touched = true;
}

export function decided(draft: Draft): Decision {
  const { before, run, moment, entries, effects, touched } = draft;
  if (touched || entries.length > 0) {
    run.updatedAt = timeOf(draft);
  }
  if (touched) {
    if (run.state.status !== before.state.status) {
      run.since = run.updatedAt;
    }
    noteRecorder(draft);
    run.revision = before.revision + 1;
    run.dueAt = dueOf(run, moment.now);
  }
  return { ok: true, run, entries, effects };
}

/** Once the code that a claim named has recorded an entry, it becomes `build`. Entries from outside do not count. */
function noteRecorder({ before, run }: Draft): void {
  const { state } = before;
  const code = state.status === "running" ? state.holderCode : undefined;
  if (code === undefined || run.build !== before.build) {
    return;
  }
  if (before.tail > code.after) {
    run.build = recordedBy(code, before.build);
  } else if (run.state.status === "running" && run.fence === before.fence && run.reported === before.reported) {
    run.state = { ...run.state, holderCode: { ...code, after: run.tail } };
  }
}

/** This code recorded the entries after this `seq`; other code recorded those before it. */
export function recordedBy({ id, after }: { id: string; after: number }, known: Build | null): Build {
  return id === known?.id ? known : { id, since: known === null ? 0 : after };
}

/**
 * How much older a decision may be than an entry that another transaction recorded meanwhile. A server may be blocked
 * between decision and write, and the database ends idle transactions only after 10 s. Milliseconds.
 */
export const maxDecisionAgeMs = 12_000;

/** The time of a run's entries does not go back, unless the database's clock was set back. */
function timeOf({ before, moment }: Draft): number {
  const isBehind = moment.now < before.updatedAt && moment.now + maxDecisionAgeMs >= before.updatedAt;
  return isBehind ? before.updatedAt : moment.now;
}

export function refuse(code: Refusal["code"], message: string): Refusal {
  return { ok: false, code, message };
}

/** The fields of an entry that say where it comes from. */
export interface Authorship {
  worker?: string | undefined;
  startedAt?: number | undefined;
  /** The durable call that the entry belongs to. */
  callSite?: CallSite | undefined;
  /** Arrivals and signals belong to no attempt: 0, so that a reference counts once for the whole run. */
  attempt?: 0;
}

export function record(draft: Draft, address: string, value: NewFact["value"], by: Authorship = {}): void {
  const { run } = draft;
  run.tail += 1;
  const attempt = by.attempt ?? run.attempt;
  const at = timeOf(draft);
  const entry: NewFact = { runId: run.id, seq: run.tail, address, attempt, at, fence: run.fence, value };
  if (by.worker !== undefined) {
    entry.worker = by.worker;
  }
  if (by.startedAt !== undefined) {
    entry.startedAt = by.startedAt;
  }
  if (by.callSite !== undefined) {
    entry.callSite = by.callSite;
  }
  draft.entries.push(entry);
}

/** Records how a wait ended, as part of the durable call that opened it. */
export function recordEnd(draft: Draft, { address, callSite }: Pick<Wait, "address" | "callSite">, value: Value): void {
  record(draft, address, value, { callSite });
}

/** Counts an entry from outside: a worker that has not received it cannot suspend the run (R6). */
export function arrive(draft: Draft): void {
  change(draft, { inbox: draft.run.inbox + 1 });
}

export function enqueue(draft: Draft, resumable: Resumable | null): void {
  const { now, latest, settings } = draft.moment;
  const { timeoutAt, options } = draft.run;
  change(draft, {
    state: { status: "queued", resumable, redeliveries: 0, redeliverAt: now + settings.redeliverMs },
    timeoutAt: timeoutAt ?? (options.timeoutMs === undefined ? null : latest + options.timeoutMs),
  });
  draft.effects.push({ type: "deliver", run: draft.run });
}

/** Ends the run: its parent receives the outcome, and its children are cancelled unless it completed. */
export function end(draft: Draft, outcome: Outcome): void {
  const { id, parent, children } = draft.run;
  change(draft, { state: outcome, waits: [], timeoutAt: null });
  // mutant: child-ended
  if (parent !== null) {
    const counted = draft.run.options.onParentEnd !== "abandon";
    const arrival = { type: "child", address: parent.address, outcome, runId: id, counted } as const;
    draft.effects.push({ type: "send", to: parent.id, command: { type: "receive", arrival, known: [] } });
  }
  if (outcome.status === "completed") {
    change(draft, { children: 0 });
  } else if (children > 0) {
    draft.effects.push({ type: "cancelChildren", of: id });
  }
}

export function isFinal(state: State): state is Ended {
  return state.status === "completed" || state.status === "failed" || state.status === "cancelled";
}

/**
 * R5: the earliest moment at which the clock must tick this run. A final run has one while children are left to cancel.
 */
export function dueOf(run: Run, now: number): number | null {
  const { state } = run;
  if (isFinal(state)) {
    return run.children > 0 ? now : null;
  }
  let due = run.timeoutAt ?? Number.POSITIVE_INFINITY;
  if (state.status !== "paused" && state.status !== "stalled") {
    due = Math.min(due, ownDeadline(state));
    for (const { until } of run.waits) {
      due = Math.min(due, until ?? due);
    }
  }
  return due === Number.POSITIVE_INFINITY ? null : due;
}

function ownDeadline(state: Exclude<State, Ended>): number {
  switch (state.status) {
    case "scheduled":
      return state.at;
    case "queued":
      return state.redeliverAt;
    case "running":
      return state.leaseUntil;
    case "awaiting_retry":
      return Math.min(state.retryAt ?? Number.POSITIVE_INFINITY, state.checkWorkerAt ?? Number.POSITIVE_INFINITY);
    case "sleeping":
    case "awaiting_event":
    case "awaiting_child_workflow":
      return state.checkWorkerAt ?? Number.POSITIVE_INFINITY;
    case "paused":
    case "stalled":
      return Number.POSITIVE_INFINITY;
    default:
      return state satisfies never;
  }
}
