/**
 * Copies one storage into another, empty one, in one transaction of the target. It commits after everything was read
 * back and is the same. If it is interrupted earlier, the target stays empty.
 */

import { AikiError, isAikiError } from "@aikirun/lib";
import type { Reader, Storage, Transaction } from "../storage/storage.ts";
import type { Table } from "./table.ts";
import { tables } from "./tables.ts";
import { described, emptyTally, isNothing, type Tally } from "./tally.ts";

/** The progress of a move: the counts so far in its current part. */
export interface MoveProgress extends Tally {
  /** The current part: `copying` first, then `verifying`. */
  part: "copying" | "verifying";
}

/** What was moved. */
export interface Moved extends Tally {
  /** The target already had exactly these runs: an earlier move committed, but its result was lost. */
  already: boolean;
}

export interface TransferOptions {
  from: Storage;
  to: Storage;
  progress: (progress: MoveProgress) => void | Promise<void>;
  /** Called before the commit. Throws if the source is in use. */
  last: () => Promise<void>;
}

/** Throws `MOVE_SOURCE_EMPTY`, `MOVE_TARGET_NOT_EMPTY`, `MOVE_DIFFERS`, what `last` throws, or `STORAGE_*`. */
export async function transfer({ from, to, progress, last }: TransferOptions): Promise<Moved> {
  if (isNothing(await from.read(glance))) {
    throw new AikiError("MOVE_SOURCE_EMPTY", "There is nothing to move: the source holds no run. Check its name.");
  }
  // Each part reads the current source, so verifying finds changes that were made while copying.
  const copy = (transaction: Transaction): Promise<Tally> =>
    from.read((reader) =>
      part("copying", progress, (table, tally, onPage) => table.copy(reader, transaction, tally, onPage)),
    );
  const verify = (transaction: Transaction): Promise<Tally> =>
    from.read((reader) =>
      part("verifying", progress, (table, tally, onPage) => table.verify(reader, transaction, tally, onPage)),
    );

  return to.transaction(async (transaction) => {
    const there = await glance(transaction);
    const already = !isNothing(there);
    if (!already) await copy(transaction);
    const tally = await verify(transaction).catch((thrown) => {
      throw already && isDifference(thrown) ? notEmpty(there, thrown) : thrown;
    });
    if (!already) await last();
    return { ...tally, already };
  });
}

async function part(
  name: MoveProgress["part"],
  progress: TransferOptions["progress"],
  visit: (table: Table, tally: Tally, onPage: () => Promise<void>) => Promise<void>,
): Promise<Tally> {
  const tally = emptyTally();
  const onPage = async (): Promise<void> => progress({ part: name, ...structuredClone(tally) });
  for (const table of tables) await visit(table, tally, onPage);
  return tally;
}

async function glance(reader: Reader): Promise<Tally> {
  const tally = emptyTally();
  for (const table of tables) await table.glance(reader, tally);
  return tally;
}

function isDifference(thrown: unknown): boolean {
  return isAikiError(thrown) && thrown.code === "MOVE_DIFFERS";
}

function notEmpty(there: Tally, cause: unknown): AikiError {
  return new AikiError(
    "MOVE_TARGET_NOT_EMPTY",
    `The target holds ${described(there)} or more, and not what the source holds. Nothing was changed. ` +
      "Name a database that holds no runs.",
    { cause },
  );
}
