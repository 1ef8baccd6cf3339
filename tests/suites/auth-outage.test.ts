/** API keys while PostgreSQL is locked or busy: unverified requests are refused, and heartbeats are still accepted. */

import { silentLogger } from "@aikirun/lib";
import { type Server, server } from "@aikirun/server";
import { v7 } from "uuid";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { testDatabase } from "../real/postgres.ts";
import { signed } from "./actors.ts";

const database = await testDatabase();
afterAll(() => database?.drop());

describe.skipIf(database === null)("a server with API keys", () => {
  if (database === null) return;
  const { url: at, sql } = database;
  let aikiServer: Server;
  let ask: (verb: string, body: unknown, key: string) => Promise<Response>;

  beforeEach(async () => {
    aikiServer = await server({ database: at, auth: true, databaseConnections: 4, logger: silentLogger });
    const { url } = await aikiServer.listen({ port: 0 });
    ask = (verb, body, key) => {
      const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
      return fetch(`${url}/v1/${verb}`, { method: "POST", headers, body: JSON.stringify(body) });
    };
  });
  afterEach(() => aikiServer.close());

  const key = async () => (await aikiServer.keys.create({ name: "n" })).secret;
  const renew = { ...signed, session: v7(), leaseMs: 1_000, runs: [] };

  it("a server replies 503 with Retry-After while it cannot read a key, and recovers afterwards", async () => {
    const secret = await key();
    const locked = sql("BEGIN; LOCK TABLE aiki.api_key; SELECT pg_sleep(3); COMMIT");
    await isLocked(sql, "aiki.api_key");
    const reply = await ask("renew", renew, secret);
    expect([reply.status, reply.headers.get("retry-after")]).toEqual([503, "1"]);
    await locked;
    expect((await ask("renew", renew, secret)).status).toBe(200);
  });

  it("a server accepts heartbeats while readers use all of their connections", async () => {
    const [reader, worker] = [await key(), await key()];
    await ask("find", {}, reader);
    const locked = sql("BEGIN; LOCK TABLE aiki.run; SELECT pg_sleep(1.2); COMMIT");
    await isLocked(sql, "aiki.run");
    let read = 0;
    const reads = Array.from({ length: 40 }, async () => {
      await ask("find", {}, reader);
      read += 1;
    });
    await areWaiting(sql, 3);
    expect((await ask("renew", renew, worker)).status).toBe(200);
    expect(read).toBe(0);
    await Promise.all([...reads, locked]);
  });
});

type Sql = (text: string) => Promise<unknown[]>;

async function isLocked(sql: Sql, table: string): Promise<void> {
  const held = "mode = 'AccessExclusiveLock' AND granted";
  const locks = `SELECT 1 FROM pg_locks WHERE relation = '${table}'::regclass AND ${held}`;
  while ((await sql(locks)).length === 0);
}

async function areWaiting(sql: Sql, count: number): Promise<void> {
  const waiting = "SELECT 1 FROM pg_locks WHERE relation = 'aiki.run'::regclass AND NOT granted";
  while ((await sql(waiting)).length < count);
}
