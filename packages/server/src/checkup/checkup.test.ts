import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@aikirun/lib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { server } from "../server.ts";
import type { PostgresSettings } from "../storage/postgres/settings.ts";
import { checkup } from "./checkup.ts";
import type { Finding } from "./finding.ts";
import { postgresFindings } from "./postgres.ts";
import { redisFindings } from "./redis.ts";
import { schemaFinding } from "./schema.ts";

/** The findings that are not ok: their levels, and the first words of their messages. */
function concerns(findings: readonly Finding[]): string[] {
  return findings.flatMap(({ level, message }) => (level === "ok" ? [] : [`${level}: ${message}`]));
}

const settings = {
  fsync: "on",
  full_page_writes: "on",
  synchronous_commit: "on",
  synchronous_standby_names: "",
  array_nulls: "on",
};
const healthy: PostgresSettings = {
  version: "16.4",
  versionNumber: 160_004,
  encoding: "UTF8",
  settings,
  isReadOnly: false,
  pooling: "none",
  schema: { type: "known", applied: 7, known: 7 },
  now: 0,
  readAt: 0,
  uncertaintyMs: 0,
};
const none = { hasDirectUrl: false, hasRedis: false };

describe("a checkup of PostgreSQL", () => {
  it("a healthy PostgreSQL gives only findings that are ok", () => {
    expect(concerns(postgresFindings(healthy, none))).toEqual([]);
  });

  it.each<[Partial<PostgresSettings>, RegExp]>([
    [{ version: "13.9", versionNumber: 130_009 }, /^error: It is PostgreSQL 13\.9/],
    [{ encoding: "SQL_ASCII" }, /^error: Its encoding is SQL_ASCII/],
    [{ isReadOnly: true }, /^error: It takes no writes/],
    [{ settings: { ...settings, fsync: "off" } }, /^error: fsync is off/],
    [{ settings: { ...settings, full_page_writes: "off" } }, /^error: full_page_writes is off/],
    [{ settings: { ...settings, synchronous_commit: "off" } }, /^error: synchronous_commit is off/],
    [{ settings: { ...settings, array_nulls: "off" } }, /^error: array_nulls is off/],
    [
      { settings: { ...settings, synchronous_commit: "local", synchronous_standby_names: "a" } },
      /^warning: synchronous_commit is local/,
    ],
    [{ pooling: "transaction_mode" }, /^warning: The connection leads through a pooler in transaction mode/],
    [{ pooling: "unknown_mode" }, /^warning: The connection leads through a pooler, so/],
    [{ schema: { type: "known", applied: 0, known: 7 } }, /^warning: It has no schema of Aiki yet/],
    [{ schema: { type: "known", applied: 5, known: 7 } }, /^warning: Its schema is at migration 5/],
    [{ schema: { type: "refused", code: "SCHEMA_TOO_NEW", message: "Later." } }, /^error: Later\.$/],
  ])("%j gives one concern, with a remedy", (differing, expected) => {
    const findings = postgresFindings({ ...healthy, ...differing }, none);
    expect(concerns(findings)).toEqual([expect.stringMatching(expected)]);
    for (const { level, remedy } of findings) expect(remedy !== undefined).toBe(level !== "ok");
  });

  it("a pooler is no concern if servers can notify each other in another way", () => {
    for (const paths of [
      { ...none, hasDirectUrl: true },
      { ...none, hasRedis: true },
    ]) {
      expect(concerns(postgresFindings({ ...healthy, pooling: "transaction_mode" }, paths))).toEqual([]);
    }
  });

  it("synchronous_commit local is no concern without standbys", () => {
    const local = { ...healthy, settings: { ...settings, synchronous_commit: "local" } };
    expect(concerns(postgresFindings(local, none))).toEqual([]);
  });

  it("a refused schema says what to do about its error code", () => {
    const finding = schemaFinding({ type: "refused", code: "DATABASE_FOREIGN", message: "Foreign." });
    expect(finding.remedy).toMatch(/separate file or database/);
  });

  it("a PostgreSQL that cannot be reached is an error with a remedy, and a password is not shown", async () => {
    const { findings, databaseClock } = await checkup({ database: "postgres://u:hunter2@127.0.0.1:1/db" });
    expect(findings).toEqual([
      expect.objectContaining({ level: "error", message: expect.stringMatching(/127\.0\.0\.1:1\/db: .*ECONNREFUSED/) }),
    ]);
    expect(JSON.stringify(findings)).not.toContain("hunter2");
    expect(databaseClock).toBeUndefined();
  });
});

describe("a checkup of Redis", () => {
  const fields = new Map([
    ["redis_version", "7.0.15"],
    ["maxmemory_policy", "noeviction"],
    ["aof_enabled", "0"],
  ]);
  const findings = (differing: Record<string, string>) =>
    redisFindings({ ok: true, fields: new Map([...fields, ...Object.entries(differing)]) }, "h:6379");

  it.each<[Record<string, string>, RegExp[]]>([
    [{}, []],
    [{ redis_version: "6.2.0" }, []],
    [{ redis_version: "7.2.4", valkey_version: "8.0.1" }, []],
    [{ aof_enabled: "1" }, []],
    [{ redis_version: "6.0.9" }, [/^error: Redis at h:6379 is version 6\.0\.9/]],
    [{ redis_version: "5.0.14" }, [/^error: Redis at h:6379 is version 5/]],
    [{ maxmemory_policy: "allkeys-lru" }, [/^warning: maxmemory-policy is allkeys-lru/]],
  ])("%j gives these concerns", (differing, expected) => {
    expect(concerns(findings(differing))).toEqual(expected.map((one) => expect.stringMatching(one)));
  });

  it("a user who may not read the settings is no concern, and a refused login is an error", () => {
    const refusal = (code: string) => redisFindings({ ok: false, code, message: "no" }, "h:1");
    expect(concerns(refusal("NOPERM"))).toEqual([]);
    expect(refusal("WRONGPASS")[0]?.remedy).toMatch(/password/);
  });

  it("a Redis that cannot be reached is an error", async () => {
    const { findings } = await checkup({ redis: "redis://127.0.0.1:1" });
    expect(concerns(findings)).toEqual([expect.stringMatching(/^error: Redis at 127\.0\.0\.1:1 cannot be used: /)]);
  });

  it("a Redis that does not answer is an error", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const address = silent.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const { findings } = await checkup({ redis: `redis://127.0.0.1:${port}` });
    silent.close();
    expect(concerns(findings)).toEqual([expect.stringMatching(/cannot be used: no answer .* within 3000 ms/)]);
  });
});

describe("a checkup of SQLite", () => {
  let directory = "";
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "aiki-checkup-"));
  });
  afterAll(() => rm(directory, { recursive: true, maxRetries: 3 }));
  const file = async (name: string) => (await checkup({ database: `sqlite:${join(directory, name)}` })).findings;

  it("a file that does not exist is created by the server, unless that is not possible", async () => {
    expect(await file("no/such/folder/new.db")).toMatchObject([
      { level: "ok", message: expect.stringMatching(/does not exist yet/) },
    ]);
    await writeFile(join(directory, "plain"), "");
    expect(concerns(await file("plain/new.db"))).toEqual([expect.stringMatching(/^error: /)]);
  });

  it("the file of a server is in use, and afterwards its schema is up to date", async () => {
    const aikiServer = await server({ database: `sqlite:${join(directory, "aiki.db")}`, logger: silentLogger });
    expect(await file("aiki.db")).toMatchObject([{ level: "ok", message: expect.stringMatching(/^A server uses/) }]);
    await aikiServer.close();
    const findings = await file("aiki.db");
    expect(concerns(findings)).toEqual([]);
    expect(findings.map(({ message }) => message)).toContainEqual(expect.stringMatching(/schema is up to date/));
  });

  it("an empty file has no schema yet, and what is no database is an error", async () => {
    await writeFile(join(directory, "empty.db"), "");
    expect(concerns(await file("empty.db"))).toEqual(["warning: It has no schema of Aiki yet."]);
    await writeFile(join(directory, "text.db"), "x".repeat(5_000));
    expect(concerns(await file("text.db"))).toEqual([expect.stringMatching(/^error: /)]);
    expect(concerns((await checkup({ database: `sqlite:${directory}` })).findings)).toHaveLength(1);
  });

  it("a database in memory is a warning", async () => {
    expect(concerns((await checkup({ database: "memory:" })).findings)).toEqual([
      expect.stringMatching(/^warning: memory: stores no data on disk/),
    ]);
  });
});
