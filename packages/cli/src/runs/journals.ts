/** Runs with their inputs, outputs and journals. */

import type { Client } from "@aikirun/client";
import { retryWithBackoff } from "@aikirun/client/internal";
import { AikiError } from "@aikirun/lib";
import type { Entry, ReadReply, ReadRequest, ReadResult, RunId, RunView } from "@aikirun/lib/protocol";

/** A run and all entries of its journal, oldest first. */
export interface RunWithJournal {
  run: RunView;
  entries: Entry[];
}

/** How many entries one request reads of each run at most. */
const pageSize = 1_000;
/** How many runs one request reads at most. */
const batchSize = 50;
/** How long a request is repeated while the server cannot be reached. Milliseconds. */
const retryMs = 10_000;

/** Reads a run with its whole journal. Throws `RUN_NOT_FOUND`. */
export async function readRun(aiki: Client, runId: RunId): Promise<RunWithJournal> {
  const [result] = (await read(aiki, [{ runId, entries: { after: 0, limit: pageSize } }])).results;
  if (result === undefined) throw incomplete(runId);
  return completed(aiki, accepted(result, runId));
}

/** The entries of a run after `after`, one page of them. Throws `RUN_NOT_FOUND`. */
export async function readEntries(
  aiki: Client,
  runId: RunId,
  after: number,
): Promise<RunWithJournal & { more: boolean }> {
  const [result] = (await read(aiki, [{ runId, entries: { after, limit: pageSize } }])).results;
  if (result === undefined) throw incomplete(runId);
  return accepted(result, runId);
}

/** Reads these runs in order, a few with each request. Leaves out a run that no longer exists. */
export async function* readRuns(aiki: Client, ids: readonly RunId[]): AsyncGenerator<RunWithJournal> {
  let left = ids;
  while (left.length > 0) {
    const asked = left.slice(0, batchSize);
    const { results } = await read(
      aiki,
      asked.map((runId) => ({ runId, entries: { after: 0, limit: pageSize } })),
    );
    const [first = ""] = asked;
    if (results.length === 0) throw incomplete(first);
    for (const result of results) if (result.ok) yield await completed(aiki, result);
    left = left.slice(results.length);
  }
}

/** The views of these runs, in order. Leaves out a run that no longer exists. */
export async function readViews(aiki: Client, ids: readonly RunId[]): Promise<RunView[]> {
  const views: RunView[] = [];
  for (let left = ids; left.length > 0; ) {
    const { results } = await read(
      aiki,
      left.map((runId) => ({ runId })),
    );
    const [first = ""] = left;
    if (results.length === 0) throw incomplete(first);
    views.push(...results.flatMap((result) => (result.ok ? [result.run] : [])));
    left = left.slice(results.length);
  }
  return views;
}

async function completed(aiki: Client, first: Extract<ReadResult, { ok: true }>): Promise<RunWithJournal> {
  const entries = [...first.entries];
  let { run, more } = first;
  while (more) {
    const page = await readEntries(aiki, run.id, entries.at(-1)?.seq ?? 0);
    entries.push(...page.entries);
    ({ run, more } = page);
  }
  return { run, entries };
}

function read(aiki: Client, runs: ReadRequest["runs"]): Promise<ReadReply> {
  const { env, api } = aiki;
  const since = env.elapsed();
  return retryWithBackoff(() => api.read({ runs }), {
    env,
    signals: [],
    maxPauseMs: 2_000,
    isWorthwhile: (pauseMs) => env.elapsed() + pauseMs - since <= retryMs,
  });
}

function accepted(result: ReadResult, runId: RunId): Extract<ReadResult, { ok: true }> {
  if (!result.ok) throw new AikiError(result.code, result.message, { ids: { runId } });
  return result;
}

function incomplete(runId: RunId): AikiError {
  return new AikiError("BAD_REPLY", "The reply of the server has no result for this run.", { ids: { runId } });
}
