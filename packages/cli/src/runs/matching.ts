import type { Client, RunFilter } from "@aikirun/client";
import type { RunId } from "@aikirun/lib/protocol";
import { ProgressBar } from "../progress-bar.ts";
import type { Terminal } from "../terminal.ts";

/** The ids of all runs that match the filter now. */
export async function matchingIds(aiki: Client, filter: RunFilter, terminal: Terminal): Promise<RunId[]> {
  const progress = new ProgressBar(terminal, "Counting runs", null);
  const ids: RunId[] = [];
  for await (const { id } of aiki.runs.list({ ...filter, limit: 200 })) {
    ids.push(id);
    progress.show(ids.length);
  }
  progress.end();
  return ids;
}
