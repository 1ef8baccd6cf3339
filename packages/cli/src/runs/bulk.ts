import type { AnyEvents, Client } from "@aikirun/client";
import { isAikiError, type RunHandle } from "@aikirun/lib";
import type { RunId, RunStatus } from "@aikirun/lib/protocol";
import { CommandError } from "../command-error.ts";
import { ProgressBar } from "../progress-bar.ts";
import type { Terminal } from "../terminal.ts";
import { amountOf, counted, plain } from "../text.ts";
import { readViews } from "./journals.ts";

/** What can be done to a run. */
export type Act = "cancel" | "pause" | "resume" | "wake" | "retry";

/** An action on many runs. */
export interface ActedRuns {
  ids: readonly RunId[];
  /** A run with another status is skipped: its status changed since the runs were counted. */
  statuses: readonly RunStatus[] | undefined;
  act(handle: RunHandle<unknown, AnyEvents>): Promise<unknown>;
}

/** What became of the runs. */
interface BulkResult {
  done: number;
  /** The run no longer has a status in which the action is possible. */
  skipped: number;
  failed: number;
}

const batchSize = 100;

/** With these codes the server refuses an action on a run in its present state. */
const skippedCodes: readonly string[] = ["RUN_FINAL", "ILLEGAL_STATE", "RUN_NOT_FOUND"];

const past: Readonly<Record<Act, string>> = {
  cancel: "Cancelled",
  pause: "Paused",
  resume: "Resumed",
  wake: "Woke",
  retry: "Retried",
};

/** Acts on each of the runs, prints how many were done, skipped and failed, and throws if one failed. */
export async function actOnEach(
  aiki: Client,
  request: ActedRuns,
  act: Act,
  { json }: { json?: boolean },
  terminal: Terminal,
): Promise<void> {
  const { ids } = request;
  const result: BulkResult = { done: 0, skipped: 0, failed: 0 };
  const progress = new ProgressBar(terminal, `${act} runs`, ids.length);
  let lastError: unknown = null;
  for (let at = 0; at < ids.length; at += batchSize) {
    const errors = await actOnBatch(aiki, { ...request, ids: ids.slice(at, at + batchSize) }, result);
    lastError = errors.at(-1) ?? lastError;
    progress.show(at + batchSize);
    // The server cannot be reached, or refuses the key: the other runs would fail too.
    if (errors.length === Math.min(batchSize, ids.length - at)) {
      result.failed += Math.max(0, ids.length - at - batchSize);
      break;
    }
  }
  progress.end();
  terminal.out(json === true ? JSON.stringify(result) : sentenceOf(result, act, ids.length));
  if (result.failed === 0) return;
  const why = isAikiError(lastError) ? `${lastError.code}: ${plain(lastError.message)}` : String(lastError);
  throw new CommandError(
    1,
    `${counted(result.failed, "run")} of ${amountOf(ids.length)} failed. The last error: ${why}`,
  );
}

/** Adds to the result. Returns the errors of the runs that failed. */
async function actOnBatch(aiki: Client, { ids, statuses, act }: ActedRuns, result: BulkResult): Promise<unknown[]> {
  const current = statuses === undefined ? ids : await withStatus(aiki, ids, statuses);
  result.skipped += ids.length - current.length;
  const settled = await Promise.allSettled(current.map((id) => act(aiki.runs.get(id))));
  const thrown = settled.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
  const errors = thrown.filter((error) => !isAikiError(error) || !skippedCodes.includes(error.code));
  result.done += settled.length - thrown.length;
  result.skipped += thrown.length - errors.length;
  result.failed += errors.length;
  return errors;
}

async function withStatus(aiki: Client, ids: readonly RunId[], statuses: readonly RunStatus[]): Promise<RunId[]> {
  const views = await readViews(aiki, ids);
  return views.filter(({ status }) => statuses.includes(status)).map(({ id }) => id);
}

function sentenceOf({ done, skipped, failed }: BulkResult, act: Act, total: number): string {
  if (total === 0) return "No runs match.";
  const parts = [
    `${past[act]} ${counted(done, "run")}`,
    ...(skipped === 0 ? [] : [`skipped ${amountOf(skipped)} whose status does not allow it or that do not exist`]),
    ...(failed === 0 ? [] : [`${amountOf(failed)} failed`]),
  ];
  return `${parts.join(", ")}.`;
}
