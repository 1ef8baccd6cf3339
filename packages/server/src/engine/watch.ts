/**
 * Registers, reads, then waits, and reads what it watches again every second: no change is missed, wherever it is made.
 */

import type { Env } from "@aikirun/lib";
import type { Entry, RunId, Watched, WatchReply, WatchRequest, WatchResult } from "@aikirun/lib/protocol";
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
  const { rows, storage, namespace } = context;
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
  const results = await Promise.all(
    watched.map((item) => {
      const run = found.get(item.runId);
      return run === undefined || run.namespace !== namespace ? lost(item) : look(context, item, run);
    }),
  );
  return results.filter((result) => result !== null);
}

/** What a cached row may say wrongly: its run may be with the holder by now, through another server. */
function isDoubtful(run: Run, item: Watched): boolean {
  const { state, fence, inbox } = run;
  const isHeld = item.type === "status" || (state.status === "running" && fence === item.fence && inbox >= item.seen);
  return !isHeld && !isFinal(state);
}

function lost({ runId }: Watched): WatchResult {
  return { type: "lost", runId, code: "RUN_NOT_FOUND" };
}

async function look(
  { namespace, storage, presence }: WatchContext,
  item: Watched,
  run: Run,
): Promise<WatchResult | null> {
  const { state } = run;
  if (item.type === "status") {
    const isReached = isFinal(state) || item.any.includes(state.status);
    return isReached
      ? { type: "status", run: viewOf(run, { isServed: await presence.serving(namespace, [run]) }) }
      : null;
  }
  const { runId, fence, seen, after } = item;
  if (isFinal(state)) {
    return { type: "lost", runId, code: "RUN_FINAL", status: state.status };
  }
  if (state.status !== "running" || run.fence !== fence) {
    return { type: "lost", runId, code: "FENCED" };
  }
  // A request to pause counts in the inbox too.
  if (run.inbox === seen) {
    return null;
  }
  const entries: Entry[] = [];
  if (run.tail > after) {
    const pages = await storage.read((reader) =>
      reader.journal([{ runId, after, limit: run.tail, bytes: Number.MAX_SAFE_INTEGER }]),
    );
    entries.push(...(pages[0] ?? []));
  }
  return { type: "news", runId, inbox: run.inbox, entries, pause: state.pauseRequested };
}

/** A function, because the answer changes while one waits. */
export function isGone(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
