import type { Client } from "pg";
import { numberOf, type Row, textOf } from "../row.ts";
import { type SchemaState, schemaOf } from "../schema-state.ts";
import { isBackend, isReadOnly, withConnection } from "./connect.ts";
import { explainFailure } from "./failure.ts";
import { schemaState } from "./migrate.ts";
import { placeOf } from "./url.ts";

/** What a PostgreSQL says about itself to one connection. */
export interface PostgresSettings {
  version: string;
  /** The version as one number: 160004 for 16.4. */
  versionNumber: number;
  encoding: string;
  /** The values of settings by name: `on`, `off`, or as PostgreSQL writes them. */
  settings: Readonly<Record<string, string>>;
  /** Whether it is a standby, or transactions are read-only by default. */
  isReadOnly: boolean;
  pooling: Pooling;
  schema: SchemaState;
  /** The clock of the database, and the clock of this process at the same moment. Epoch milliseconds. */
  now: number;
  readAt: number;
  /** The greatest possible error of `readAt`. Milliseconds. */
  uncertaintyMs: number;
}

/** Whether a pooler is between this process and PostgreSQL. `unknown_mode`: in session mode, or it has no load. */
export type Pooling = "none" | "transaction_mode" | "unknown_mode";

/** Settings whose values the checkup judges. */
const named = ["fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names", "array_nulls"];

const selectSettings = `
  SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::bigint AS number,
    current_setting('server_encoding') AS encoding,
    ${named.map((name) => `current_setting('${name}') AS ${name}`).join(",\n    ")},
    ${isReadOnly} AS read_only,
    pg_backend_pid() AS backend,
    floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now`;

const selectBackend = "SELECT pg_backend_pid() AS backend";

/** How often two connections are compared. */
const comparisons = 3;

/** Changes nothing. Throws `STORAGE_*`. */
export async function readSettings(url: string): Promise<PostgresSettings> {
  try {
    return await withConnection(url, "limited", (client) => settingsOf(client, url));
  } catch (thrown) {
    throw explainFailure(thrown, placeOf(url));
  }
}

async function settingsOf(client: Client, url: string): Promise<PostgresSettings> {
  // The first query of a connection takes longer than the second one.
  await first(client, selectSettings);
  const before = Date.now();
  const row = await first(client, selectSettings);
  const after = Date.now();
  return {
    version: textOf(row, "version"),
    versionNumber: numberOf(row, "number"),
    encoding: textOf(row, "encoding"),
    settings: Object.fromEntries(named.map((name) => [name, textOf(row, name)])),
    isReadOnly: row.read_only === true,
    pooling: isBackend(client, numberOf(row, "backend")) ? "none" : await poolingOf(client, url),
    schema: await schemaOf(() => schemaState(client)),
    now: numberOf(row, "now"),
    readAt: (before + after) / 2,
    uncertaintyMs: (after - before) / 2,
  };
}

/** Two open connections that use the same process of PostgreSQL, one after the other, are pooled for a transaction. */
async function poolingOf(one: Client, url: string): Promise<Pooling> {
  return withConnection(url, "limited", async (other) => {
    for (let count = 0; count < comparisons; count++) {
      const [left, right] = [await first(one, selectBackend), await first(other, selectBackend)];
      if (numberOf(left, "backend") === numberOf(right, "backend")) return "transaction_mode";
    }
    return "unknown_mode";
  });
}

async function first(client: Client, statement: string): Promise<Row> {
  return (await client.query<Row>(statement)).rows[0] ?? {};
}
