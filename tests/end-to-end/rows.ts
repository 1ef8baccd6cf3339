/** The rows of a database in one consistent state, read without the server, and the integrity of its files. */

import type { Entry } from "@aikirun/lib/protocol";
import { Client, types } from "pg";
import type { WholeRun } from "../../packages/server/src/core/run.ts";
import { wholeRun } from "../../packages/server/src/core/unread.ts";
import { entryOf } from "../../packages/server/src/storage/entry-row.ts";
import * as postgres from "../../packages/server/src/storage/postgres/statements.ts";
import { type Row, runOf, textOf } from "../../packages/server/src/storage/row.ts";
import { loadDriver } from "../../packages/server/src/storage/sqlite/driver.ts";
import * as sqlite from "../../packages/server/src/storage/sqlite/statements.ts";
import { isSqlite, pathOf } from "./backend.ts";

export interface DatabaseRows {
  runs: WholeRun[];
  entries: Entry[];
  /** The result of the database's own check of its files: `ok`, or one line for each fault. */
  integrity: string[];
}

/** Servers may have the database open. */
export function readRows(database: string): Promise<DatabaseRows> {
  return isSqlite(database) ? readSqlite(pathOf(database)) : readPostgres(database);
}

async function readSqlite(path: string): Promise<DatabaseRows> {
  const driver = await loadDriver();
  const database = new driver(path);
  const all = (sql: string): Row[] => database.prepare(sql).all();
  try {
    database.exec("PRAGMA query_only = 1");
    return {
      runs: database.prepare(sqlite.selectAll).all("", most).map(wholeRunOf),
      entries: all("SELECT * FROM entry ORDER BY run_id, seq").map(entryOf),
      integrity: all("PRAGMA integrity_check").map((row) => textOf(row, "integrity_check")),
    };
  } finally {
    database.close();
  }
}

/** More runs than any test makes. */
const most = 10_000_000;

function wholeRunOf(row: Row): WholeRun {
  return wholeRun(runOf(row));
}

/** Compares every index of Aiki with its table. Not checked if the extension is not available. */
const checkIndexes = `
  SELECT bt_index_check(indexrelid, true)
  FROM pg_index
  JOIN pg_class ON pg_class.oid = indexrelid
  WHERE relnamespace = 'aiki'::regnamespace`;

async function readPostgres(url: string): Promise<DatabaseRows> {
  const client = new Client({
    connectionString: url,
    types: { getTypeParser: (id: number) => (id === types.builtins.INT8 ? Number : types.getTypeParser(id)) },
  });
  await client.connect();
  const all = async (sql: string, values: unknown[] = []): Promise<Row[]> =>
    (await client.query<Row>(sql, values)).rows;
  try {
    await all("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const runs = await all(postgres.selectAll, ["", most]);
    const entries = await all("SELECT * FROM aiki.entry ORDER BY run_id, seq");
    await all("COMMIT");
    const canCheck = await all("CREATE EXTENSION IF NOT EXISTS amcheck").catch(() => null);
    const damage = canCheck === null ? null : await all(checkIndexes).catch((error: unknown) => String(error));
    return {
      runs: runs.map(wholeRunOf),
      entries: entries.map(entryOf),
      integrity: [typeof damage === "string" ? damage : "ok"],
    };
  } finally {
    await client.end();
  }
}
