import { consoleLogger, type Logger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { v7 } from "uuid";
import { type Keyring, keyring } from "./auth/keyring.ts";
import { invalid, parseDatabase } from "./config.ts";
import { openKeys } from "./database.ts";

/** The parameters of `apiKeys()`. */
export interface ApiKeysParams {
  /** The database that holds the keys: `sqlite:<path>` or `postgres://…`. */
  database: string;
  /** Logs the keys that are created and revoked. Default: the console. */
  logger?: Logger;
}

/** The API keys of a database that is open until it is closed. */
export interface ApiKeys extends Keyring {
  /** Closes the database. */
  close(): Promise<void>;
}

/**
 * Opens a database to manage its API keys; the caller needs access to the database, but no key. Servers may use the
 * database at the same time; a SQLite file only if two programs can write to it safely, else `DATABASE_LOCKED` says
 * what to do. Throws `INVALID_CONFIG`, or what `server()` throws for a database that cannot be opened.
 *
 * @example
 * ```ts
 * import { apiKeys } from "@aikirun/server";
 *
 * const keys = await apiKeys({ database: "sqlite:aiki.db" });
 * const { secret } = await keys.create({ name: "worker of team A", scopes: ["workers:run"] });
 * console.log(secret);
 * await keys.close();
 * ```
 */
export async function apiKeys({ database, logger = consoleLogger({}) }: ApiKeysParams): Promise<ApiKeys> {
  const parsed = parseDatabase(database);
  if (parsed.type === "memory") {
    throw invalid("A database in memory has no keys that last. Name sqlite:<path> or postgres://….");
  }
  const opened = await openKeys(parsed, { env: systemEnv({ id: v7 }), logger });
  return { ...keyring(opened.keys, logger), close: () => opened.close() };
}
