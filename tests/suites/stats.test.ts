/** Runs that an older version of Aiki recorded are counted like new ones, and from indexes only. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import * as sql from "../../packages/server/src/storage/postgres/statements.ts";
import { loadDriver } from "../../packages/server/src/storage/sqlite/driver.ts";
import { connect } from "../../packages/server/src/storage/sqlite/open.ts";
import { openSqlite } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import type { Storage } from "../../packages/server/src/storage/storage.ts";
import { testDatabase } from "../real/postgres.ts";
import { queuedRun } from "./records.ts";
import { beforeStats, earlierRuns, earlierStats, sqliteBeforeStats, statsOf } from "./stats.suite.ts";

/** Records the runs, reverts the migration, and opens the storage again, which applies it. */
async function migrated(open: () => Promise<Storage>, revert: () => Promise<unknown>): Promise<unknown> {
  const before = await open();
  await before.transaction((tx) => tx.insert(earlierRuns));
  await before.close();
  await revert();
  const after = await open();
  const stats = await statsOf(after);
  await after.close();
  return stats;
}

it("the SQLite migration to stats counts existing runs", async () => {
  const directory = await mkdtemp(join(tmpdir(), "aiki-stats-"));
  const path = join(directory, "aiki.db");
  const driver = await loadDriver();
  const revert = async (): Promise<void> => {
    const connection = connect(driver, path, undefined);
    for (const statement of [...sqliteBeforeStats, "DELETE FROM migration WHERE number >= 7"]) {
      connection.run(statement);
    }
    connection.close();
  };
  const stats = await migrated(() => openSqlite({ path, env: { now: () => 1_000 } }), revert);
  expect(stats).toEqual(earlierStats);
  await rm(directory, { recursive: true });
});

const database = await testDatabase();
afterAll(() => database?.drop());

it.skipIf(database === null)("the PostgreSQL migration to stats counts existing runs", async () => {
  if (database === null) return;
  const revert = () => database.sql(`${beforeStats} DELETE FROM aiki.migration WHERE number >= 8`);
  const stats = await migrated(() => openPostgres({ url: database.url, connections: 2 }), revert);
  expect(stats).toEqual(earlierStats);
});

it.skipIf(database === null)("PostgreSQL counts from indexes only", async () => {
  if (database === null) return;
  const storage = await openPostgres({ url: database.url, connections: 2 });
  await storage.transaction((tx) => tx.insert(Array.from({ length: 2_000 }, (_, n) => queuedRun(n + 10))));
  await database.sql("VACUUM (ANALYZE) aiki.run");
  const explained = await database.explain(sql.selectRunStats, [9, 9, 9]);
  expect(explained).toContain("Index Only Scan using run_queued");
  expect(explained).toContain("Index Only Scan using run_stalled");
  expect(explained).not.toMatch(/Seq Scan|Sort/);
  await storage.close();
});
