import { type Env, isAikiError, type Logger } from "@aikirun/lib";
import type { Database } from "./config.ts";
import type { KeyedStorage, Keys } from "./storage/keys.ts";
import { memoryStorage } from "./storage/memory/memory.ts";

interface OpenOptions {
  env: Env;
  logger: Logger;
}

/** Opens a database. Loads only the driver that it needs. */
export async function openDatabase(database: Database, around: OpenOptions): Promise<KeyedStorage> {
  switch (database.type) {
    case "memory":
      return memoryStorage({ env: around.env });
    case "sqlite": {
      const { openSqlite } = await import("./storage/sqlite/sqlite.ts");
      return openSqlite({ path: database.path, ...around });
    }
    case "postgres": {
      const { openPostgres } = await import("./storage/postgres/postgres.ts");
      return openPostgres({ url: database.url, connections: database.connections, logger: around.logger });
    }
    default:
      return database satisfies never;
  }
}

/** Opens the API keys of a database; of a SQLite file also while a server has it open, if that is safe. */
export async function openKeys(
  database: Database,
  around: OpenOptions,
): Promise<{ keys: Keys; close(): Promise<void> }> {
  try {
    return await openDatabase(database, around);
  } catch (thrown) {
    if (database.type !== "sqlite" || !isAikiError(thrown) || thrown.code !== "DATABASE_LOCKED") throw thrown;
    const { openKeysOfLockedFile } = await import("./storage/sqlite/locked-file-keys.ts");
    return openKeysOfLockedFile({ path: database.path, ...around }, thrown);
  }
}
