import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryStorage } from "../../packages/server/src/storage/memory/memory.ts";
import { openSqlite } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import { storageSuite } from "./storage.suite.ts";

storageSuite("memory", async (env) => {
  const storage = memoryStorage({ env });
  return { storage, end: () => storage.close() };
});

storageSuite("SQLite", async (env) => {
  const directory = await mkdtemp(join(tmpdir(), "aiki-storage-"));
  const storage = await openSqlite({ path: join(directory, "aiki.db"), env });
  return {
    storage,
    async end() {
      await storage.close();
      await rm(directory, { recursive: true });
    },
  };
});
