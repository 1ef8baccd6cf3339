/** A transaction in one journey: begin, the time, the writes and the commit are sent together. */

import { numberOf, type Row } from "../row.ts";
import type { BlindBatch } from "../storage.ts";
import { changeAllRuns, holdAllRuns, insertAllEntries, insertAllRuns, openAt } from "./blind-statements.ts";
import type { DatabaseClock } from "./clock.ts";
import { changeArrays, entryArrays, lockArrays, runArrays } from "./columns.ts";
import type { Session } from "./session.ts";
import { begin } from "./statements.ts";
import { inOneOrder } from "./transaction.ts";

/** Throws `STORAGE_CONFLICT` when nothing was written because something was in the way, or the time was wrong. */
export async function writeBlindly(session: Session, clock: DatabaseClock, batch: BlindBatch): Promise<void> {
  const askedAt = performance.now();
  const hear = ([row]: Row[]) => {
    if (row !== undefined) clock.heard(numberOf(row, "now"), askedAt, performance.now());
  };
  const mishear = (thrown: unknown) => {
    clock.forget();
    throw thrown;
  };
  const journey: Array<Promise<unknown>> = [session.rows(begin), session.rows(openAt, [batch.now]).then(hear, mishear)];
  const { inserts, changes, holds, entries } = batch;
  if (inserts.length > 0) {
    journey.push(session.rows(insertAllRuns, runArrays(inOneOrder(inserts))));
  }
  if (changes.length > 0) {
    journey.push(session.rows(changeAllRuns, changeArrays(batch)));
  } else if (holds.length > 0) {
    journey.push(session.rows(holdAllRuns, lockArrays(batch)));
  }
  if (entries.length > 0) {
    journey.push(session.rows(insertAllEntries, entryArrays(entries)));
  }
  journey.push(session.commit());
  const failed = (await Promise.allSettled(journey)).find((outcome) => outcome.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
