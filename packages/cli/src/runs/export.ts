import type { Client, RunFilter } from "@aikirun/client";
import { ProgressBar } from "../progress-bar.ts";
import type { Terminal } from "../terminal.ts";
import { connected, type ServerOptions } from "./connect.ts";
import { type FilterOptions, filterOf } from "./filter.ts";
import { type RunWithJournal, readRuns } from "./journals.ts";
import { matchingIds } from "./matching.ts";

export interface ExportOptions extends ServerOptions, FilterOptions {
  order: "newest" | "oldest";
}

const pageSize = 200;

/** Prints each run that matches as one line of JSON: `{"run":{…},"entries":[…]}`. */
export async function exportRuns(options: ExportOptions, terminal: Terminal): Promise<void> {
  await connected(options, async (aiki) => {
    const filter = { ...(await filterOf(aiki, options, terminal)), order: options.order };
    const total = terminal.showsProgress ? (await matchingIds(aiki, filter, terminal)).length : null;
    const progress = new ProgressBar(terminal, "Exporting runs", total);
    let count = 0;
    for await (const run of matchingRuns(aiki, filter)) {
      terminal.out(JSON.stringify(run));
      if (!(await terminal.drained())) break;
      progress.show(++count);
    }
    progress.end();
  });
}

async function* matchingRuns(aiki: Client, filter: RunFilter): AsyncGenerator<RunWithJournal> {
  let cursor: string | undefined;
  do {
    const page = await aiki.runs.list({ ...filter, limit: pageSize, ...(cursor === undefined ? {} : { cursor }) });
    yield* readRuns(
      aiki,
      page.runs.map(({ id }) => id),
    );
    cursor = page.cursor;
  } while (cursor !== undefined);
}
