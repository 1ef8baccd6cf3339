/** The storages of simulated worlds. */

import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@aikirun/lib";
import { memoryStorage } from "../../packages/server/src/storage/memory/memory.ts";
import { openSqlite } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import type { OpenStorage } from "./simulation.ts";

const openMemory: OpenStorage = async (clock) => {
  const storage = memoryStorage({ env: clock });
  return { storage, dispose: async () => {} };
};

/** A file in memory if possible, because the simulation tests SQLite, not the disk. */
const openFile: OpenStorage = async (clock) => {
  const directory = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "aiki-simulate-"));
  const storage = await openSqlite({ path: join(directory, "aiki.db"), env: clock, logger: silentLogger });
  return { storage, dispose: () => rm(directory, { recursive: true, force: true }) };
};

/** @throws for a name that is neither `memory` nor `sqlite`. */
export function openerOf(name: string): OpenStorage {
  if (name === "memory") return openMemory;
  if (name === "sqlite") return openFile;
  throw new Error(`There is no storage "${name}"; use memory or sqlite.`);
}
