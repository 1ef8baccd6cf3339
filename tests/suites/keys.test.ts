import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe } from "vitest";
import { memoryStorage } from "../../packages/server/src/storage/memory/memory.ts";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import { openSqlite } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import { testDatabase } from "../real/postgres.ts";
import { keysSuite } from "./keys.suite.ts";

const env = { now: (): number => 10_000 };

keysSuite("memory", async () => {
  const storage = memoryStorage({ env });
  return { keys: storage.keys, end: () => storage.close() };
});

keysSuite("SQLite", async () => {
  const directory = await mkdtemp(join(tmpdir(), "aiki-keys-"));
  const storage = await openSqlite({ path: join(directory, "aiki.db"), env });
  const end = async () => {
    await storage.close();
    await rm(directory, { recursive: true });
  };
  return { keys: storage.keys, end };
});

const postgres = await testDatabase();
afterAll(() => postgres?.drop());

describe.skipIf(postgres === null)("with PostgreSQL", () => {
  if (postgres === null) return;
  const { url, sql } = postgres;
  keysSuite("PostgreSQL", async () => {
    const storage = await openPostgres({ url, connections: 6 });
    const end = async () => {
      await sql("DELETE FROM aiki.api_key");
      await storage.close();
    };
    return { keys: storage.keys, end };
  });
});
