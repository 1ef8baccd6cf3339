import type { Client, RunFilter, RunPage } from "@aikirun/client";
import type { RunStatus, RunView } from "@aikirun/lib/protocol";
import { printListing } from "../listing.ts";
import type { Terminal } from "../terminal.ts";
import { connected, type ServerOptions } from "./connect.ts";
import { runTable } from "./run-table.ts";

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
    ...runTable(runs),
    footnote: cursor === undefined ? undefined : `… and older ones: --limit ${options.limit} shows no more`,
  };
  printListing(listing, options.json, terminal);
}

/** Reads pages until it has the requested number of runs: a page may have fewer and not be the last one. */
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
