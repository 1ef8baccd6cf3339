/** What a run waits for, since when, and what would move it, in sentences for people. */

import type { Address, Failure, LiveWorker, WhyLink, WhyReason } from "@aikirun/lib/protocol";
import { isFinal } from "../core/draft.ts";
import type { ExecutedTry, Run, State, Wait } from "../core/run.ts";
import { explain, type SuspendedState, shard, stalled, unboundSentence } from "./explanation.ts";
import { aboutSpan, counted, firstOf, moment, named, shortened } from "./phrases.ts";
import { unboundOf } from "./view.ts";
import { serves } from "./worker-registry.ts";

/** What is known besides the run. */
export interface Circumstances {
  /** The database's clock. Epoch milliseconds. */
  now: number;
  /** The live workers of the namespace. */
  workers: readonly LiveWorker[];
  /** The failed try before each wait for the next try of a task, by the address of the wait. */
  failed: ReadonlyMap<Address, FailedTry>;
  /** A child that the run waits for; null if none was found. */
  child: Run | null;
}

/** A try of a task that failed and that another one follows. */
export interface FailedTry {
  attempt: number;
  /** Absent if a worker recorded it that did not report this. */
  maxAttempts?: number;
  error: Failure;
}

export function linkOf(run: Run, known: Circumstances): WhyLink {
  const { id: runId, name, versionId, state } = run;
  const { reason, text, since = run.since, until = null } = causeOf(run, known);
  const ends = [until, isFinal(state) ? null : run.timeoutAt].filter((at) => at !== null);
  const link = { runId, name, versionId, status: state.status, reason, since };
  return {
    ...link,
    text: [text, ...timeoutSentence(run)].join(" "),
    until: ends.length > 0 ? Math.min(...ends) : null,
  };
}

interface Cause {
  reason: WhyReason;
  text: string;
  /** Absent: since the run has its status. */
  since?: number;
  /** Absent: the server does not move the run by itself. */
  until?: number | null;
}

function causeOf(run: Run, known: Circumstances): Cause {
  const { state, since } = run;
  const forSpan = `for ${aboutSpan(known.now - since)}`;
  const plain = (): string => explain(run, [], { isServed: () => true });
  switch (state.status) {
    case "scheduled":
      return {
        reason: "scheduled",
        text: `Starts in ${aboutSpan(state.at - known.now)}, at ${moment(state.at)}.`,
        until: state.at,
      };
    case "queued":
      return queued(run, known, forSpan);
    case "running":
      return running(run, state, known);
    case "paused":
      return { reason: "paused", text: `${plain()} It has been paused ${forSpan}.` };
    case "sleeping":
    case "awaiting_event":
    case "awaiting_child_workflow":
    case "awaiting_retry":
      return suspended(run, state, known);
    case "stalled":
      return { reason: state.reason, text: `Stalled ${forSpan}: ${stalled(state)}` };
    case "completed":
    case "failed":
    case "cancelled":
      return { reason: state.status, text: `${sentence(plain())} It ended ${aboutSpan(known.now - since)} ago.` };
    default:
      return state satisfies never;
  }
}

function queued(run: Run, { workers }: Circumstances, forSpan: string): Cause {
  const version = `${run.name}@${run.versionId}${shard(run)}`;
  const able = workers.filter((worker) => serves(worker, run));
  const lost = lostSentence(run);
  if (able.length === 0) {
    const cause = `no live worker serves ${version} (${servedOf(run, workers)})`;
    return { reason: "no_worker", text: `Queued ${forSpan}: ${cause}. Start one that does.${lost}` };
  }
  const slots = able.reduce((sum, { load }) => sum + (load?.slots ?? 0), 0);
  const busy = able.reduce((sum, { load }) => sum + (load?.busy ?? 0), 0);
  const those = `${counted(able.length, "live worker")} ${able.length === 1 ? "serves" : "serve"} ${version}`;
  if (slots > 0 && busy >= slots && able.every(({ load }) => load !== undefined)) {
    const text =
      `Queued ${forSpan}: ${those}, at the limit: all of the ${counted(slots, "slot")} are busy. It continues when a ` +
      "slot becomes free, or when another worker that serves it starts.";
    return { reason: "workers_busy", text: text + lost };
  }
  const free = slots > 0 ? `, ${slots - busy} of ${counted(slots, "slot")} free` : "";
  return { reason: "ready", text: `Queued ${forSpan}: ready for the next free worker; ${those}${free}.${lost}` };
}

/** What the live workers serve of this workflow, or that they serve nothing of it. */
function servedOf({ name }: Run, workers: readonly LiveWorker[]): string {
  const served = workers.flatMap(({ serves, shardKeys }) =>
    serves
      .filter((one) => one.name === name)
      .map(({ versionId }) => `${name}@${versionId}${shardKeys.length > 0 ? ` in shards ${firstOf(shardKeys)}` : ""}`),
  );
  const distinct = [...new Set(served)].sort();
  if (distinct.length > 0) return `served: ${firstOf(distinct)}`;
  return workers.length === 0 ? "there is no live worker" : `no version of ${name} is served`;
}

/** The leases that ended without a report since the last report. */
function lostSentence({ lostLeases }: Run): string {
  if (lostLeases === 0) return "";
  return ` It lost its worker ${counted(lostLeases, "time")} since its last report.`;
}

function running(run: Run, state: Extract<State, { status: "running" }>, { now }: Circumstances): Cause {
  const { worker, leaseMs, leaseUntil, confirmed, expecting, pause, tries = [] } = state;
  const plain = explain(run, [], { isServed: () => true });
  if (leaseUntil <= now) {
    const text =
      `Worker ${worker} has sent no heartbeat: its lease ended ${aboutSpan(now - leaseUntil)} ago. The server queues ` +
      "the run for another worker.";
    return { reason: "worker_lost", text: text + lostSentence(run), since: leaseUntil, until: now };
  }
  const heartbeat = confirmed
    ? ` The last heartbeat or report was ${aboutSpan(now - (leaseUntil - leaseMs))} ago.`
    : ` It claimed the run ${aboutSpan(now - run.since)} ago and has not sent a heartbeat yet.`;
  const text = [plain + heartbeat, ...triesSentence(tries, now)].join(" ") + lostSentence(run);
  if (pause !== undefined) return { reason: "pausing", text };
  return expecting === undefined
    ? { reason: "executing", text }
    : { reason: "replaying", text, since: expecting.since };
}

function triesSentence(tries: readonly ExecutedTry[], now: number): string[] {
  if (tries.length === 0) return [];
  const each = tries.map(
    ({ task, attempt, maxAttempts, since }) =>
      `${task} for ${aboutSpan(now - since)} (attempt ${attempt} of ${maxAttempts})`,
  );
  return [`It executes ${firstOf(each)}.`];
}

function suspended(run: Run, state: SuspendedState, known: Circumstances): Cause {
  const { now } = known;
  if (state.status === "awaiting_retry" && state.retryAt !== null) {
    const { retryAt } = state;
    const error = run.lastError === null ? "" : `; the last one failed: ${shortened(run.lastError.message)}`;
    const text = `Attempt ${run.attempt} begins in ${aboutSpan(retryAt - now)}, at ${moment(retryAt)}${error}`;
    return { reason: "awaiting_attempt", text: sentence(text), until: retryAt };
  }
  const { waits } = run;
  const deadlines = waits.map(({ until }) => until).filter((until) => until !== null);
  return {
    reason: suspendedReasons[state.status],
    text: [sentence(`Waits for ${awaitedOf(run, state, known)}`), ...unboundSentence(unboundOf(run))].join(" "),
    since: Math.min(run.since, ...waits.map(({ openedAt }) => openedAt)),
    until: deadlines.length > 0 ? Math.min(...deadlines) : null,
  };
}

const suspendedReasons = {
  sleeping: "sleeping",
  awaiting_event: "awaiting_event",
  awaiting_child_workflow: "awaiting_child",
  awaiting_retry: "awaiting_task",
} as const;

/** The first things that the run waits for, each with its times, and how many more there are. */
function awaitedOf(run: Run, { children }: SuspendedState, known: Circumstances): string {
  const { child, now } = known;
  const waits = run.waits.filter(({ type }) => type !== "child");
  const count = Math.max(children, run.waits.length - waits.length);
  const awaited = waits.slice(0, named).map((wait) => waitText(wait, known));
  if (waits.length > named) awaited.push(counted(waits.length - named, "more wait"));
  if (child !== null)
    awaited.push(
      `child ${child.id} of ${child.name}@${child.versionId} (started ${aboutSpan(now - child.createdAt)} ago)`,
    );
  const others = count - (child === null ? 0 : 1);
  if (others > 0) awaited.push(counted(others, child === null ? "child workflow" : "other child workflow"));
  return awaited.join("; ") || "something from outside";
}

function waitText(wait: Wait, { now, failed }: Circumstances): string {
  const { type, name, openedAt, until, address } = wait;
  if (type === "retry") {
    const before = failed.get(address);
    const cause = before !== undefined ? `; attempt ${before.attempt} failed: ${shortened(before.error.message)}` : "";
    const number = before === undefined ? "the next attempt" : `attempt ${before.attempt + 1}`;
    const most = before?.maxAttempts === undefined ? "" : ` of ${before.maxAttempts}`;
    const begins = until === null ? "" : `begins in ${aboutSpan(until - now)}`;
    return `${number}${most} of task ${name ?? "?"} (${begins}${cause})`;
  }
  const deadline =
    until === null ? "without a deadline" : `until ${moment(until)}, for another ${aboutSpan(until - now)}`;
  return `${type}${name === undefined ? "" : ` ${name}`} (for ${aboutSpan(now - openedAt)}, ${deadline})`;
}

function timeoutSentence({ state, timeoutAt }: Run): string[] {
  return timeoutAt === null || isFinal(state) ? [] : [`The time limit of the run ends at ${moment(timeoutAt)}.`];
}

/** With a full stop, if the text does not end with one. */
function sentence(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}
