/**
 * Registers, reads, then waits, and reads what it watches again every second: no change is missed, wherever it is made.
 */

import type { Env } from "@aikirun/lib";
import type { RunId, Watched, WatchReply, WatchRequest, WatchResult } from "@aikirun/lib/protocol";
import { isFinal } from "../core/draft.ts";
import type { Run } from "../core/run.ts";
import type { Storage } from "../storage/storage.ts";
import type { Changes } from "./changes.ts";
import type { Presence } from "./presence.ts";
import type { Rows } from "./rows.ts";
import { viewOf } from "./view.ts";

const sweepMs = 1_000;

export interface WatchContext {
  namespace: string;
  env: Env;
  storage: Pick<Storage, "read">;
  rows: Rows;
  changes: Changes;
  presence: Presence;
  closing: AbortSignal;
}

export async function watch(
  context: WatchContext,
  { watched, waitMs }: WatchRequest,
  signal: AbortSignal | undefined,
): Promise<WatchReply> {
  const { env, changes, closing } = context;
  const byId = new Map<RunId, Watched[]>();
  for (const item of watched) {
    byId.set(item.runId, [...(byId.get(item.runId) ?? []), item]);
  }
  const until = env.elapsed() + waitMs;
  const changed = new Set<RunId>();
  let wake = () => {};
  const cancel = changes.on(byId.keys(), (id) => {
    changed.add(id);
    wake();
  });
  try {
    let asked = watched;
    let afresh = false;
    for (;;) {
      const results = await inspect(context, asked, afresh);
      const left = until - env.elapsed();
      if (results.length > 0 || left <= 0 || closing.aborted || isGone(signal)) {
        return { results };
      }
      if (changed.size === 0) {
        await settled(context, Math.min(left, sweepMs), signal, (then) => {
          wake = then;
        });
      }
      afresh = changed.size === 0;
      asked = afresh ? watched : [...changed].flatMap((id) => byId.get(id) ?? []);
      changed.clear();
    }
  } finally {
    cancel();
  }
}

function settled(
  { env, closing }: WatchContext,
  waitMs: number,
  signal: AbortSignal | undefined,
  onWake: (wake: () => void) => void,
): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      cancel();
      closing.removeEventListener("abort", wake);
      signal?.removeEventListener("abort", wake);
      resolve();
    };
    const cancel = env.after(waitMs, wake);
    closing.addEventListener("abort", wake, { once: true });
    signal?.addEventListener("abort", wake, { once: true });
    onWake(wake);
  });
}

/** What there is to say now. Rows come from the cache where they are; the sweep corrects a stale one. */
async function inspect(context: WatchContext, watched: Watched[], afresh: boolean): Promise<WatchResult[]> {
  const { rows, storage, presence, namespace } = context;
  const found = new Map<RunId, Run>();
  const missing = new Set<RunId>();
  for (const item of watched) {
    const run = afresh ? undefined : rows.get(item.runId);
    if (run === undefined || isDoubtful(run, item)) {
      missing.add(item.runId);
    } else {
      found.set(item.runId, run);
    }
  }
  if (missing.size > 0) {
    for (const run of await storage.read((reader) => reader.load([...missing]))) {
      found.set(run.id, run);
    }
  }
  // A promise for each of thousands would cost more than the look itself.
  const reached: Run[] = [];
  const results: WatchResult[] = [];
  const told: NewsItem[] = [];
  for (const item of watched) {
    const run = found.get(item.runId);
    if (run === undefined || run.namespace !== namespace) {
      results.push({ type: "lost", runId: item.runId, code: "RUN_NOT_FOUND" });
    } else if (item.type === "news") {
      told.push({ item, run });
    } else if (isFinal(run.state) || item.any.includes(run.state.status)) {
      reached.push(run);
    }
  }
  if (reached.length > 0) {
    const isServed = await presence.serving(namespace, reached);
    results.push(...reached.map((run) => ({ type: "status" as const, run: viewOf(run, { isServed }) })));
  }
  // Only now, so that each of them is awaited whatever fails.
  const news = await Promise.all(told.map(({ item, run }) => newsOf(storage, item, run)));
  return [...results, ...news.filter((one) => one !== null)];
}

/** A run whose worker asks for news of it. */
interface NewsItem {
  item: Extract<Watched, { type: "news" }>;
  run: Run;
}

/** What a cached row may say wrongly: its run may be with the holder by now, through another server. */
function isDoubtful(run: Run, item: Watched): boolean {
  const { state, fence, inbox } = run;
  const isHeld = item.type === "status" || (state.status === "running" && fence === item.fence && inbox >= item.seen);
  return !isHeld && !isFinal(state);
}

function newsOf(
  storage: Pick<Storage, "read">,
  { runId, fence, seen, after }: Extract<Watched, { type: "news" }>,
  run: Run,
): WatchResult | null | Promise<WatchResult> {
  const { state, inbox } = run;
  if (isFinal(state)) {
    return { type: "lost", runId, code: "RUN_FINAL", status: state.status };
  }
  if (state.status !== "running" || run.fence !== fence) {
    return { type: "lost", runId, code: "FENCED" };
  }
  // A request to pause counts in the inbox too.
  if (inbox === seen) {
    return null;
  }
  const news = { type: "news", runId, inbox, pause: state.pauseRequested } as const;
  if (run.tail <= after) {
    return { ...news, entries: [] };
  }
  const asked = [{ runId, after, limit: run.tail, bytes: Number.MAX_SAFE_INTEGER }];
  return storage.read((reader) => reader.journal(asked)).then(([entries = []]) => ({ ...news, entries }));
}

/** A function, because the answer changes while one waits. */
export function isGone(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
