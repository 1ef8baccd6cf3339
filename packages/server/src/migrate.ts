import { AikiError, consoleLogger, type Logger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { v7 } from "uuid";
import { parseDatabase } from "./config.ts";
import { openDatabase } from "./database.ts";

/** Which database to migrate. */
export interface MigrateParams {
  /** The database to migrate: `sqlite:<path>` or `postgres://…`. */
  database: string;
  /** Logs each migration that is applied. Default: the console. */
  logger?: Logger;
}

/**
 * Brings the schema of a database up to this version, as `server()` does by itself; for a role that may change the
 * schema when the server's may not. May be called at any time, by several at once. Throws `INVALID_CONFIG`, or what
 * `server()` throws of a database that cannot be opened.
 *
 * @example
 * ```ts
 * import { migrate } from "@aikirun/server";
 *
 * await migrate({ database: "postgres://owner@localhost/aiki" });
 * ```
 */
export async function migrate({ database, logger = consoleLogger({}) }: MigrateParams): Promise<void> {
  const parsed = parseDatabase(database);
  if (parsed.type === "memory") {
    throw new AikiError(
      "INVALID_CONFIG",
      "A database in memory has nothing to migrate. Name sqlite:<path> or postgres://….",
    );
  }
  const storage = await openDatabase(parsed, { env: systemEnv({ id: v7 }), logger });
  await storage.close();
}
