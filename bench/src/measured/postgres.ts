import { randomUUID } from "node:crypto";
import { Client } from "pg";

/** Creates a database for `work`, and drops it when the promise of `work` settles. */
export async function withDatabase<Result>(admin: string, work: (url: string) => Promise<Result>): Promise<Result> {
  const made = await makeDatabase(admin);
  try {
    return await work(made.url);
  } finally {
    await made.drop();
  }
}

export async function makeDatabase(admin: string): Promise<{ url: string; drop: () => Promise<void> }> {
  const name = `bench_${randomUUID().replaceAll("-", "")}`;
  await executeSql(admin, `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`);
  const url = new URL(admin);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => executeSql(admin, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

export async function executeSql(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
