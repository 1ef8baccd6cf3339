/**
 * A row is heavy if its state is larger than `lightBytes`, because many waits are open or an error is long. Heavy rows
 * are loaded by a separate statement, a few at a time: a batch of runs with 10,000 waits each takes hundreds of MB.
 */

import type { RunId } from "@aikirun/lib/protocol";
import { limits } from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";
import { type ListPage, type ListPosition, listPage, withoutPayloads } from "./find.ts";
import { heavyBytes, numberOf, type Row, runOf, textOf } from "./row.ts";
import { fromText, toText } from "./text.ts";

/** Heavy rows are loaded until their states take this many bytes; the first one is always loaded. */
const mostBytes = limits.replyBytes;

/** Thrown when heavy rows were left in storage. The caller loads them with another call or in another transaction. */
export class RowsLeft extends Error {
  /** The runs that were loaded: all that are not heavy, and the first heavy ones. */
  readonly runs: Run[];
  /** The ids of the runs that were not loaded. */
  readonly left: RunId[];

  constructor({ runs, left }: Loaded) {
    super(`${left.length} rows were left in storage, because others with large states were loaded.`);
    this.runs = runs;
    this.left = left;
  }
}

export interface Loaded {
  /** In the order of the rows. */
  runs: Run[];
  left: RunId[];
}

/** Throws `RowsLeft`. */
export function complete(loaded: Loaded): Run[] {
  if (loaded.left.length > 0) throw new RowsLeft(loaded);
  return loaded.runs;
}

/** Returns which rows were loaded and which were left, instead of throwing `RowsLeft`. */
export async function fitting(loading: Promise<Run[]>): Promise<Loaded> {
  try {
    return { runs: await loading, left: [] };
  } catch (thrown) {
    if (thrown instanceof RowsLeft) return thrown;
    throw thrown;
  }
}

/** Whether all rows were loaded. */
export async function fits(loading: Promise<void>): Promise<boolean> {
  try {
    await loading;
    return true;
  } catch (thrown) {
    if (thrown instanceof RowsLeft) return false;
    throw thrown;
  }
}

/** Yields all of these runs, in batches as large as one statement loads. */
export async function* inBatches(
  loading: Promise<Run[]>,
  load: (ids: RunId[]) => Promise<Run[]>,
): AsyncGenerator<readonly Run[]> {
  let { runs, left } = await fitting(loading);
  yield runs;
  while (left.length > 0) {
    ({ runs, left } = await fitting(load(left)));
    yield runs;
  }
}

/** Reads rows with the columns of `loadedColumns`; `load` loads the rows with these ids, with their states. */
export async function loadedRuns(
  rows: readonly Row[],
  load: (ids: string[]) => Row[] | Promise<Row[]>,
): Promise<Loaded> {
  const isHeavy = (row: Row): boolean => row.state === null;
  const take = heavyBudget();
  const chosen = rows.filter((row) => isHeavy(row) && take(numberOf(row, "state_bytes")));
  const ids = chosen.map((row) => textOf(row, "id"));
  const states = new Map((ids.length === 0 ? [] : await load(ids)).map((row) => [row.id, row]));
  const taken = new Set<Row>(chosen);
  return {
    runs: rows.flatMap((row) => (isHeavy(row) ? runsOf(states.get(row.id)) : runOf(row))),
    left: rows.filter((row) => isHeavy(row) && !taken.has(row)).map((row) => fromText(textOf(row, "id"))),
  };
}

/** The page of a list, which ends before the first row that was left. `rows`: the loaded rows in order. */
export function loadedPage(
  rows: readonly Row[],
  { runs, left }: Loaded,
  limit: number,
  next: ListPosition | null,
): ListPage {
  const [first] = left;
  const end = first === undefined ? rows.length : rows.findIndex(({ id }) => id === toText(first));
  const found = runs.slice(0, end).map(withoutPayloads);
  return listPage(found, limit, end < rows.length ? (found.at(-1) ?? null) : next);
}

function runsOf(row: Row | undefined): Run[] {
  return row === undefined ? [] : [runOf(row)];
}

/** Chooses which heavy rows are loaded, by the bytes of their states: in order, and none after the first one left. */
function heavyBudget(): (bytes: number) => boolean {
  let taken = 0;
  let isFull = false;
  return (bytes) => {
    isFull ||= taken > 0 && taken + bytes > mostBytes;
    taken += isFull ? 0 : bytes;
    return !isFull;
  };
}

/** The same choice for runs; takes every run that is not heavy. */
export function heavyOnes(): { take(run: Run): boolean } {
  const take = heavyBudget();
  return {
    take(run) {
      const bytes = heavyBytes(run);
      return bytes === 0 || take(bytes);
    },
  };
}
