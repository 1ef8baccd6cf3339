import type { Client, RunFilter, RunPage } from "@aikirun/client";
import type { RunStatus, RunView } from "@aikirun/lib/protocol";
import { printListing } from "../listing.ts";
import type { Terminal } from "../terminal.ts";
import { plain, spanOf } from "../text.ts";
import { statusStyle } from "../timeline.ts";
import { connected, type ServerOptions } from "./connect.ts";

export interface ListOptions extends ServerOptions {
  name?: string;
  status?: RunStatus[];
  tag?: string[];
  reference?: string;
  versionId?: string;
  shard?: string;
  errorCode?: string;
  createdAfter?: Date;
  createdBefore?: Date;
  limit: number;
}

export async function listRuns(options: ListOptions, terminal: Terminal): Promise<void> {
  const { runs, cursor } = await connected(options, (aiki) => firstRuns(aiki, options));
  const listing = {
    items: runs,
    nothing: "No runs match.",
    heading: ["RUN", "WORKFLOW", "STATUS", "STARTED", ""],
    row: rowOf,
    painted: (line: string, run: RunView) => painted(line, run, terminal),
    footnote: cursor === undefined ? undefined : `Older runs exist. --limit ${options.limit} limits this list.`,
  };
  printListing(listing, options.json, terminal);
}

/** Reads pages until it has the requested number of runs. A page may have fewer runs and not be the last one. */
async function firstRuns(aiki: Client, options: ListOptions): Promise<RunPage> {
  const runs: RunView[] = [];
  let cursor: string | undefined;
  do {
    const rest = { limit: options.limit - runs.length, ...(cursor === undefined ? {} : { cursor }) };
    const page = await aiki.runs.list({ ...filterOf(options), ...rest });
    runs.push(...page.runs);
    cursor = page.cursor;
  } while (cursor !== undefined && runs.length < options.limit);
  return { runs, ...(cursor === undefined ? {} : { cursor }) };
}

function filterOf(options: ListOptions): RunFilter {
  const { name, status, tag, reference, versionId, shard, errorCode, createdAfter, createdBefore } = options;
  return {
    ...(name === undefined ? {} : { name }),
    ...(status === undefined ? {} : { status }),
    ...(tag === undefined ? {} : { tags: tag }),
    ...(reference === undefined ? {} : { referenceId: reference }),
    ...(versionId === undefined ? {} : { versionId }),
    ...(shard === undefined ? {} : { shardKey: shard }),
    ...(errorCode === undefined ? {} : { errorCode }),
    ...(createdAfter === undefined ? {} : { createdAfter }),
    ...(createdBefore === undefined ? {} : { createdBefore }),
  };
}

function rowOf(run: RunView): string[] {
  const about = run.referenceId === undefined ? run.explanation : `${run.referenceId}: ${run.explanation}`;
  const age = `${spanOf(Math.max(0, Date.now() - run.createdAt))} ago`;
  return [run.id, plain(`${run.name}@${run.versionId}`), run.status, age, plain(about)];
}

function painted(line: string, run: RunView, { paint }: Terminal): string {
  const at = line.indexOf(run.status, run.id.length + plain(`${run.name}@${run.versionId}`).length);
  if (at === -1) return line;
  const end = at + run.status.length;
  return `${line.slice(0, at)}${paint(statusStyle(run.status), run.status)}${line.slice(end)}`;
}
