import type { RunView } from "@aikirun/lib/protocol";
import type { Listing } from "../listing.ts";
import type { TableCell } from "../table.ts";
import { plain, spanOf } from "../text.ts";
import { statusStyle } from "../timeline.ts";

/** A table with one line for each run. */
export function runTable(runs: readonly RunView[]): Listing<RunView> {
  return {
    items: runs,
    nothing: "No runs match.",
    heading: ["RUN", "WORKFLOW", "STATUS", "STARTED", ""],
    row: rowOf,
  };
}

function rowOf(run: RunView): TableCell[] {
  const about = run.referenceId === undefined ? run.explanation : `${run.referenceId}: ${run.explanation}`;
  const age = `${spanOf(Math.max(0, Date.now() - run.createdAt))} ago`;
  return [
    run.id,
    plain(`${run.name}@${run.versionId}`),
    { text: run.status, style: statusStyle(run.status) },
    age,
    plain(about),
  ];
}
