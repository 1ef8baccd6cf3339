/** What a worker says of its run: facts to record, waits and children to open, and how it goes on. */

import { awaitedResult } from "@aikirun/lib";
import type { Address, Next, Report } from "@aikirun/lib/protocol";
import { receivedBy } from "./bind.ts";
import { crash, fenced, handBack, holds, park } from "./claim.ts";
import { arrive, change, type Draft, decided, draft, end, record, refuse } from "./draft.ts";
import type { Command, Decision, Entry, Held, Moment, ParkedStatus, Run, State, Value } from "./run.ts";
import { openChild } from "./start.ts";

type ReportCommand = Extract<Command, { type: "report" }>;

export function report(run: Run, command: ReportCommand, moment: Moment): Decision {
  const { report, session } = command;
  const next = draft(run, moment);
  if (run.reported?.fence === report.fence && run.reported.reportId === report.reportId) {
    return decided(next);
  }
  if (!holds(run, session, report.fence)) {
    return fenced(run);
  }
  const facts = factsOf(report);
  if (new Set(facts.map(({ address }) => address)).size < facts.length) {
    return refuse("BAD_REQUEST", "Two facts of the report have one address; each is recorded at its own.");
  }
  const known = new Map(command.known.map((entry) => [entry.address, entry]));
  const recorded = facts.filter(({ address }) => known.has(address));
  if (recorded.length > 0) {
    // The repeat of a report that left the row alone, or a ghost's: R3 tells them apart.
    const same = recorded.length === facts.length && recorded.every((fact) => isSame(fact, known.get(fact.address)));
    return same ? decided(next) : refuse("FENCED", "Something else is recorded at an address of this report.");
  }
  recordFacts(next, command);
  startChildren(next, report);
  if (openWaits(next, report, known)) {
    settleCounts(next, command);
    goOn(next, report, session);
  }
  if (next.touched) {
    change(next, { reported: { fence: report.fence, reportId: report.reportId } });
  }
  return decided(next);
}

function recordFacts(next: Draft, { report, worker }: ReportCommand): void {
  for (const { address, value, startedAt } of report.entries) {
    const by = startedAt === undefined ? { worker } : { worker, startedAt };
    if (value.type === "retrying") {
      const { error, retryInMs } = value;
      record(next, address, { type: "retrying", error, retryAt: next.moment.latest + retryInMs }, by);
    } else {
      record(next, address, value, by);
    }
  }
}

interface Fact {
  address: Address;
  value: Report["entries"][number]["value"] | Extract<Value, { type: "started" }>;
}

/** What the report itself would record, in order. */
function factsOf({ entries, starts }: Report): Fact[] {
  return [
    ...entries,
    ...starts.map(({ address, spec }): Fact => ({ address, value: { type: "started", runId: spec.id } })),
  ];
}

function isSame({ value }: Fact, known: Entry | undefined): boolean {
  if (known === undefined || known.value.type !== value.type) {
    return false;
  }
  // `retrying` was recorded with a moment instead of the duration.
  return value.type === "retrying" || JSON.stringify(value) === JSON.stringify(known.value);
}

function startChildren(next: Draft, { starts }: Report): void {
  for (const { address, spec } of starts) {
    record(next, address, { type: "started", runId: spec.id });
    next.effects.push({ type: "start", run: openChild(next.run, address, spec, next.moment), recall: null });
    change(next, { children: next.run.children + (spec.onParentEnd === "abandon" ? 0 : 1) });
  }
}

/** False when there would be too many, which ends the run: refusing the report would only bring it back. */
function openWaits(next: Draft, { opens }: Report, known: Map<string, Entry>): boolean {
  const { latest, settings } = next.moment;
  const waits = [...next.run.waits];
  const open = new Set(waits.map(({ address }) => address));
  for (const { address, type, name, durationMs } of opens) {
    if (open.has(address) || known.has(address) || (type === "child" && known.has(awaitedResult(address)))) {
      continue;
    }
    open.add(address);
    const value = type === "event" && name !== undefined ? receivedBy(next, name) : null;
    if (value !== null || (durationMs !== null && durationMs <= 0)) {
      record(next, address, value ?? { type: "elapsed" });
      arrive(next);
    } else {
      const until = durationMs === null ? null : latest + durationMs;
      waits.push(name === undefined ? { address, type, until } : { address, type, name, until });
    }
  }
  if (waits.length > settings.maxOpenWaits) {
    const message = `The run has ${waits.length} waits open at once; ${settings.maxOpenWaits} are allowed.`;
    end(next, { status: "failed", error: { name: "AikiError", code: "TOO_MANY_WAITS", message } });
    return false;
  }
  if (waits.length > next.run.waits.length) {
    change(next, { waits });
  }
  return true;
}

/** R9: a report shows that the worker lives. A row that is written anyway also confirms the lease. */
function settleCounts(next: Draft, { report }: ReportCommand): void {
  const { crashes, lapses } = next.run;
  if (report.next.type !== "release" && (crashes > 0 || lapses > 0)) {
    change(next, { crashes: 0, lapses: 0 });
  }
}

function goOn(next: Draft, { next: then, seen }: Report, session: string): void {
  const { state } = next.run;
  if (state.status !== "running") {
    return;
  }
  switch (then.type) {
    case "continue":
      if (next.touched) {
        change(next, { state: { ...state, confirmed: true, leaseUntil: next.moment.latest + state.leaseMs } });
      }
      return;
    case "suspend":
      suspend(next, then, seen, session);
      return;
    case "release":
      release(next, then, state.pauseRequested);
      return;
    case "diverged":
      record(next, `stalled:#${next.run.fence}`, { type: "marked", mark: "stalled", reason: "diverged" });
      change(next, {
        state: { status: "stalled", reason: "diverged", call: then.call, unclaimed: then.unclaimed.slice(0, 100) },
      });
      return;
    case "finish":
      finish(next, then.outcome, state.pauseRequested);
      return;
    default:
      then satisfies never;
  }
}

function suspend(next: Draft, { children }: Extract<Next, { type: "suspend" }>, seen: number, session: string): void {
  const { run } = next;
  // R6: something arrived that the worker has not seen. It stays in its hands, and the answer brings the news.
  if (run.inbox !== seen || run.state.status !== "running") {
    return;
  }
  // R5: it would wait for nothing, for ever. What hangs is treated like any other handler that hangs (R9).
  if (children === 0 && run.waits.length === 0) {
    crash(next, next.before.crashes + 1, run.state.pauseRequested);
    return;
  }
  const held: Held = { session, fence: run.fence, tail: run.tail, attempt: run.attempt };
  const { pauseRequested } = run.state;
  const status = parkedStatus(run, children);
  const state: State =
    status === "awaiting_retry" ? { status, retryAt: null, held, children } : { status, held, children };
  change(next, { state });
  if (pauseRequested) {
    park(next, state);
  }
}

/** Event before child before sleep before the retry of a task. */
function parkedStatus({ waits }: Run, children: number): ParkedStatus {
  const types = new Set(waits.map(({ type }) => type));
  if (types.has("event")) {
    return "awaiting_event";
  }
  if (children > 0 || types.has("child")) {
    return "awaiting_child_workflow";
  }
  return types.has("sleep") ? "sleeping" : "awaiting_retry";
}

function release(next: Draft, { reason }: Extract<Next, { type: "release" }>, pauseRequested: boolean): void {
  switch (reason) {
    case "idle":
      crash(next, next.run.crashes + 1, pauseRequested);
      return;
    case "shutdown":
    case "paused":
    case "unserved":
      handBack(next, pauseRequested);
      return;
    default:
      reason satisfies never;
  }
}

function finish(next: Draft, outcome: Extract<Next, { type: "finish" }>["outcome"], pauseRequested: boolean): void {
  if (outcome.status === "completed" || outcome.retryInMs === null) {
    end(next, outcome.status === "completed" ? outcome : { status: "failed", error: outcome.error });
    return;
  }
  const { error, retryInMs } = outcome;
  const { attempt } = next.run;
  const retryAt = next.moment.latest + retryInMs;
  record(next, `attempt:#${attempt}`, { type: "marked", mark: "attempt_failed", error, retryAt });
  // A new attempt opens its own waits: none of the old one may take an event from it.
  const state: State = { status: "awaiting_retry", retryAt, held: null, children: 0 };
  change(next, { attempt: attempt + 1, lastError: error, waits: [], state });
  if (pauseRequested) {
    park(next, state);
  }
}
