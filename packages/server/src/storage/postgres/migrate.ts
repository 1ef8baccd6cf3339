import { setTimeout as pause } from "node:timers/promises";
import { AikiError, type Logger } from "@aikirun/lib";
import { type ClientBase, DatabaseError } from "pg";
import { type AppliedMigration, checksumOf, type Migration, missingMigrations } from "../migration.ts";
import { numberOf, type Row, textOf } from "../row.ts";
import type { SchemaState } from "../schema-state.ts";
import { type Blocked, reportBlockers } from "./blockers.ts";
import { withConnection } from "./connect.ts";
import { migrations } from "./migrations.ts";

/** "AIKI": the advisory lock that a session holds while it migrates the database. */
const lockKey = 0x41494b49;

/** The pause between two attempts, in which statements that waited behind the first one are executed. Milliseconds. */
const pauseMs = 1_000;

/** SQLSTATEs after which a migration is retried: `lock_timeout` has passed, or a deadlock was detected. */
const lockFailures: ReadonlySet<string | undefined> = new Set(["55P03", "40P01"]);

/** Removes the time limits of the role and the database, because a migration may take long. */
const removeLimits = `
  SELECT set_config(name, '0', true)
  FROM pg_catalog.pg_settings
  WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')`;

/**
 * While a migration waits for a table, all later statements on that table wait behind it. So the migration stops
 * waiting before these statements exceed the `lock_timeout` of servers (1.5 s).
 */
const limitLocks = "SELECT set_config('lock_timeout', '1s', true)";

/**
 * PostgreSQL ends a statement whose client is gone, so that the locks of a killed process do not delay the next
 * migration. On platforms without this check, the locks are released when the statement ends.
 */
const endWithClient = `
  DO $$ BEGIN
    PERFORM set_config('client_connection_check_interval', '1s', true);
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END $$`;

/**
 * Whether the schema `aiki` lacks a migration. Throws `DATABASE_FOREIGN` when the schema is another program's,
 * `SCHEMA_TOO_NEW` or `SCHEMA_DRIFT`.
 */
export async function isOutdated(client: ClientBase): Promise<boolean> {
  return missingMigrations(migrations, await appliedTo(client)).length > 0;
}

/** How many migrations are applied. Throws what `isOutdated` throws. */
export async function schemaState(client: ClientBase): Promise<SchemaState> {
  const missing = missingMigrations(migrations, await appliedTo(client)).length;
  return { type: "known", applied: migrations.length - missing, known: migrations.length };
}

/**
 * Brings the schema `aiki` up to the newest migration, in one transaction. If several servers start together, one
 * migrates and the others wait. A migration has no time limit. If it cannot get a lock within a second, it is rolled
 * back and retried; the log says which sessions hold the lock. Throws what `isOutdated` throws.
 */
export async function migrate(url: string, logger: Logger | undefined): Promise<void> {
  const blocked: Blocked = { pid: null, doing: "" };
  const stop = new AbortController();
  const reporting = reportBlockers(url, blocked, logger, stop.signal);
  try {
    await withConnection(url, "unlimited", async (client) => {
      while (!(await attempt(client, blocked, logger))) await pause(pauseMs);
    });
  } finally {
    stop.abort();
    await reporting;
  }
}

/** Returns false when other sessions hold a lock: nothing was changed. */
async function attempt(client: ClientBase, blocked: Blocked, logger: Logger | undefined): Promise<boolean> {
  await client.query("BEGIN");
  try {
    for (const setting of [removeLimits, limitLocks, endWithClient]) await client.query(setting);
    // Behind a pooler, each transaction may be on another connection.
    const [row] = await rowsOf(client, "SELECT pg_backend_pid() AS pid");
    blocked.pid = row === undefined ? null : numberOf(row, "pid");
    blocked.doing = "beginning, while another process may be migrating";
    await client.query("SELECT pg_advisory_xact_lock($1)", [lockKey]);
    // Literals in migrations need it, and it may be off for the role or the database.
    await client.query("SET LOCAL standard_conforming_strings = on");
    const missing = missingMigrations(migrations, await appliedTo(client));
    if (missing.length === migrations.length) await createSchema(client);
    for (const migration of missing) {
      blocked.doing = `migration ${migration.number} (${migration.name})`;
      await apply(client, migration);
    }
    await client.query("COMMIT");
    for (const { number, name } of missing) logger?.info("applied a migration", { number, name });
    return true;
  } catch (thrown) {
    await client.query("ROLLBACK").catch(() => undefined);
    if (thrown instanceof DatabaseError && lockFailures.has(thrown.code)) return false;
    throw thrown;
  } finally {
    blocked.pid = null;
  }
}

async function apply(client: ClientBase, migration: Migration): Promise<void> {
  await client.query(migration.sql);
  await client.query("INSERT INTO aiki.migration (number, name, checksum) VALUES ($1, $2, $3)", [
    migration.number,
    migration.name,
    checksumOf(migration),
  ]);
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

/** Creates the schema only if it is missing, because the role may lack the privilege. */
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
