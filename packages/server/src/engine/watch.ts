/** Long polls for changes of runs. They read all watched runs again every second, so changes by any server are seen. */

import type { Env } from "@aikirun/lib";
import { waitUntil } from "@aikirun/lib/internal";
import type { Entry, RunId, RunStatus, Watched, WatchReply, WatchRequest, WatchResult } from "@aikirun/lib/protocol";
import { isFinal } from "../core/draft.ts";
import type { Run } from "../core/run.ts";
import { isWhole } from "../core/unread.ts";
import { fitting } from "../storage/heavy.ts";
import type { Storage } from "../storage/storage.ts";
import { type Budget, parts, replyBudget, takeView } from "./budget.ts";
import type { Changes } from "./changes.ts";
import { readJournals } from "./journals.ts";
import type { RowCache } from "./rows.ts";
import { viewOf } from "./view.ts";
import { whole } from "./whole.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

const sweepMs = 1_000;

export interface WatchContext {
  namespace: string;
  env: Env;
  storage: Pick<Storage, "read">;
  rows: RowCache;
  changes: Changes;
  registry: WorkerRegistry;
  closing: AbortSignal;
}

export async function watch(
  context: WatchContext,
  { watched: asked, waitMs }: WatchRequest,
  signal: AbortSignal | undefined,
): Promise<WatchReply> {
  const { env, changes, closing } = context;
  const watched = merged(asked);
  const byId = new Map<RunId, Watched[]>();
  for (const item of watched) {
    const items = byId.get(item.runId);
    if (items === undefined) byId.set(item.runId, [item]);
    else items.push(item);
  }
  const until = env.elapsed() + waitMs;
  const changed = new Set<RunId>();
  let wake = () => {};
  const cancel = changes.on(byId.keys(), (id) => {
    changed.add(id);
    wake();
  });
  try {
    let inspected = watched;
    let isSweep = false;
    for (;;) {
      const results = await inspect(context, inspected, isSweep);
      const left = until - env.elapsed();
      if (results.length > 0 || left <= 0 || closing.aborted || isGone(signal)) {
        return { results };
      }
      if (changed.size === 0) {
        const onBegin = (then: () => void): undefined => {
          wake = then;
        };
        await waitUntil(env, { timeoutMs: Math.min(left, sweepMs), signals: [closing, signal], onBegin });
      }
      isSweep = changed.size === 0;
      inspected = isSweep ? watched : [...changed].flatMap((id) => byId.get(id) ?? []);
      changed.clear();
    }
  } finally {
    cancel();
  }
}

/**
 * What changed, as much as fits into the reply; the next request gets the rest. Rows are read from the cache; if
 * `isSweep`, all are loaded, which corrects stale ones.
 */
async function inspect(context: WatchContext, watched: Watched[], isSweep: boolean): Promise<WatchResult[]> {
  const reply = replyBudget();
  const results: WatchResult[] = [];
  for (const some of parts(watched, rowsAtOnce)) {
    for (let asked = some; asked.length > 0 && reply.isLeft; ) {
      const { runs, left } = await runsOf(context, asked, isSweep);
      const isLeft = ({ runId }: Watched) => left.has(runId);
      results.push(
        ...(await inspectFew(
          context,
          asked.filter((item) => !isLeft(item)),
          runs,
          reply,
        )),
      );
      asked = asked.filter(isLeft);
    }
  }
  return results;
}

/** How many rows one statement loads; few of them are part of the reply. */
const rowsAtOnce = 500;

/** Merges the items for statuses of one run, so that a request that repeats them costs no more. */
function merged(watched: Watched[]): Watched[] {
  if (new Set(watched.map(({ runId }) => runId)).size === watched.length) {
    return watched;
  }
  const statuses = new Map<RunId, Set<RunStatus>>();
  const changes: Watched[] = [];
  for (const item of watched) {
    if (item.type === "changes") {
      changes.push(item);
      continue;
    }
    const any = statuses.get(item.runId) ?? new Set();
    statuses.set(item.runId, any);
    for (const status of item.statuses) any.add(status);
  }
  const merge = ([runId, any]: [RunId, Set<RunStatus>]): Watched => ({ type: "status", runId, statuses: [...any] });
  return [...changes, ...Array.from(statuses, merge)];
}

async function runsOf(
  { rows, storage }: WatchContext,
  watched: readonly Watched[],
  isSweep: boolean,
): Promise<{ runs: ReadonlyMap<RunId, Run>; left: ReadonlySet<RunId> }> {
  const found = new Map<RunId, Run>();
  const missing = new Set<RunId>();
  for (const item of watched) {
    const run = isSweep ? undefined : rows.get(item.runId);
    // mutant: lost-run
    if (run === undefined || mayBeStale(run, item)) {
      missing.add(item.runId);
    } else {
      found.set(item.runId, run);
    }
  }
  if (missing.size === 0) {
    return { runs: found, left: new Set() };
  }
  const { runs, left } = await fitting(storage.read((reader) => reader.load([...missing])));
  for (const run of runs) {
    found.set(run.id, run);
  }
  return { runs: found, left: new Set(left) };
}

async function inspectFew(
  context: WatchContext,
  watched: readonly Watched[],
  runs: ReadonlyMap<RunId, Run>,
  reply: Budget,
): Promise<WatchResult[]> {
  const results: WatchResult[] = [];
  const reached: Run[] = [];
  const outdated: WatchAnswer[] = [];
  for (const item of watched) {
    const run = runs.get(item.runId);
    if (run === undefined || run.namespace !== context.namespace) {
      results.push({ type: "lost", runId: item.runId, code: "RUN_NOT_FOUND" });
    } else if (item.type === "changes") {
      const end = lossOf(item, run);
      if (end !== null) {
        results.push(end);
      } else if (run.inbox !== item.seen) {
        outdated.push({ item, run });
      }
    } else if (reply.isLeft && isReached(item, run)) {
      takeView(reply, run);
      reached.push(run);
    }
  }
  results.push(...(await statusesOf(context, reached)));
  results.push(...(await changesOf(context, outdated, reply)));
  return results;
}

type StatusItem = Extract<Watched, { type: "status" }>;
type ChangesItem = Extract<Watched, { type: "changes" }>;

/** A run with entries that its worker has not received. */
interface WatchAnswer {
  item: ChangesItem;
  run: Run;
}

function isReached({ statuses }: StatusItem, { state }: Run): boolean {
  return isFinal(state) || statuses.includes(state.status);
}

async function statusesOf({ namespace, storage, registry }: WatchContext, runs: Run[]): Promise<WatchResult[]> {
  if (runs.length === 0) {
    return [];
  }
  const isLoaded = runs.every(isWhole);
  const full = isLoaded ? runs : await storage.read((reader) => whole(reader, runs));
  const isServed = await registry.serving(namespace, runs);
  return full.map((run) => ({ type: "status", run: viewOf(run, { isServed }) }));
}

function lossOf({ runId, fence }: ChangesItem, { state, fence: current }: Run): WatchResult | null {
  if (isFinal(state)) {
    return { type: "lost", runId, code: "RUN_FINAL", status: state.status };
  }
  return state.status !== "running" || current !== fence ? { type: "lost", runId, code: "FENCED" } : null;
}

/** How much of each journal is read; a single entry may exceed it. Bytes. */
const journalBytes = 1_000_000;

async function changesOf({ storage }: WatchContext, outdated: WatchAnswer[], reply: Budget): Promise<WatchResult[]> {
  const results: WatchResult[] = [];
  const behind: WatchAnswer[] = [];
  for (const one of outdated) {
    if (one.run.tail > one.item.after) behind.push(one);
    else if (reply.isLeft) results.push(changeOf(one, []));
  }
  const requests = behind.map(({ item: { after }, run: { id, tail } }) => ({
    runId: id,
    after,
    limit: tail - after,
    bytes: journalBytes,
  }));
  const pages = requests.length === 0 ? [] : await storage.read((reader) => readJournals(reader, requests, reply));
  for (const [index, one] of behind.entries()) {
    const entries = pages[index];
    if (entries !== null && entries !== undefined) results.push(changeOf(one, entries));
  }
  return results;
}

/** Until a worker has all entries, `inbox` stays at what it has seen, so that it cannot suspend the run. */
function changeOf({ item, run }: WatchAnswer, entries: Entry[]): Extract<WatchResult, { type: "changes" }> {
  const { runId, seen, after } = item;
  const isAll = (entries.at(-1)?.seq ?? after) >= run.tail;
  const pause = run.state.status === "running" && run.state.pause !== undefined;
  return { type: "changes", runId, inbox: isAll ? run.inbox : seen, entries, pause };
}

/** Whether the cached row may be stale: it says that the holder lost the run, which another server may have changed. */
function mayBeStale(run: Run, item: Watched): boolean {
  const { state, fence, inbox } = run;
  const isHeld = item.type === "status" || (state.status === "running" && fence === item.fence && inbox >= item.seen);
  return !isHeld && !isFinal(state);
}

/** A function, so that TypeScript does not assume that the value stays the same during a wait. */
function isGone(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
