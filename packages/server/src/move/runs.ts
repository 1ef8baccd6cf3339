/** Runs with their journals, of which only a part is in memory at a time. */

import { createHash } from "node:crypto";
import type { Entry } from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";
import { entryColumns } from "../storage/entry-row.ts";
import { changingColumns, fixedColumns } from "../storage/row.ts";
import type { Reader, Transaction } from "../storage/storage.ts";
import type { Rows } from "./table.ts";
import type { Tally } from "./tally.ts";

const runsAtOnce = 20;
/** The limit for all runs of a page together. Bytes. */
const bytesAtOnce = 4_000_000;
const entriesAtOnce = 1_000;

export const runs: Rows<Run> = {
  page: (reader, after) => reader.all(after?.id ?? null, runsAtOnce),
  // The target must not issue fences that are void in the source.
  moved: (run, from) => ({ ...run, fence: Math.max(run.fence, from.fenceFloor()) }),
  nameOf: ({ id }) => `Run ${id}`,
  write,
  checksums,
  count,
};

async function write(from: Reader, to: Transaction, page: Run[]): Promise<boolean> {
  const inserted = await to.insert(page);
  if (inserted.length < page.length) return false;
  for await (const entries of journals(from, page)) {
    const obstacles = await to.save({ changes: [], holds: [], entries });
    if (obstacles.length > 0) return false;
  }
  return true;
}

/** Checksums of the stored columns, which are the same in both dialects. */
async function checksums(reader: Reader, page: Run[]): Promise<string[]> {
  const hashes = new Map(page.map((run) => [run.id, createHash("sha256")]));
  for (const run of page) {
    hashes.get(run.id)?.update(JSON.stringify([fixedColumns(run), changingColumns(run), run.tail]));
  }
  for await (const entries of journals(reader, page)) {
    for (const entry of entries) hashes.get(entry.runId)?.update(JSON.stringify(entryColumns(entry)));
  }
  return [...hashes.values()].map((hash) => hash.digest("hex"));
}

function count(tally: Tally, page: Run[]): void {
  for (const { state, tail } of page) {
    tally.runs += 1;
    tally.statuses[state.status] = (tally.statuses[state.status] ?? 0) + 1;
    tally.entries += tail;
  }
}

/** The entries of these runs: for each run in order, and some of every run at a time. */
async function* journals(reader: Reader, page: Run[]): AsyncGenerator<Entry[]> {
  let open = page.filter(({ tail }) => tail > 0).map(({ id, tail }) => ({ id, tail, after: 0 }));
  while (open.length > 0) {
    const limit = Math.ceil(entriesAtOnce / open.length);
    const bytes = Math.ceil(bytesAtOnce / open.length);
    const read = await reader.journal(open.map(({ id: runId, after }) => ({ runId, after, limit, bytes })));
    yield read.flat();
    open = open
      .map((one, at) => ({ ...one, after: read[at]?.at(-1)?.seq ?? one.tail }))
      .filter(({ tail, after }) => after < tail);
  }
}
