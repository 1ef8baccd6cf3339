import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryStorage } from "../../packages/server/src/storage/memory/memory.ts";
import { openSqlite } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import { type Opened, soleStorageSuite, storageSuite } from "./storage.suite.ts";

async function inMemory(env: { now(): number }): Promise<Opened> {
  const storage = memoryStorage({ env });
  return { storage, end: () => storage.close() };
}

async function inFile(env: { now(): number }): Promise<Opened> {
  const directory = await mkdtemp(join(tmpdir(), "aiki-storage-"));
  const storage = await openSqlite({ path: join(directory, "aiki.db"), env });
  return {
    storage,
    async end() {
      await storage.close();
      await rm(directory, { recursive: true });
    },
  };
}

storageSuite("memory", inMemory);
soleStorageSuite("memory", inMemory);
storageSuite("SQLite", inFile);
soleStorageSuite("SQLite", inFile);
