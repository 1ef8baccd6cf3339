import { AikiError } from "@aikirun/lib";
import { type AppliedMigration, checksumOf, type Migration, missingMigrations } from "../migration.ts";
import { numberOf, textOf } from "../row.ts";
import type { SchemaState } from "../schema-state.ts";
import type { Connection } from "./connection.ts";
import { migrations } from "./migrations.ts";

/** "AIKI" in the header of the file: identifies a database of Aiki. */
const applicationId = 0x41494b49;

/**
 * Brings the schema up to the newest migration. Throws `DATABASE_FOREIGN` on another program's file, `SCHEMA_TOO_NEW`
 * or `SCHEMA_DRIFT`.
 */
export function migrate(connection: Connection, now: number): void {
  for (const migration of missingMigrations(migrations, appliedTo(connection))) apply(connection, migration, now);
}

/** Whether all migrations are applied. Throws what `migrate` throws, and changes nothing. */
export function isUpToDate(connection: Connection): boolean {
  return missingMigrations(migrations, appliedTo(connection)).length === 0;
}

/** How many migrations are applied. Throws what `migrate` throws, and changes nothing. */
export function schemaState(connection: Connection): SchemaState {
  const missing = missingMigrations(migrations, appliedTo(connection)).length;
  return { type: "known", applied: migrations.length - missing, known: migrations.length };
}

function appliedTo(connection: Connection): AppliedMigration[] {
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
