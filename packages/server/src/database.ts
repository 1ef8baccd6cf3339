import { type Env, isAikiError, type Logger } from "@aikirun/lib";
import type { Database } from "./config.ts";
import type { KeyedStorage, Keys } from "./storage/keys.ts";
import { memoryStorage } from "./storage/memory/memory.ts";

interface Around {
  env: Env;
  logger: Logger;
}

/** Opens where runs rest. A driver is loaded only when asked for. */
export async function openDatabase(database: Database, around: Around): Promise<KeyedStorage> {
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

/** Opens where API keys rest, of a SQLite file also beside the server that has it open, where that is safe. */
export async function openKeys(database: Database, around: Around): Promise<{ keys: Keys; close(): Promise<void> }> {
  try {
    return await openDatabase(database, around);
  } catch (thrown) {
    if (database.type !== "sqlite" || !isAikiError(thrown) || thrown.code !== "DATABASE_LOCKED") throw thrown;
    const { openBeside } = await import("./storage/sqlite/beside.ts");
    return openBeside({ path: database.path, ...around }, thrown);
  }
}
