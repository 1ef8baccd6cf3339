/** Reports of workers: facts to record, waits to open, children to start, and what happens to the run next. */

import { awaitedResult, present, withdrawnAddress } from "@aikirun/lib/internal";
import type { Address, CallSite, Next, OpenWait, Report, ReportedStall } from "@aikirun/lib/protocol";
import { receivedBy } from "./bind.ts";
import { startChildren } from "./children.ts";
import { fenced, holds, isVoid, returnToQueue, setPaused, stall } from "./claim.ts";
import {
  type Authorship,
  arrive,
  change,
  type Draft,
  decided,
  draft,
  end,
  record,
  recordEnd,
  recordedBy,
  refuse,
} from "./draft.ts";
import type {
  Command,
  Decision,
  DecisionContext,
  Outline,
  PauseRequest,
  Resumable,
  Run,
  State,
  SuspendedStatus,
  Value,
} from "./run.ts";
import { typeOf } from "./unread.ts";
import { withdraw, withdrawnBy } from "./withdraw.ts";

type ReportCommand = Extract<Command, { type: "report" }>;

/** How many addresses of unclaimed calls, or call sites of ambiguous calls, a stalled run keeps. Others are dropped. */
const keptInStall = 100;

export function report(run: Run, command: ReportCommand, moment: DecisionContext): Decision {
  const { report, session, worker } = command;
  const next = draft(run, moment);
  // mutant: same-report
  if (run.reported?.fence === report.fence && run.reported.reportId === report.reportId) {
    return decided(next);
  }
  if (isVoid(report.fence, moment) || !holds(run, session, report.fence)) {
    return fenced(run);
  }
  if (report.after > run.tail && report.next.type !== "release") {
    return refuse(
      "FENCED",
      `The worker has received entry ${report.after}, but the journal ends at ${run.tail}: commits were lost.`,
    );
  }
  const facts = factsOf(report);
  const fault = faultOf(report, facts);
  if (fault !== null) {
    return refuse("BAD_REQUEST", fault);
  }
  const known = new Map(command.known.map((entry) => [entry.address, entry]));
  const recorded = facts.filter(({ address }) => known.has(address));
  if (recorded.length > 0) {
    // By R3 the same facts are a repeat of a report that did not change the row; others come from a former holder.
    const same = recorded.length === facts.length && recorded.every((fact) => isSame(fact, known.get(fact.address)));
    return same ? decided(next) : refuse("FENCED", "The journal has other content at an address of this report.");
  }
  const asked = withSeqs(report, run.tail);
  recordFacts(next, asked, worker);
  startChildren(next, asked, command.taken ?? [], known);
  const withdrawn = withdrawnBy(asked);
  withdraw(next, withdrawn, known);
  const isOver = (wait: OpenWait) => withdrawn.has(wait.address) || isEnded(wait, known);
  if (openWaits(next, asked, isOver)) {
    settleCounts(next, report);
    noteExpected(next, report);
    applyNext(next, report, session);
    noteBuild(next, report);
  }
  if (next.touched) {
    change(next, { reported: { fence: report.fence, reportId: report.reportId } });
  }
  return decided(next);
}

/** What is wrong with the report itself, so that repeating it cannot help; null if nothing is. */
function faultOf({ entries, opens, starts }: Report, facts: readonly Fact[]): string | null {
  if (facts.length > 1 && new Set(facts.map(({ address }) => address)).size < facts.length) {
    return "Two facts of the report have one address; each is recorded at its own.";
  }
  const isBeyond = ({ callSite }: { callSite?: CallSite }) =>
    callSite !== undefined && -callSite.madeAfter > entries.length;
  return entries.some(isBeyond) || opens.some(isBeyond) || starts.some(isBeyond)
    ? `A negative madeAfter names an entry of the report, from -1 to -${entries.length}; it has no other.`
    : null;
}

/** Replaces every negative `madeAfter`, which names an entry of the report, by the `seq` that this entry gets. */
function withSeqs(report: Report, tail: number): Report {
  const resolved = <Item extends { callSite?: CallSite }>(item: Item): Item =>
    item.callSite === undefined || item.callSite.madeAfter >= 0
      ? item
      : { ...item, callSite: { ...item.callSite, madeAfter: tail - item.callSite.madeAfter } };
  const { entries, opens, starts } = report;
  const isRelative = ({ callSite }: { callSite?: CallSite }) => callSite !== undefined && callSite.madeAfter < 0;
  return entries.some(isRelative) || opens.some(isRelative) || starts.some(isRelative)
    ? { ...report, entries: entries.map(resolved), opens: opens.map(resolved), starts: starts.map(resolved) }
    : report;
}

function recordFacts(next: Draft, { entries }: Report, worker: string): void {
  for (const { address, value, startedAt, callSite } of entries) {
    const by: Authorship = { worker, startedAt, callSite };
    if (value.type === "retrying") {
      const { retryInMs, ...rest } = value;
      record(next, address, { ...rest, retryAt: next.moment.latest + retryInMs }, by);
    } else {
      record(next, address, value, by);
    }
  }
}

interface Fact {
  address: Address;
  value: Report["entries"][number]["value"] | Extract<Value, { type: "started" }>;
}

/** The entries that the report itself would record, in order. */
function factsOf({ entries, starts }: Report): Fact[] {
  return [
    ...entries,
    ...starts.map(({ address, spec }): Fact => ({ address, value: { type: "started", runId: spec.id } })),
  ];
}

function isSame({ value }: Fact, known: Outline | undefined): boolean {
  if (value.type === "started") {
    // The server decided whether the child starts, and as which run.
    return known?.value.type === "started" || known?.value.type === "threw";
  }
  if (known === undefined || typeOf(known) !== value.type) {
    return false;
  }
  // `retrying` is recorded with a time instead of a duration. A value that is not loaded has another size.
  return value.type === "retrying" || JSON.stringify(value) === JSON.stringify(known.value);
}

/** False if there would be too many: the run fails, because a refused report would only be repeated. */
function openWaits(next: Draft, { opens }: Report, isOver: (wait: OpenWait) => boolean): boolean {
  const { latest, settings } = next.moment;
  const waits = [...next.run.waits];
  const open = new Set(waits.map(({ address }) => address));
  for (const opened of opens) {
    const { address, type, name, callSite } = opened;
    if (open.has(address) || isOver(opened)) {
      continue;
    }
    open.add(address);
    const value = type === "event" && name !== undefined ? receivedBy(next, name) : null;
    const until = deadlineOf(opened, latest);
    if (value !== null || (until !== null && until <= latest)) {
      recordEnd(next, opened, value ?? { type: "elapsed" }); // mutant: event-or-deadline
      arrive(next);
    } else {
      waits.push({
        address,
        type,
        openedAt: next.moment.now,
        until,
        ...(name === undefined ? {} : { name }),
        ...(callSite === undefined ? {} : { callSite }),
      });
    }
  }
  if (waits.length > settings.maxOpenWaits) {
    const message =
      `The run has ${waits.length} waits open at once; ${settings.maxOpenWaits} are allowed. Wait for fewer at once, ` +
      "or withdraw the waits that are no longer needed: with a signal, or by run.race instead of Promise.race.";
    end(next, { status: "failed", error: { name: "AikiError", code: "TOO_MANY_WAITS", message } });
    return false;
  }
  if (waits.length > next.run.waits.length) {
    change(next, { waits });
  }
  return true;
}

/** Epoch milliseconds; null for a wait without a deadline. */
function deadlineOf({ durationMs, until }: OpenWait, latest: number): number | null {
  return durationMs === null ? (until ?? null) : latest + durationMs;
}

/** Whether the journal already has the result of the wait, or its withdrawal. */
function isEnded({ address, type }: OpenWait, known: ReadonlyMap<Address, Outline>): boolean {
  const isRecorded = known.has(address) || known.has(withdrawnAddress(address));
  return isRecorded || (type === "child" && known.has(awaitedResult(address)));
}

/** R9: a report shows that the worker is alive. */
function settleCounts(next: Draft, report: Report): void {
  const { crashes, lostLeases } = next.run;
  // mutant: crash-reset
  if (report.next.type !== "release" && (crashes > 0 || lostLeases > 0)) {
    change(next, { crashes: 0, lostLeases: 0 });
  }
}

/**
 * Notes which code last recorded the run. Most reports record facts without a change to the row: then the code that the
 * claim named is noted the next time the row is written.
 */
function noteBuild(next: Draft, report: Report): void {
  const { build, state, tail: after } = next.before;
  const code = state.status === "running" ? state.holderCode : undefined;
  const id = report.build ?? code?.id;
  const { entries, opens, starts } = report;
  const hasRecorded =
    entries.length + opens.length + starts.length > 0 || (code !== undefined && report.after > code.after);
  if (id === undefined || id === build?.id || !hasRecorded) {
    return;
  }
  if (id !== code?.id) {
    change(next, { build: recordedBy({ id, after }, build), state: withoutCode(next.run.state) });
  } else if (next.touched) {
    change(next, { build: recordedBy(code, build) });
  }
}

/** For a report that names other code than the claim. */
function withoutCode(state: State): State {
  if (state.status !== "running") {
    return state;
  }
  const { holderCode: _, ...rest } = state;
  return rest;
}

/** Keeps the recorded call that the replay waits for, since the first report that named it, until a report does not. */
function noteExpected(next: Draft, { expecting: call }: Report): void {
  const { state } = next.run;
  if (state.status === "running" && call !== state.expecting?.call) {
    const { expecting: _, ...rest } = state;
    const since = next.moment.now;
    change(next, { state: call === undefined ? rest : { ...rest, expecting: { call, since } } });
  }
}

function applyNext(next: Draft, { next: then, seen }: Report, session: string): void {
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
      returnToQueue(next, state.pause);
      return;
    case "stall":
      stall(next, shortened(then.stall));
      return;
    case "finish":
      finish(next, then.outcome, state.pause);
      return;
    default:
      then satisfies never;
  }
}

function shortened(why: ReportedStall): ReportedStall {
  switch (why.reason) {
    case "diverged":
      return {
        ...why,
        unclaimed: why.unclaimed.slice(0, keptInStall),
        ...present({ alsoNew: why.alsoNew?.slice(0, keptInStall) }),
      };
    case "ambiguous_call":
      return { ...why, places: why.places.slice(0, keptInStall) };
    case "schema_mismatch":
    case "idle":
      return why;
    default:
      return why satisfies never;
  }
}

function suspend(
  next: Draft,
  { children, mayBeBusyMs = 0 }: Extract<Next, { type: "suspend" }>,
  seen: number,
  session: string,
): void {
  const { run } = next;
  // R6: the worker has not received every entry. It keeps the run, and the answer brings the new entries.
  // mutant: inbox-seen
  if (run.inbox !== seen || run.state.status !== "running") {
    return;
  }
  const { pause, leaseMs } = run.state;
  if (children === 0 && run.waits.length === 0) {
    suspendOnNothing(next, run.state);
    return;
  }
  const resumable: Resumable = { session, fence: run.fence, tail: run.tail, attempt: run.attempt };
  const status = suspendedStatus(run, children);
  const { latest, settings } = next.moment;
  // If the worker counts as alive then, it has called the server after the last moment at which its handler was busy.
  const checkWorkerAt = latest + mayBeBusyMs + Math.max(settings.aliveMs, leaseMs);
  const suspension = { resumable, children, ...(mayBeBusyMs > 0 ? { checkWorkerAt } : {}) };
  const state: State =
    status === "awaiting_retry" ? { status, retryAt: null, ...suspension } : { status, ...suspension };
  change(next, { state });
  if (pause !== undefined) {
    setPaused(next, state, pause);
  }
}

/**
 * R5: a suspended run that waits for nothing would never continue. If the worker resumed it from its cache, the cached
 * execution may differ from the journal, so the run is replayed. After a replay the handler awaits nothing durable, so
 * the run is stalled.
 */
function suspendOnNothing(next: Draft, { resumable, pause }: Extract<State, { status: "running" }>): void {
  if (resumable === null) {
    stall(next, { reason: "idle", idleMs: 0 });
  } else {
    returnToQueue(next, pause);
  }
}

/** The first that applies: event, child, sleep, retry of a task. */
function suspendedStatus({ waits }: Run, children: number): SuspendedStatus {
  const types = new Set(waits.map(({ type }) => type));
  if (types.has("event")) {
    return "awaiting_event";
  }
  if (children > 0 || types.has("child")) {
    return "awaiting_child_workflow";
  }
  return types.has("sleep") ? "sleeping" : "awaiting_retry";
}

function finish(
  next: Draft,
  outcome: Extract<Next, { type: "finish" }>["outcome"],
  pause: PauseRequest | undefined,
): void {
  if (outcome.status === "completed" || outcome.retryInMs === null) {
    end(next, outcome.status === "completed" ? outcome : { status: "failed", error: outcome.error });
    return;
  }
  const { error, retryInMs } = outcome;
  const { attempt } = next.run;
  const retryAt = next.moment.latest + retryInMs;
  record(next, `attempt:#${attempt}`, { type: "marked", mark: "attempt_failed", error, retryAt });
  // A new attempt opens its own waits. A wait of the old attempt must not take an event.
  const state: State = { status: "awaiting_retry", retryAt, resumable: null, children: 0 };
  change(next, { attempt: attempt + 1, lastError: error, waits: [], state }); // mutant: retry-closes-waits
  if (pause !== undefined) {
    setPaused(next, state, pause);
  }
}
