import { AikiError, type Logger } from "@aikirun/lib";
import type { ClientBase } from "pg";
import { type AppliedMigration, checksumOf, missingMigrations } from "../migration.ts";
import { numberOf, type Row, textOf } from "../row.ts";
import { migrations } from "./migrations.ts";

/** "AIKI": who holds this lock of the database migrates it. */
const lockKey = 0x41494b49;

/**
 * Brings the schema `aiki` up to the newest migration, in one transaction; of servers that start together one does it
 * and the others wait. Touches nothing when nothing is missing. Throws `DATABASE_FOREIGN` when the schema is another
 * program's, `SCHEMA_TOO_NEW` or `SCHEMA_DRIFT`.
 */
export async function migrate(client: ClientBase, logger: Logger | undefined): Promise<void> {
  if (missingMigrations(migrations, await appliedTo(client)).length === 0) return;
  await client.query("BEGIN");
  try {
    await client.query("SELECT pg_advisory_xact_lock($1)", [lockKey]);
    // Migrations have literals that need it, and a role or a database may have it off.
    await client.query("SET LOCAL standard_conforming_strings = on");
    const missing = missingMigrations(migrations, await appliedTo(client));
    if (missing.length === migrations.length) await createSchema(client);
    for (const migration of missing) {
      await client.query(migration.sql);
      await client.query("INSERT INTO aiki.migration (number, name, checksum) VALUES ($1, $2, $3)", [
        migration.number,
        migration.name,
        checksumOf(migration),
      ]);
    }
    await client.query("COMMIT");
    for (const { number, name } of missing) logger?.info("applied a migration", { number, name });
  } catch (thrown) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw thrown;
  }
}

async function appliedTo(client: ClientBase): Promise<AppliedMigration[]> {
  const found = await rowsOf(
    client,
    `
    SELECT relname AS name
    FROM pg_catalog.pg_class
    WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'aiki')`,
  );
  if (found.length === 0) return [];
  if (!found.some((row) => textOf(row, "name") === "migration")) {
    throw new AikiError(
      "DATABASE_FOREIGN",
      'The schema "aiki" of this database holds tables of another program. Give Aiki a database of its own.',
    );
  }
  const applied = await rowsOf(client, "SELECT number, checksum FROM aiki.migration ORDER BY number");
  return applied.map((row) => ({ number: numberOf(row, "number"), checksum: textOf(row, "checksum") }));
}

/** A role that may not create schemas needs one that was created for it. */
async function createSchema(client: ClientBase): Promise<void> {
  const [schema] = await rowsOf(client, "SELECT 1 AS found FROM pg_catalog.pg_namespace WHERE nspname = 'aiki'");
  if (schema === undefined) await client.query("CREATE SCHEMA aiki");
  await client.query(`
    CREATE TABLE aiki.migration (
      number     integer PRIMARY KEY,
      name       text NOT NULL,
      checksum   text NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT now()
    )`);
}

async function rowsOf(client: ClientBase, sql: string): Promise<Row[]> {
  return (await client.query<Row>(sql)).rows;
}
