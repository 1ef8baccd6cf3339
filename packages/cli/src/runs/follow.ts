import type { Client } from "@aikirun/client";
import { isTransient } from "@aikirun/client/internal";
import { finalStatuses, type RunId, type RunView, runStatuses } from "@aikirun/lib/protocol";
import { unpainted } from "../paint.ts";
import type { Terminal } from "../terminal.ts";
import { type TimelineLines, timelineOf } from "../timeline.ts";
import { readEntries } from "./journals.ts";
import { factsOf, stackOf } from "./run-facts.ts";

/** How often entries are read that do not change the status of a run: while it runs, and while it waits. */
const runningMs = 500;
const waitingMs = 5_000;

/**
 * Prints the history of a run, and then what is recorded, until the run ends. With `json`, prints each entry as a line
 * `{"entry":{…}}`, and the run at its end as `{"run":{…}}`.
 */
export async function followRun(
  aiki: Client,
  runId: RunId,
  { json }: { json?: boolean },
  terminal: Terminal,
): Promise<void> {
  let lines: TimelineLines | null = null;
  let after = 0;
  for (;;) {
    const { run, entries, more } = await readEntries(aiki, runId, after);
    if (lines === null) {
      lines = timelineOf(run, terminal.paint);
      if (json !== true) for (const line of [...factsOf(run), "", lines.started()]) terminal.out(line);
    }
    for (const entry of entries) terminal.out(json === true ? JSON.stringify({ entry }) : lines.recorded(entry));
    after = entries.at(-1)?.seq ?? after;
    if (!(await terminal.drained())) return;
    if (more) continue;
    if (run.outcome !== undefined) {
      const ended = json === true ? [JSON.stringify({ run })] : [lines.status(run), ...stackOf(run)];
      for (const line of ended) terminal.out(line);
      return;
    }
    terminal.progress(timelineOf(run, unpainted).status(run));
    await changeOf(aiki, run);
  }
}

/** Waits until the status of the run changes, or until new entries may exist. */
async function changeOf(aiki: Client, { id, status }: RunView): Promise<void> {
  const statuses = runStatuses.filter((one) => one !== status && !finalStatuses.some((final) => final === one));
  const waitMs = status === "running" ? runningMs : waitingMs;
  try {
    await aiki.api.watch({ watched: [{ type: "status", runId: id, statuses }], waitMs });
  } catch (thrown) {
    // The next read repeats its request while the server cannot be reached.
    if (!isTransient(thrown)) throw thrown;
  }
}
