import { errorCodes, isAikiError, isErrorCode } from "@aikirun/lib";
import { type Config, parseConfig } from "../config.ts";
import { readRedis } from "../delivery/reported-redis.ts";
import { type Finding, findingsOf } from "./finding.ts";
import { postgresFindings } from "./postgres.ts";
import { redisFindings } from "./redis.ts";
import { sqliteFindings } from "./sqlite.ts";

/** What to check. */
export interface CheckupParams {
  /** The database of the servers: `sqlite:<path>`, `postgres://…` or `memory:`. Default: it is not checked. */
  database?: string;
  /** The same PostgreSQL without a pooler, as servers get it. Default: there is none. */
  databaseDirect?: string;
  /** The Redis of the servers: `redis://…` or `rediss://…`. Default: it is not checked. */
  redis?: string;
}

/** The result of a checkup. */
export interface Checkup {
  /** What was found, in the order of the checks. */
  findings: Finding[];
  /** By how much the clock of the database is ahead of this process's clock. Absent if it was not read. */
  databaseClock?: {
    /** Milliseconds; negative if the clock of the database is behind. */
    aheadMs: number;
    /** The greatest possible error of `aheadMs`. Milliseconds. */
    uncertaintyMs: number;
  };
}

/**
 * Checks whether servers can use a database and a Redis, and whether their settings lose data. Changes nothing. Throws
 * `INVALID_CONFIG` for a url that cannot be parsed.
 */
export async function checkup(params: CheckupParams): Promise<Checkup> {
  const { database, redis, env } = parseConfig(params);
  const checked = params.database === undefined ? { findings: [] } : await checkDatabase(database, redis !== null);
  if (redis === null) return checked;
  const at = `${redis.params.host}:${redis.params.port}`;
  return { ...checked, findings: [...checked.findings, ...redisFindings(await readRedis(redis.params, env), at)] };
}

async function checkDatabase(database: Config["database"], hasRedis: boolean): Promise<Checkup> {
  try {
    switch (database.type) {
      case "memory": {
        const message = "memory: stores no data on disk: all runs are lost when the server ends.";
        return { findings: [subject.warning(message, "Use sqlite:<path> or postgres://….")] };
      }
      case "sqlite": {
        const { inspectFile } = await import("../storage/sqlite/inspect.ts");
        return { findings: sqliteFindings(await inspectFile(database.path), database.path) };
      }
      case "postgres":
        return await checkPostgres(database.url, database.directUrl, hasRedis);
      default:
        return database satisfies never;
    }
  } catch (thrown) {
    return { findings: [failureOf(thrown)] };
  }
}

async function checkPostgres(url: string, directUrl: string | null, hasRedis: boolean): Promise<Checkup> {
  const { readSettings } = await import("../storage/postgres/settings.ts");
  const found = await readSettings(url);
  const findings = postgresFindings(found, { hasDirectUrl: directUrl !== null, hasRedis });
  const { now, readAt, uncertaintyMs } = found;
  const databaseClock = { aheadMs: now - readAt, uncertaintyMs };
  if (directUrl === null) return { findings, databaseClock };
  const direct = await readSettings(directUrl).then(
    () => subject.ok("The url without the pooler (AIKI_DATABASE_DIRECT) is reachable."),
    (thrown) => failureOf(thrown),
  );
  return { findings: [...findings, direct], databaseClock };
}

const subject = findingsOf("database");

/** The finding about an error that Aiki explains. Throws any other error. */
function failureOf(thrown: unknown): Finding {
  if (!isAikiError(thrown)) throw thrown;
  const { code, message } = thrown;
  return subject.error(message, isErrorCode(code) ? errorCodes[code].remedy : "Do what the message says.");
}
