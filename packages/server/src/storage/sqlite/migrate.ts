import { createHash } from "node:crypto";
import { AikiError } from "@aikirun/lib";
import { numberOf, textOf } from "../row.ts";
import type { Connection } from "./connection.ts";
import { type Migration, migrations } from "./migrations.ts";

/** "AIKI" in the header of the file: tells it from every other program's. */
const applicationId = 0x41494b49;

/**
 * Brings the schema up to the newest migration. Throws `DATABASE_FOREIGN` on another program's file, `SCHEMA_TOO_NEW`
 * when a later Aiki has migrated it, `SCHEMA_DRIFT` when what was applied is not what this code would have applied.
 */
export function migrate(connection: Connection, now: number): void {
  const applied = appliedTo(connection);
  for (const { number, checksum } of applied) {
    const known = migrations.find((migration) => migration.number === number);
    if (known === undefined) throw tooNew(number);
    if (checksum !== checksumOf(known)) throw drifted(known);
  }
  for (const migration of migrations.slice(applied.length)) apply(connection, migration, now);
}

function appliedTo(connection: Connection): Array<{ number: number; checksum: string }> {
  const isEmpty = connection.first("SELECT 1 AS found FROM sqlite_master LIMIT 1") === undefined;
  if (isEmpty) return [];
  if (connection.pragma("application_id") !== applicationId) {
    throw new AikiError(
      "DATABASE_FOREIGN",
      "The file holds a database of another program. Give Aiki a file of its own.",
    );
  }
  return connection
    .all("SELECT number, checksum FROM migration ORDER BY number")
    .map((row) => ({ number: numberOf(row, "number"), checksum: textOf(row, "checksum") }));
}

function apply(connection: Connection, migration: Migration, now: number): void {
  connection.script("BEGIN IMMEDIATE");
  try {
    connection.script(`
      PRAGMA application_id = ${applicationId};
      CREATE TABLE IF NOT EXISTS migration (
        number     INTEGER PRIMARY KEY,
        name       TEXT NOT NULL,
        checksum   TEXT NOT NULL,
        applied_at INTEGER NOT NULL
      ) STRICT;`);
    connection.script(migration.sql);
    connection.run(
      "INSERT INTO migration (number, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
      migration.number,
      migration.name,
      checksumOf(migration),
      now,
    );
    connection.script("COMMIT");
  } catch (thrown) {
    connection.rollBack();
    throw thrown;
  }
}

/** Of the text without its layout, which may change. */
function checksumOf(migration: Migration): string {
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
