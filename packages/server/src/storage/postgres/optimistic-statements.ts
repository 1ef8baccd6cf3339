/**
 * Statements that are a whole transaction each. A conflict makes the statement fail, which rolls it back: a key that
 * exists already violates its constraint, and a changed row causes a division by zero.
 */

import { clockMicroseconds, slackMs } from "./clock.ts";
import { holdRun } from "./statements.ts";
import { insertGivenEntries, insertGivenRuns, lockAndChange } from "./writes.ts";

/** Which parts a batch has. Changes lock holds along with them. */
export interface Parts {
  inserts: boolean;
  rows: "none" | "held" | "changed";
  entries: boolean;
}

/** How many parameters the statements of each part take. */
const insertParameters = 26;
const rowParameters = { none: 0, held: 2, changed: 14 };
const entryParameters = 12;

/**
 * Parameters: those of the parts, in this order, then the time of the batch, which must be right by the database's
 * clock. Returns that clock in epoch microseconds. Every row must be at its revision.
 */
function compose({ inserts, rows, entries }: Parts): string {
  const afterInserts = inserts ? insertParameters : 0;
  const afterRows = afterInserts + rowParameters[rows];
  const afterEntries = afterRows + (entries ? entryParameters : 0);
  const held = rows === "held" ? `held AS MATERIALIZED (${holdRun})` : lockAndChange;
  const parts = [
    ...(inserts ? [`inserted AS (${insertGivenRuns})`] : []),
    ...(rows === "none" ? [] : [shifted(held, afterInserts)]),
    ...(entries ? [`recorded AS (${shifted(insertGivenEntries, afterRows)})`] : []),
  ];
  const timely = `now - 1000 * $${afterEntries + 1}::bigint BETWEEN 0 AND ${1_000 * slackMs}`;
  const whole = `(SELECT count(*) FROM held) = cardinality($${afterInserts + 1}::text[])`;
  return `
  WITH ${parts.join(", ")}
  SELECT now, 1 / (${rows === "none" ? timely : `${timely} AND ${whole}`})::integer AS written
  FROM (SELECT ${clockMicroseconds} AS now) AS clock`;
}

/** The same statement with its parameters further back. */
function shifted(sql: string, by: number): string {
  return sql.replaceAll(/\$(\d+)/g, (_, place) => `$${Number(place) + by}`);
}

const statements = new Map<string, string>();
for (const inserts of [false, true]) {
  for (const rows of ["none", "held", "changed"] as const) {
    for (const entries of [false, true]) {
      const parts = { inserts, rows, entries };
      statements.set(keyOf(parts), compose(parts));
    }
  }
}

function keyOf({ inserts, rows, entries }: Parts): string {
  return [...(inserts ? ["inserts"] : []), rows, ...(entries ? ["entries"] : [])].join("_");
}

/** The one statement that writes such a batch. */
export function writing(parts: Parts): string {
  return statements.get(keyOf(parts)) ?? compose(parts);
}

/** All of them, by what they write. */
export const writings: ReadonlyMap<string, string> = statements;
