import type { Env, Logger } from "@aikirun/lib";
import type { Database } from "./config.ts";
import type { KeyedStorage } from "./storage/keys.ts";
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
