import type { RunFilter } from "@aikirun/client";
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
  limit: number;
}

export async function listRuns(options: ListOptions, terminal: Terminal): Promise<void> {
  const { runs, cursor } = await connected(options, async (aiki) => aiki.runs.list(filterOf(options)));
  const listing = {
    items: runs,
    nothing: "No runs fit.",
    heading: ["RUN", "WORKFLOW", "STATUS", "STARTED", ""],
    row: rowOf,
    painted: (line: string, run: RunView) => painted(line, run, terminal),
    footnote: cursor === undefined ? undefined : `… and older ones: --limit ${options.limit} shows no more`,
  };
  printListing(listing, options.json, terminal);
}

function filterOf({ name, status, tag, reference, limit }: ListOptions): RunFilter {
  return {
    limit,
    ...(name === undefined ? {} : { name }),
    ...(status === undefined ? {} : { status }),
    ...(tag === undefined ? {} : { tags: tag }),
    ...(reference === undefined ? {} : { referenceId: reference }),
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
