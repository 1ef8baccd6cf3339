import { AikiError, type Logger } from "@aikirun/lib";
import { Client, type PoolConfig, types } from "pg";
import { numberOf, type Row, textOf } from "../row.ts";
import { explainFailure } from "./failure.ts";
import { driverUrl, placeOf } from "./url.ts";

/** How long a caller waits for a connection that is free, or made. Milliseconds. */
const connectionTimeoutMs = 2_000;

/** A database that has not answered by then is taken for lost; its own limits (10 s) come first. Milliseconds. */
const answerTimeoutMs = 15_000;

/** What a server's connections call themselves, unless its url says otherwise. */
export const serverName: string = "aiki";

/** News are worth nothing by then. Milliseconds. */
const newsTimeoutMs = 3_000;

/** SQL: whether this PostgreSQL is a standby, or transactions of this session are read-only by default. */
export const isReadOnly: string = "(pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean)";

const oldestVersion = 140_000;

/**
 * Lends one connection, apart from the pools and their limits. `unlimited`: it waits for an answer as long as the
 * connection lasts. Throws `STORAGE_*` when none can be made.
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
    // Its loss shows in whatever is asked of it next.
    client.on("error", () => {});
    await client.connect();
    return client;
  } catch (thrown) {
    throw explainFailure(thrown, placeOf(url), true);
  }
}

/** Throws what a pooler answers that allows no transactions. */
export async function checkTransactions(client: Client): Promise<void> {
  await client.query("BEGIN");
  await client.query("COMMIT");
}

/**
 * Throws `DATABASE_UNSUPPORTED` for what Aiki cannot keep its promises on, and `STORAGE_READ_ONLY` for a standby or a
 * role or database whose transactions are read-only by default; warns of what weakens the promises. `isDirect` is
 * false behind a pooler, which tells another process id than that of the backend.
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
  if (row === undefined) throw unsupported(place, "it does not tell its version");
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

/** Whether the process at the other end is the one of PostgreSQL that answers: a pooler makes up a number. */
export function isBackend(client: Client, backend: number): boolean {
  return "processID" in client && client.processID === backend;
}

/** Of a connection that hears notifications. */
export function listenSettings(url: string): PoolConfig {
  return { ...settings(url), pipeline: false, query_timeout: newsTimeoutMs };
}

/** Milliseconds. A lock is given up later than a deadlock is found (1 s). */
export const limitsOfTime = {
  statement_timeout: 10_000,
  lock_timeout: 1_500,
  idle_in_transaction_session_timeout: 10_000,
};

/** No session settings: a pooler in transaction mode may sit in between. */
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

/** What the url says would go before the other settings. */
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
