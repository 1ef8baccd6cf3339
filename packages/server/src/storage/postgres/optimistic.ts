/** A transaction in one round trip: one statement, which commits itself. */

import { AikiError } from "@aikirun/lib";
import { numberOf } from "../row.ts";
import type { Batch, OptimisticBatch } from "../storage.ts";
import type { DatabaseClock } from "./clock.ts";
import { changeArrays, entryArrays, lockArrays, runArrays } from "./columns.ts";
import { writing } from "./optimistic-statements.ts";
import type { Session } from "./session.ts";
import { inOneOrder } from "./transaction.ts";

/** Throws `STORAGE_CONFLICT` when nothing was written, because of a conflict or because the time was wrong. */
export async function writeOptimistically(
  session: Session,
  clock: DatabaseClock,
  batch: OptimisticBatch,
): Promise<void> {
  const { now, entries, fenceFloor } = batch;
  if (fenceFloor !== session.fenceFloor) throw formerDatabase();
  const { inserts, changes, holds } = settled(batch);
  const rows = changes.length > 0 ? "changed" : holds.length > 0 ? "held" : "none";
  const statement = writing({ inserts: inserts.length > 0, rows, entries: entries.length > 0 });
  const values = [
    ...(inserts.length > 0 ? runArrays(inOneOrder(inserts)) : []),
    ...(rows === "changed" ? changeArrays({ changes, holds }) : []),
    ...(rows === "held" ? lockArrays({ changes, holds }) : []),
    ...(entries.length > 0 ? entryArrays(entries) : []),
    now,
  ];
  const askedAt = performance.now();
  const [answer] = await session.rows(statement, values);
  if (answer !== undefined) clock.received(numberOf(answer, "now") / 1_000, askedAt, performance.now());
}

function formerDatabase(): AikiError {
  return new AikiError(
    "STORAGE_CONFLICT",
    "The database was replaced since this was decided. Nothing was recorded; decide again.",
  );
}

/** One statement cannot change what it inserts: such a run is inserted as it is to become. */
function settled({
  inserts,
  changes,
  holds,
}: OptimisticBatch): Pick<OptimisticBatch, "inserts"> & Omit<Batch, "entries"> {
  const inserted = new Set(inserts.map(({ id }) => id));
  const changed = new Map(changes.map(({ after }) => [after.id, after]));
  return {
    inserts: inserts.map((run) => changed.get(run.id) ?? run),
    changes: changes.filter(({ after }) => !inserted.has(after.id)),
    holds: holds.filter(({ id }) => !inserted.has(id)),
  };
}
