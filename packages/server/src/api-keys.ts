import { consoleLogger, type Logger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { v7 } from "uuid";
import { type Keyring, keyring } from "./auth/keyring.ts";
import { invalid, parseDatabase } from "./config.ts";
import { openKeys } from "./database.ts";

/** Which database's API keys. */
export interface ApiKeysParams {
  /** The database that holds the keys: `sqlite:<path>` or `postgres://…`. */
  database: string;
  /** Hears of keys that are created and revoked. Default: the console. */
  logger?: Logger;
}

/** The API keys of a database that is open until it is closed. */
export interface ApiKeys extends Keyring {
  /** Closes the database. */
  close(): Promise<void>;
}

/**
 * Opens a database for the sake of its API keys, as its operator: whoever can open it needs no key. Servers may be
 * running on it; of a SQLite file only where two programs may safely write to it, else `DATABASE_LOCKED` says what to
 * do. Throws `INVALID_CONFIG`, or what `server()` throws of a database that cannot be opened.
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
