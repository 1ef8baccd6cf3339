/** What every commit must keep, of rows, by the checker's own idea of who holds what. */

import { resultAddress } from "@aikirun/lib/internal";
import type { Entry, RunId } from "@aikirun/lib/protocol";
import type { Arrivals, Run } from "../../packages/server/src/core/run.ts";
import { wholeOf } from "../../packages/server/src/core/unread.ts";
import type { Circumstances } from "./circumstances.ts";
import type { Commit, RowChange } from "./mirror.ts";
import type { Stalls } from "./stalls.ts";

interface RunHolder {
  session: string;
  worker: string;
}

/** Who held a run under which fence. */
export class Holders {
  readonly #holders = new Map<string, RunHolder>();

  of(runId: RunId, fence: number): RunHolder | undefined {
    return this.#holders.get(`${runId} ${fence}`);
  }

  /** False when another held it under the same fence. */
  take(runId: RunId, fence: number, holder: RunHolder): boolean {
    const key = `${runId} ${fence}`;
    const before = this.#holders.get(key) ?? holder;
    this.#holders.set(key, before);
    return before.session === holder.session;
  }
}

export function rowRules(around: Circumstances, holders: Holders, stalls: Stalls): (commit: Commit) => void {
  const losses = new Losses(around);
  return (commit) => {
    for (const change of commit.changes) {
      trace(around, commit, change);
      finality(around, change);
      tenancy(around, change, commit, holders);
      alarm(around, change, commit);
      waking(around, change);
      parenthood(around, change, commit);
      orphans(around, change, commit);
      losses.judge(change, commit);
      stalls.judge(change);
    }
  };
}

/** Whether the holder of a running run lost it other than by its own report. */
export function isLoss({ before, after }: RowChange): boolean {
  if (before?.state.status !== "running") return false;
  const { session, confirmed } = before.state;
  // Who never heard that it holds a run may claim it again.
  const isSame = after.fence === before.fence || !confirmed;
  const isHeld = after.state.status === "running" && after.state.session === session && isSame;
  const isFinal = isOver(after);
  return !isHeld && !isFinal && !isReported(before, after);
}

/** Whether a report changed the row. A report's id is unique under its fence. */
function isReported(before: Run | null, { reported }: Run): boolean {
  const last = before?.reported;
  return reported !== null && (reported.reportId !== last?.reportId || reported.fence !== last.fence);
}

/** A report of any run, under any fence. */
export function reportKey(runId: RunId, fence: number, reportId: string): string {
  return `${runId} ${fence} ${reportId}`;
}

export function isOver({ state }: Run): boolean {
  return state.status === "completed" || state.status === "failed" || state.status === "cancelled";
}

function trace({ world }: Circumstances, { server }: Commit, { before, after }: RowChange): void {
  const from = before === null ? "new" : before.state.status;
  const { fence, revision, inbox } = after;
  const due = after.dueAt === null ? "never" : after.dueAt - world.now;
  const name = world.names.of(after.id);
  const by = after.state.status === "running" ? ` by ${after.state.worker}` : "";
  world.trace(
    `${server} commits ${name} ${from} -> ${after.state.status}${by} r${revision} f${fence} i${inbox} due ${due}`,
  );
}

/** R2, promise 1. */
function finality({ world, ledger, cancelled, mirror }: Circumstances, { before, after }: RowChange): void {
  const name = world.names.of(after.id);
  if (before !== null) {
    if (after.revision <= before.revision || after.fence < before.fence) {
      world.violate("R2", `${name} went from revision ${before.revision} to ${after.revision}`);
    }
    if (isOver(before) && JSON.stringify(before.state) !== JSON.stringify(after.state)) {
      world.violate("R2", `${name} was ${before.state.status} and became ${after.state.status}`);
    }
    if (isOver(before)) return;
  }
  const { state } = after;
  if (state.status === "completed") {
    const output: unknown = state.output === undefined ? undefined : JSON.parse(wholeOf(state.output, after.id));
    if (!ledger.outputs.has(`${after.id} ${after.attempt} ${output}`)) {
      world.violate(
        "P1",
        `${name} completed with ${state.output}, which no handler of attempt ${after.attempt} returned`,
      );
    }
  }
  if (state.status === "cancelled" && !cancelled.has(after.id)) {
    const parent = after.parent === null ? undefined : mirror.runs.get(after.parent.id);
    if (parent === undefined || parent.state.status === "completed") {
      world.violate("P1", `${name} was cancelled, and nobody asked for that`);
    }
  }
}

/** R4: a lease ends by its holder's report, by the run's end, or by its time. */
function tenancy(around: Circumstances, change: RowChange, { now }: Commit, holders: Holders): void {
  const { world } = around;
  const { before, after } = change;
  const name = world.names.of(after.id);
  if (after.state.status === "running") {
    const { session, worker } = after.state;
    if (!holders.take(after.id, after.fence, { session, worker })) {
      world.violate("R4", `${name} has two holders under fence ${after.fence}`);
    }
  }
  const hasLeft = before?.state.status === "running" && around.leaving.has(before.state.session);
  if (isLoss(change) && before?.state.status === "running" && before.state.leaseUntil > now && !hasLeft) {
    world.violate("R4", `${name} was taken from its holder ${before.state.leaseUntil - now} ms before its lease ended`);
  }
  // Workers that are replaced by a deployment leave their runs behind.
  if (around.isGentle && !around.hasDeployed() && isLoss(change)) {
    world.violate("W4", `${name} was lost by its worker, and nothing had happened to it`);
  }
  const { reported } = after;
  if (reported !== null && isReported(before, after)) {
    const fences = [before?.fence, after.fence];
    if (!fences.includes(reported.fence) && !(before !== null && reported.fence > before.fence)) {
      world.violate("R4", `${name} took a report under fence ${reported.fence}, though it is at ${before?.fence}`);
    }
  }
}

/** R5: something will move the run, or it says what it waits for. */
function alarm(around: Circumstances, { after }: RowChange, { now, entries }: Commit): void {
  const { state, dueAt, waits, timeoutAt } = after;
  if (isOver(after)) return;
  const { world } = around;
  const violate = (what: string) => world.violate("R5", `${world.names.of(after.id)} is ${state.status} and ${what}`);
  if (state.status === "paused" || state.status === "stalled") return;
  const deadlines = waits.flatMap(({ until }) => until ?? []);
  if (timeoutAt !== null) deadlines.push(timeoutAt);
  if (state.status === "running") deadlines.push(state.leaseUntil);
  if (state.status === "scheduled") deadlines.push(state.at);
  const first = Math.min(...deadlines);
  if (deadlines.length > 0 && (dueAt === null || dueAt > first)) violate(`due at ${dueAt}, after ${first}`);
  if (dueAt !== null) return;
  if (state.status === "queued" || state.status === "running" || state.status === "scheduled") {
    violate("nothing will move it");
    return;
  }
  const recorded = [...around.mirror.journal(after.id), ...entries.filter(({ runId }) => runId === after.id)];
  const ended = new Set(recorded.map(({ attempt, address }) => `${attempt} ${address}`));
  const hasChild = recorded.some(
    ({ value, attempt, address }) => value.type === "started" && !ended.has(`${attempt} ${resultAddress(address)}`),
  );
  if (!waits.some(({ type }) => type === "event") && !hasChild) violate(`waits for nothing, since ${now}`);
}

/** How many arrivals no wait holds. */
export function unboundOf({ arrived, taken, returned = [] }: Arrivals = { arrived: 0, taken: 0 }): number {
  return arrived - taken + returned.length;
}

/** I11: nobody waits for an event that is there. */
function waking({ world }: Circumstances, { after }: RowChange): void {
  if (isOver(after)) return;
  for (const { type, name = "" } of after.waits) {
    const unbound = unboundOf(after.events.get(name));
    if (type === "event" && unbound > 0) {
      world.violate("R6", `${world.names.of(after.id)} waits for ${name}, of which ${unbound} are unbound`);
    }
  }
}

/** A child's end and its parent's knowledge of it are one commit. */
function parenthood(
  { world, mirror }: Circumstances,
  { before, after }: RowChange,
  { changes, entries }: Commit,
): void {
  const { parent } = after;
  if (parent === null || !isOver(after) || (before !== null && isOver(before))) return;
  const row = changes.find((change) => change.after.id === parent.id)?.before ?? mirror.runs.get(parent.id);
  if (row === undefined || isOver(row)) return;
  const address = resultAddress(parent.address);
  const ended = changes.some((change) => change.after.id === parent.id && isOver(change.after));
  if (!ended && !entries.some((entry) => entry.runId === parent.id && entry.address === address)) {
    world.violate("CHILD", `${world.names.of(after.id)} is ${after.state.status}, and its parent was not told`);
  }
}

/** I13: the children of a run that failed or was cancelled end with it. */
function orphans({ world, mirror }: Circumstances, { before, after }: RowChange, { changes }: Commit): void {
  const isEnd = isOver(after) && !(before !== null && isOver(before));
  if (!isEnd || after.state.status === "completed") return;
  const ended = new Set(changes.flatMap((change) => (isOver(change.after) ? [change.after.id] : [])));
  for (const child of mirror.runs.values()) {
    const follows = child.parent?.id === after.id && child.options.onParentEnd !== "abandon" && !isOver(child);
    if (follows && !ended.has(child.id)) {
      world.violate(
        "I13",
        `${world.names.of(after.id)} is ${after.state.status}, and ${world.names.of(child.id)} goes on`,
      );
    }
  }
}

function isRecovery({ runId, value }: Entry, id: RunId): boolean {
  return runId === id && value.type === "marked" && value.mark === "recovered";
}

/** R9: leases lost in a row, as the checker counts them. */
class Losses {
  readonly #around: Circumstances;
  readonly #inRow = new Map<RunId, number>();

  constructor(around: Circumstances) {
    this.#around = around;
  }

  judge(change: RowChange, { entries, now }: Commit): void {
    const { world, maxCrashes, releases, leaving } = this.#around;
    const { before, after } = change;
    const { id, state } = after;
    const name = world.names.of(id);
    let losses = this.#inRow.get(id) ?? 0;
    const { reported } = after;
    const isNew = reported !== null && isReported(before, after);
    // The server itself hands back what it claimed for a caller that has gone.
    const isUnanswered = isNew && reported.reportId.startsWith("unanswered:");
    const said = isNew ? releases.get(reportKey(id, reported.fence, reported.reportId)) : undefined;
    const release = isUnanswered ? "unanswered" : said;
    const isAlive = isNew
      ? release === undefined
      : entries.some((entry) => entry.runId === id && entry.worker !== undefined);
    if (isAlive || before?.state.status === "stalled") losses = 0;
    if (isLoss(change) && before?.state.status === "running" && before.state.confirmed) {
      // Before a new server ends leases, a session may leave although its lease is over.
      const isEnded = before.state.leaseUntil <= now && entries.some((entry) => isRecovery(entry, id));
      const hasLeft = leaving.has(before.state.session) && !isEnded;
      if (!hasLeft) losses += 1;
    }
    this.#inRow.set(id, losses);
    if (state.status !== "stalled") {
      if (losses > maxCrashes && !isOver(after))
        world.violate("R9", `${name} lost ${losses} leases in a row and goes on`);
    } else if (state.reason === "crash_loop" && losses <= maxCrashes && before?.state.status !== "stalled") {
      world.violate("R9", `${name} is stalled after ${losses} losses in a row of ${maxCrashes} allowed`);
    }
  }
}
