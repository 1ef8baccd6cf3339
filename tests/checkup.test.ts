/** `checkup()` against a real PostgreSQL, PgBouncer and Redis. */

import { silentLogger } from "@aikirun/lib";
import { checkup, type Finding, migrate } from "@aikirun/server";
import { afterAll, describe, expect, inject, it } from "vitest";
import { findPooler, startPooler } from "./real/pgbouncer.ts";
import { testDatabase } from "./real/postgres.ts";
import { testRedis } from "./real/redis.ts";

const found = await testDatabase();
const program = found === null ? null : await findPooler();
const redis = await testRedis();
afterAll(() => found?.drop());

function concerns(findings: readonly Finding[]): string[] {
  return findings.flatMap(({ level, message }) => (level === "ok" ? [] : [`${level}: ${message}`]));
}

describe.skipIf(found === null)("with PostgreSQL", () => {
  if (found === null) return;
  const { url, sql } = found;
  /** The concerns, except those about how the cluster of the tests is configured. */
  const checked = async (database: string, more: { databaseDirect?: string } = {}) => {
    const { findings, databaseClock } = await checkup({ database, ...more });
    return { concerns: concerns(findings).filter((text) => !/fsync|full_page|synchronous/.test(text)), databaseClock };
  };

  it("an empty database has no schema yet, and a migrated one has; the clock of the database is read", async () => {
    expect((await checked(url)).concerns).toEqual(["warning: It has no schema of Aiki yet."]);
    expect(await sql("SELECT 1 FROM pg_namespace WHERE nspname = 'aiki'")).toEqual([]);
    await migrate({ database: url, logger: silentLogger });
    const { concerns: none, databaseClock } = await checked(url);
    expect(none).toEqual([]);
    expect(Math.abs(databaseClock?.aheadMs ?? Number.NaN)).toBeLessThanOrEqual(5 + (databaseClock?.uncertaintyMs ?? 0));
  });

  it("a setting of the database that loses commits is an error", async () => {
    const name = new URL(url).pathname.slice(1);
    for (const value of ["off", "on"]) {
      await sql(`ALTER DATABASE ${name} SET synchronous_commit = ${value}`);
      const { findings } = await checkup({ database: url });
      expect([value, concerns(findings).some((text) => text.startsWith("error: synchronous_commit is off"))]).toEqual([
        value,
        value === "off",
      ]);
    }
  });

  it.skipIf(program === null)("a pooler and its transaction mode are found", async () => {
    const { directory } = inject("services");
    for (const [mode, expected] of [
      ["transaction", /^warning: The connection leads through a pooler in transaction mode, so/],
      ["session", /^warning: The connection leads through a pooler, so/],
    ] as const) {
      const pooler = await startPooler({ program: program ?? "", directory, database: url, connections: 3, mode });
      expect((await checked(pooler.url)).concerns).toEqual([expect.stringMatching(expected)]);
      expect((await checked(pooler.url, { databaseDirect: url })).concerns).toEqual([]);
      const lost = await checked(pooler.url, { databaseDirect: "postgres://127.0.0.1:1/x" });
      expect(lost.concerns).toEqual([expect.stringMatching(/^error: PostgreSQL at 127\.0\.0\.1:1/)]);
      await pooler.close();
    }
  });
});

it.skipIf(redis === null)("a real Redis has a version and its settings are read", async () => {
  const { host, port, password } = redis?.address ?? { host: "", port: 0 };
  const login = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
  const { findings } = await checkup({ redis: `redis://${login}${host}:${port}` });
  expect(findings.map(({ message }) => message)).toEqual([
    expect.stringMatching(/^(Redis|Valkey) \d+\.\d+\.\d+ at \S+ is reachable\.$/),
    expect.stringMatching(/^maxmemory-policy is /),
    expect.stringMatching(/^appendonly is (on|off)\./),
  ]);
});
