/** One database for each test file: at DATABASE_URL, else in a cluster that all test files share. */

import { Client } from "pg";
import { v7 } from "uuid";
import { findBinaries } from "./binaries.ts";
import { startCluster } from "./cluster.ts";
import { madeOnce } from "./once.ts";

export interface TestDatabase {
  url: string;
  /** Executes SQL without the code under test. */
  sql(text: string): Promise<Array<Record<string, unknown>>>;
  /** The plan of a statement with these values, in a transaction that begins with `before`. */
  explain(statement: string, values: readonly unknown[], before?: string): Promise<string>;
  drop(): Promise<void>;
}

const advice =
  "There is no PostgreSQL to test with. Set DATABASE_URL to one whose role may create databases, install one " +
  "(apt install postgresql, brew install postgresql), or let npm install its optional packages.";

/** Returns null with a warning if there is no PostgreSQL. In CI it throws. */
export async function testDatabase(): Promise<TestDatabase | null> {
  const admin = process.env.DATABASE_URL || (await sharedCluster());
  if (admin !== null) return databaseIn(admin);
  if (process.env.CI === "true") throw new Error(advice);
  console.error(`\nSKIPPED: ${advice}\n`);
  return null;
}

/** Another database, for a test file that already has one. */
export async function anotherDatabase(): Promise<TestDatabase> {
  const database = await testDatabase();
  if (database === null) throw new Error("The PostgreSQL of these tests is gone.");
  return database;
}

async function databaseIn(admin: string): Promise<TestDatabase> {
  const name = `aiki_test_${v7().replaceAll("-", "")}`;
  await query(admin, `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`);
  const url = new URL(admin);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    sql: (text) => query(url.href, text),
    explain: async (statement, values, before = "SELECT 1") => {
      const rows = await query(url.href, `EXPLAIN ${statement}`, values, before);
      return rows.map((row) => String(row["QUERY PLAN"])).join("\n");
    },
    drop: async () => {
      await query(admin, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

export async function query(
  url: string,
  text: string,
  values: readonly unknown[] = [],
  before?: string,
): Promise<Array<Record<string, unknown>>> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    if (before !== undefined) await client.query(`BEGIN; ${before}`);
    return (await client.query<Record<string, unknown>>(text, [...values])).rows;
  } finally {
    await client.end();
  }
}

async function sharedCluster(): Promise<string | null> {
  return madeOnce("postgres", async (directory, owner) => {
    const binaries = await findBinaries(directory);
    return binaries === null ? null : (await startCluster(binaries, directory, owner)).url;
  });
}
