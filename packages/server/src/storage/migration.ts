/** Shared by the migrations of both dialects: which are missing, and whether the applied ones are unchanged. */

import { createHash } from "node:crypto";
import { AikiError } from "@aikirun/lib";

/** Forward only: a released migration is never edited; a later migration changes its result. */
export interface Migration {
  number: number;
  name: string;
  sql: string;
}

export interface AppliedMigration {
  number: number;
  checksum: string;
}

/**
 * The migrations still to apply, in order. Throws `SCHEMA_TOO_NEW` when a later version of Aiki has migrated the
 * database, `SCHEMA_DRIFT` when an applied migration differs from the one in this code.
 */
export function missingMigrations(known: readonly Migration[], applied: readonly AppliedMigration[]): Migration[] {
  for (const { number, checksum } of applied) {
    const migration = known.find((one) => one.number === number);
    if (migration === undefined) throw tooNew(number);
    if (checksum !== checksumOf(migration)) throw drifted(migration);
  }
  return known.slice(applied.length);
}

/** Ignores white space, because the layout of the SQL may change. */
export function checksumOf(migration: Migration): string {
  return createHash("sha256").update(migration.sql.replaceAll(/\s+/g, " ").trim()).digest("hex");
}

function tooNew(number: number): AikiError {
  return new AikiError(
    "SCHEMA_TOO_NEW",
    `A later version of Aiki has migrated this database (migration ${number}). Run that version, or restore a backup.`,
    { ids: { migration: String(number) } },
  );
}

function drifted({ number, name }: Migration): AikiError {
  return new AikiError(
    "SCHEMA_DRIFT",
    `Migration ${number} (${name}) was applied here in another form. Use the build that did, or restore a backup.`,
    { ids: { migration: String(number) } },
  );
}
