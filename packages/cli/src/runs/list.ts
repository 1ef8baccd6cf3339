import type { Client, RunFilter, RunPage } from "@aikirun/client";
import type { RunView } from "@aikirun/lib/protocol";
import { tableLines } from "../listing.ts";
import type { Terminal } from "../terminal.ts";
import { connected, type ServerOptions } from "./connect.ts";
import { type FilterOptions, filterOf } from "./filter.ts";
import { runTable } from "./run-table.ts";

export interface ListOptions extends ServerOptions, FilterOptions {
  order: "newest" | "oldest";
  limit: number;
  /** Where the list begins. */
  cursor?: string;
  /** Whether to list all runs that match. */
  all?: boolean;
}

const pageSize = 200;

export async function listRuns(options: ListOptions, terminal: Terminal): Promise<void> {
  await connected(options, async (aiki) => {
    const filter = { ...(await filterOf(aiki, options, terminal)), order: options.order };
    if (options.all === true) await listAll(aiki, filter, options, terminal);
    else await listSome(aiki, filter, options, terminal);
  });
}

async function listSome(aiki: Client, filter: RunFilter, options: ListOptions, terminal: Terminal): Promise<void> {
  const { runs, cursor } = await firstRuns(aiki, filter, options);
  if (options.json === true) {
    terminal.out(JSON.stringify({ runs, ...(cursor === undefined ? {} : { cursor }) }));
    return;
  }
  const footnote = cursor === undefined ? undefined : `There may be more: --all, or --cursor ${cursor}`;
  for (const line of tableLines({ ...runTable(runs), footnote }, terminal)) terminal.out(line);
}

/** Reads pages until it has the requested number of runs: a page may have fewer and not be the last one. */
async function firstRuns(aiki: Client, filter: RunFilter, options: ListOptions): Promise<RunPage> {
  const runs: RunView[] = [];
  let { cursor } = options;
  do {
    const limit = Math.min(pageSize, options.limit - runs.length);
    const page = await aiki.runs.list({ ...filter, limit, ...(cursor === undefined ? {} : { cursor }) });
    runs.push(...page.runs);
    cursor = page.cursor;
  } while (cursor !== undefined && runs.length < options.limit);
  return { runs, ...(cursor === undefined ? {} : { cursor }) };
}

/** Prints each page when it arrives. With `--json` the output is one JSON text, with one run on each line. */
async function listAll(
  aiki: Client,
  filter: RunFilter,
  { json, cursor }: ListOptions,
  terminal: Terminal,
): Promise<void> {
  let next = cursor;
  let count = 0;
  if (json === true) terminal.out('{"runs":[');
  do {
    const page: RunPage = await aiki.runs.list({
      ...filter,
      limit: pageSize,
      ...(next === undefined ? {} : { cursor: next }),
    });
    next = page.cursor;
    if (json === true) {
      for (const [index, run] of page.runs.entries()) terminal.out(separator(count + index) + JSON.stringify(run));
    } else if (page.runs.length > 0) {
      for (const line of tableLines(runTable(page.runs), terminal).slice(count === 0 ? 0 : 1)) terminal.out(line);
    }
    count += page.runs.length;
  } while ((await terminal.drained()) && next !== undefined);
  if (json === true) terminal.out("]}");
  else if (count === 0) terminal.out(runTable([]).nothing);
}

function separator(index: number): string {
  return index === 0 ? "" : ",";
}
