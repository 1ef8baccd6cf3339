import { AikiError, type Logger } from "@aikirun/lib";
import { Client, type PoolConfig, types } from "pg";
import { numberOf, type Row, textOf } from "../row.ts";
import { explainFailure } from "./failure.ts";
import { driverUrl, placeOf } from "./url.ts";

/** How long a caller waits for a free or new connection. Milliseconds. */
const connectionTimeoutMs = 2_000;

/** A connection without a reply for this long is lost; the database's own limits (10 s) are shorter. Milliseconds. */
const answerTimeoutMs = 15_000;

/** The application name of a server's connections, unless its url sets another. */
export const serverName: string = "aiki";

/** The query timeout of notifications: later than this they are useless. Milliseconds. */
const notificationTimeoutMs = 3_000;

/** SQL: whether this PostgreSQL is a standby, or transactions of this session are read-only by default. */
export const isReadOnly: string = "(pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean)";

const oldestVersion = 140_000;

/**
 * Calls `work` with a connection that belongs to no pool. `unlimited`: queries have no timeout. Throws `STORAGE_*` when
 * it cannot connect.
 */
export async function withConnection<T>(
  url: string,
  waiting: "limited" | "unlimited",
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect(url, waiting);
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}

async function connect(url: string, waiting: "limited" | "unlimited"): Promise<Client> {
  try {
    const client = new Client(waiting === "limited" ? settings(url) : unlimited(url));
    // If the connection is lost, the next query fails.
    client.on("error", () => {});
    await client.connect();
    return client;
  } catch (thrown) {
    throw explainFailure(thrown, placeOf(url), true);
  }
}

/** Throws the error of a pooler that does not allow transactions. */
export async function checkTransactions(client: Client): Promise<void> {
  await client.query("BEGIN");
  await client.query("COMMIT");
}

/**
 * Throws `DATABASE_UNSUPPORTED` for a database that Aiki cannot work with, and `STORAGE_READ_ONLY` for a standby or if
 * transactions are read-only by default; warns of settings that may lose commits. `isDirect` is false behind a pooler,
 * which reports a process id that differs from that of the backend.
 */
export async function checkDatabase(
  client: Client,
  place: string,
  logger: Logger | undefined,
): Promise<{ isDirect: boolean }> {
  const { rows } = await client.query<Row>(`
    SELECT
      current_setting('server_version_num')::bigint AS number,
      current_setting('server_version') AS version,
      current_setting('server_encoding') AS encoding,
      current_setting('synchronous_commit') AS synchronous,
      current_setting('array_nulls') AS array_nulls,
      ${isReadOnly} AS read_only,
      pg_backend_pid() AS backend`);
  const [row] = rows;
  if (row === undefined) throw unsupported(place, "it does not return its version");
  if (numberOf(row, "number") < oldestVersion) {
    throw unsupported(place, `it is version ${textOf(row, "version")}, and Aiki needs 14 or later`);
  }
  if (textOf(row, "encoding") !== "UTF8") {
    throw unsupported(place, `its encoding is ${textOf(row, "encoding")}, and Aiki needs UTF8`);
  }
  if (textOf(row, "array_nulls") === "off") {
    throw unsupported(place, "array_nulls is off, which turns nulls into text; reset it for the role or the database");
  }
  if (row.read_only === true) throw readOnly(place);
  if (textOf(row, "synchronous") === "off") {
    logger?.warn("synchronous_commit is off: what was acknowledged may be lost when PostgreSQL crashes", { place });
  }
  return { isDirect: isBackend(client, numberOf(row, "backend")) };
}

/** Whether the connection leads to this PostgreSQL process directly: a pooler reports an invented process id. */
export function isBackend(client: Client, backend: number): boolean {
  return "processID" in client && client.processID === backend;
}

/** The settings of a connection that receives notifications. */
export function listenSettings(url: string): PoolConfig {
  return { ...settings(url), pipeline: false, query_timeout: notificationTimeoutMs };
}

/** Milliseconds. `lock_timeout` is longer than the time in which PostgreSQL detects a deadlock (1 s). */
export const timeLimits = {
  statement_timeout: 10_000,
  lock_timeout: 1_500,
  idle_in_transaction_session_timeout: 10_000,
};

/** Without session settings, because a pooler in transaction mode may be in between. */
export function settings(url: string): PoolConfig {
  return {
    connectionString: driverUrl(url),
    connectionTimeoutMillis: connectionTimeoutMs,
    query_timeout: answerTimeoutMs,
    keepAlive: true,
    pipeline: true,
    fallback_application_name: serverName,
    types: { getTypeParser: (id: number, format?: "text" | "binary") => parserOf(id, format) },
  };
}

/** Removes the timeout from the url, because parameters of the url override the other settings. */
function unlimited(url: string): PoolConfig {
  const without = new URL(url);
  without.searchParams.delete("query_timeout");
  return { ...settings(without.href), query_timeout: 0 };
}

/** Counts and epoch milliseconds are far below 2^53. */
function parserOf(id: number, format: "text" | "binary" = "text"): (value: string) => unknown {
  return id === types.builtins.INT8 ? Number : types.getTypeParser(id, format);
}

/** The error for a PostgreSQL that `isReadOnly`. */
export function readOnly(place: string): AikiError {
  return new AikiError(
    "STORAGE_READ_ONLY",
    `PostgreSQL at ${place} takes no writes: it is a standby, or default_transaction_read_only is on. ` +
      "Connect to the primary.",
    { ids: { place } },
  );
}

function unsupported(place: string, reason: string): AikiError {
  return new AikiError("DATABASE_UNSUPPORTED", `PostgreSQL at ${place} cannot be used: ${reason}.`, { ids: { place } });
}
