/** What this machine's SQLite does at best when every row is its own commit, WAL and FULL: the unit of W1. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDatabase } from "./sqlite.ts";

export async function oneRowCommits(forMs: number): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), "aiki-yardstick-"));
  const database = await openDatabase(join(directory, "yardstick.db"));
  try {
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    database.exec("CREATE TABLE row (id INTEGER PRIMARY KEY, payload TEXT NOT NULL)");
    const insert = database.prepare("INSERT INTO row (payload) VALUES (?)");
    const payload = "x".repeat(100);
    const before = performance.now();
    let rows = 0;
    while (performance.now() - before < forMs) {
      insert.run(payload);
      rows += 1;
    }
    return (rows * 1_000) / (performance.now() - before);
  } finally {
    database.close();
    await rm(directory, { recursive: true, force: true });
  }
}
