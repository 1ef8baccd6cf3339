/** The storage of a server of these tests, with points around and inside its transactions. */

import type { Env, Logger } from "@aikirun/lib";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import { loadDriver } from "../../packages/server/src/storage/sqlite/driver.ts";
import { lockDatabase } from "../../packages/server/src/storage/sqlite/lock.ts";
import { migrate } from "../../packages/server/src/storage/sqlite/migrate.ts";
import { connect } from "../../packages/server/src/storage/sqlite/open.ts";
import { OpenFiles } from "../../packages/server/src/storage/sqlite/open-files.ts";
import { SqliteStorage } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import type { Storage } from "../../packages/server/src/storage/storage.ts";
import { isSqlite, pathOf } from "./backend.ts";
import type { Reach } from "./fault.ts";
import { reachingStorage } from "./server-points.ts";

interface ServerCircumstances {
  reach: Reach;
  env: Env;
  logger: Logger;
  connections: number;
}

interface ReachingStorage {
  storage: Storage;
  /** Limits the size of the file. */
  limit(pages: number | "now"): void;
}

/** Opens the storage as the server does. */
export async function openReaching(
  database: string,
  { reach, env, logger, connections }: ServerCircumstances,
): Promise<ReachingStorage> {
  const { observe, around } = reachingStorage(reach);
  if (!isSqlite(database)) {
    const storage = await openPostgres({ url: database, connections, logger, observe });
    return { storage: around(storage), limit: () => {} };
  }
  const path = pathOf(database);
  const driver = await loadDriver();
  const lock = lockDatabase(driver, path);
  const connection = connect(driver, path, undefined, observe);
  migrate(connection, env.now());
  return {
    storage: around(new SqliteStorage({ connection, lock, path, files: new OpenFiles(), env })),
    limit(pages) {
      const most = pages === "now" ? connection.pragma("page_count") : pages;
      connection.script(`PRAGMA max_page_count = ${most}`);
    },
  };
}
