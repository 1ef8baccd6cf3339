/** Rules for the rows of every commit. The checker records by itself who holds each run. */

import { resultAddress } from "@aikirun/lib/internal";
import type { Entry, RunId } from "@aikirun/lib/protocol";
import type { Arrivals, Run } from "../../packages/server/src/core/run.ts";
import { wholeOf } from "../../packages/server/src/core/unread.ts";
import type { Commit, RowChange } from "./mirror.ts";
import type { RuleContext } from "./rule-context.ts";
import type { Stalls } from "./stalls.ts";

interface RunHolder {
  session: string;
  worker: string;
}

/** The holder of each run under each fence. */
export class Holders {
  readonly #holders = new Map<string, RunHolder>();

  of(runId: RunId, fence: number): RunHolder | undefined {
    return this.#holders.get(`${runId} ${fence}`);
  }

  /** Returns false if another session held the run under the same fence. */
  take(runId: RunId, fence: number, holder: RunHolder): boolean {
    const key = `${runId} ${fence}`;
    const before = this.#holders.get(key) ?? holder;
    this.#holders.set(key, before);
    return before.session === holder.session;
  }
}

export function rowRules(context: RuleContext, holders: Holders, stalls: Stalls): (commit: Commit) => void {
  const losses = new Losses(context);
  return (commit) => {
    for (const change of commit.changes) {
      trace(context, commit, change);
      checkFinalState(context, change);
      checkHolder(context, change, commit, holders);
      checkDue(context, change, commit);
      checkEventWaits(context, change);
      checkParent(context, change, commit);
      checkChildren(context, change, commit);
      losses.check(change, commit);
      stalls.check(change);
    }
  };
}

/** Whether the holder of a running run lost it without its own report. */
export function isLoss({ before, after }: RowChange): boolean {
  if (before?.state.status !== "running") return false;
  const { session, confirmed } = before.state;
  // A session that got no reply to its claim may claim the run again.
  const isSame = after.fence === before.fence || !confirmed;
  const isHeld = after.state.status === "running" && after.state.session === session && isSame;
  const isFinal = isOver(after);
  return !isHeld && !isFinal && !isReported(before, after);
}

/** Whether a report changed the row. The id of a report is unique under its fence. */
function isReported(before: Run | null, { reported }: Run): boolean {
  const last = before?.reported;
  return reported !== null && (reported.reportId !== last?.reportId || reported.fence !== last.fence);
}

/** Identifies a report of any run under any fence. */
export function reportKey(runId: RunId, fence: number, reportId: string): string {
  return `${runId} ${fence} ${reportId}`;
}

export function isOver({ state }: Run): boolean {
  return state.status === "completed" || state.status === "failed" || state.status === "cancelled";
}

function trace({ world }: RuleContext, { server }: Commit, { before, after }: RowChange): void {
  const from = before === null ? "new" : before.state.status;
  const { fence, revision, inbox } = after;
  const due = after.dueAt === null ? "never" : after.dueAt - world.now;
  const name = world.names.of(after.id);
  const by = after.state.status === "running" ? ` by ${after.state.worker}` : "";
  world.trace(
    `${server} commits ${name} ${from} -> ${after.state.status}${by} r${revision} f${fence} i${inbox} due ${due}`,
  );
}

/** `revision` and `fence` only increase, and a final state never changes. Only its handler or a user ends a run. */
function checkFinalState({ world, ledger, cancelled, mirror }: RuleContext, { before, after }: RowChange): void {
  const name = world.names.of(after.id);
  if (before !== null) {
    if (after.revision <= before.revision || after.fence < before.fence) {
      world.violate("FINAL_STATE", `${name} went from revision ${before.revision} to ${after.revision}`);
    }
    if (isOver(before) && JSON.stringify(before.state) !== JSON.stringify(after.state)) {
      world.violate("FINAL_STATE", `${name} was ${before.state.status} and became ${after.state.status}`);
    }
    if (isOver(before)) return;
  }
  const { state } = after;
  if (state.status === "completed") {
    const output: unknown = state.output === undefined ? undefined : JSON.parse(wholeOf(state.output, after.id));
    if (!ledger.outputs.has(`${after.id} ${after.attempt} ${output}`)) {
      world.violate(
        "RESULT",
        `${name} completed with ${state.output}, which no handler of attempt ${after.attempt} returned`,
      );
    }
  }
  if (state.status === "cancelled" && !cancelled.has(after.id)) {
    const parent = after.parent === null ? undefined : mirror.runs.get(after.parent.id);
    if (parent === undefined || parent.state.status === "completed") {
      world.violate("FINAL_STATE", `${name} was cancelled without a request`);
    }
  }
}

/** A lease ends by a report of its holder, by the end of the run, or when it expires. */
function checkHolder(context: RuleContext, change: RowChange, { now }: Commit, holders: Holders): void {
  const { world } = context;
  const { before, after } = change;
  const name = world.names.of(after.id);
  if (after.state.status === "running") {
    const { session, worker } = after.state;
    if (!holders.take(after.id, after.fence, { session, worker })) {
      world.violate("HOLDER", `${name} has two holders under fence ${after.fence}`);
    }
  }
  const hasLeft = before?.state.status === "running" && context.leaving.has(before.state.session);
  if (isLoss(change) && before?.state.status === "running" && before.state.leaseUntil > now && !hasLeft) {
    world.violate(
      "HOLDER",
      `${name} was taken from its holder ${before.state.leaseUntil - now} ms before its lease expired`,
    );
  }
  // A deployment kills workers, which then lose their runs.
  if (context.isGentle && !context.hasDeployed() && isLoss(change)) {
    world.violate("LOST_LEASE", `${name} was lost by its worker, although no fault explains it`);
  }
  const { reported } = after;
  if (reported !== null && isReported(before, after)) {
    const fences = [before?.fence, after.fence];
    if (!fences.includes(reported.fence) && !(before !== null && reported.fence > before.fence)) {
      world.violate(
        "HOLDER",
        `${name} accepted a report under fence ${reported.fence}, although its fence is ${before?.fence}`,
      );
    }
  }
}

/** A run is due by its first deadline, or waits for an event or a child. */
function checkDue(context: RuleContext, { after }: RowChange, { now, entries }: Commit): void {
  const { state, dueAt, waits, timeoutAt } = after;
  if (isOver(after)) return;
  const { world } = context;
  const violate = (what: string) =>
    world.violate("STUCK_RUN", `${world.names.of(after.id)} is ${state.status} and ${what}`);
  if (state.status === "paused" || state.status === "stalled") return;
  const deadlines = waits.flatMap(({ until }) => until ?? []);
  if (timeoutAt !== null) deadlines.push(timeoutAt);
  if (state.status === "running") deadlines.push(state.leaseUntil);
  if (state.status === "scheduled") deadlines.push(state.at);
  const first = Math.min(...deadlines);
  if (deadlines.length > 0 && (dueAt === null || dueAt > first)) violate(`due at ${dueAt}, after ${first}`);
  if (dueAt !== null) return;
  if (state.status === "queued" || state.status === "running" || state.status === "scheduled") {
    violate("has no timer");
    return;
  }
  const recorded = [...context.mirror.journal(after.id), ...entries.filter(({ runId }) => runId === after.id)];
  const ended = new Set(recorded.map(({ attempt, address }) => `${attempt} ${address}`));
  const hasChild = recorded.some(
    ({ value, attempt, address }) => value.type === "started" && !ended.has(`${attempt} ${resultAddress(address)}`),
  );
  if (!waits.some(({ type }) => type === "event") && !hasChild) violate(`waits for nothing, since ${now}`);
}

/** The number of events that no wait has received. */
export function unboundOf({ arrived, taken, returned = [] }: Arrivals = { arrived: 0, taken: 0 }): number {
  return arrived - taken + returned.length;
}

/** No run waits for an event that it has. */
function checkEventWaits({ world }: RuleContext, { after }: RowChange): void {
  if (isOver(after)) return;
  for (const { type, name = "" } of after.waits) {
    const unbound = unboundOf(after.events.get(name));
    if (type === "event" && unbound > 0) {
      world.violate("MISSED_EVENT", `${world.names.of(after.id)} waits for ${name}, although ${unbound} have arrived`);
    }
  }
}

/** The commit that ends a child also records the end in its parent. */
function checkParent({ world, mirror }: RuleContext, { before, after }: RowChange, { changes, entries }: Commit): void {
  const { parent } = after;
  if (parent === null || !isOver(after) || (before !== null && isOver(before))) return;
  const row = changes.find((change) => change.after.id === parent.id)?.before ?? mirror.runs.get(parent.id);
  if (row === undefined || isOver(row)) return;
  const address = resultAddress(parent.address);
  const ended = changes.some((change) => change.after.id === parent.id && isOver(change.after));
  if (!ended && !entries.some((entry) => entry.runId === parent.id && entry.address === address)) {
    world.violate(
      "CHILD",
      `${world.names.of(after.id)} is ${after.state.status}, but its parent has no entry for that`,
    );
  }
}

/** The children of a run that failed or was cancelled end in the same commit. */
function checkChildren({ world, mirror }: RuleContext, { before, after }: RowChange, { changes }: Commit): void {
  const isEnd = isOver(after) && !(before !== null && isOver(before));
  if (!isEnd || after.state.status === "completed") return;
  const ended = new Set(changes.flatMap((change) => (isOver(change.after) ? [change.after.id] : [])));
  for (const child of mirror.runs.values()) {
    const isOpenChild = child.parent?.id === after.id && child.options.onParentEnd !== "abandon" && !isOver(child);
    if (isOpenChild && !ended.has(child.id)) {
      world.violate(
        "CHILD",
        `${world.names.of(after.id)} is ${after.state.status}, but its child ${world.names.of(child.id)} continues`,
      );
    }
  }
}

function isRecovery({ runId, value }: Entry, id: RunId): boolean {
  return runId === id && value.type === "marked" && value.mark === "recovered";
}

/** A run is stalled after too many lost leases in a row, and only then. */
class Losses {
  readonly #context: RuleContext;
  readonly #inRow = new Map<RunId, number>();

  constructor(context: RuleContext) {
    this.#context = context;
  }

  check(change: RowChange, { entries, now }: Commit): void {
    const { world, maxCrashes, releases, leaving } = this.#context;
    const { before, after } = change;
    const { id, state } = after;
    const name = world.names.of(id);
    let losses = this.#inRow.get(id) ?? 0;
    const { reported } = after;
    const isNew = reported !== null && isReported(before, after);
    // The server itself releases runs that it claimed for a caller that no longer waits.
    const isUnanswered = isNew && reported.reportId.startsWith("unanswered:");
    const releaseReason = isNew ? releases.get(reportKey(id, reported.fence, reported.reportId)) : undefined;
    const release = isUnanswered ? "unanswered" : releaseReason;
    const isAlive = isNew
      ? release === undefined
      : entries.some((entry) => entry.runId === id && entry.worker !== undefined);
    if (isAlive || before?.state.status === "stalled") losses = 0;
    if (isLoss(change) && before?.state.status === "running" && before.state.confirmed) {
      // A session may leave after its lease has expired, as long as a new server has not ended the lease.
      const isEnded = before.state.leaseUntil <= now && entries.some((entry) => isRecovery(entry, id));
      const hasLeft = leaving.has(before.state.session) && !isEnded;
      if (!hasLeft) losses += 1;
    }
    this.#inRow.set(id, losses);
    if (state.status !== "stalled") {
      if (losses > maxCrashes && !isOver(after))
        world.violate("CRASH_COUNT", `${name} lost ${losses} leases in a row and is not stalled`);
    } else if (state.reason === "crash_loop" && losses <= maxCrashes && before?.state.status !== "stalled") {
      world.violate("CRASH_COUNT", `${name} is stalled after ${losses} losses in a row of ${maxCrashes} allowed`);
    }
  }
}
