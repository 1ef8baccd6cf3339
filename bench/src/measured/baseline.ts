/** The baseline: how many rows the database alone inserts per second, with one commit for each row. The unit of W1. */

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { openDatabase } from "./driver.ts";
import type { BenchEngines, Mode } from "./modes.ts";
import { executeSql, withDatabase } from "./postgres.ts";

const run = promisify(execFile);

/** Rows per second. */
export function baseline({ database }: Mode, engines: BenchEngines, forMs: number): Promise<number> {
  return database === "sqlite" ? oneRowCommits(forMs) : pgbench(engines, forMs);
}

/** Uses one connection, journal mode WAL and synchronous FULL. */
async function oneRowCommits(forMs: number): Promise<number> {
  return inDirectory(async (directory) => {
    const database = await openDatabase(join(directory, "baseline.db"));
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
    }
  });
}

/** `pgbench` with eight clients. */
async function pgbench({ postgres, binaries }: BenchEngines, forMs: number): Promise<number> {
  if (postgres === null || binaries === null) throw new Error("There is no PostgreSQL to measure.");
  return withDatabase(postgres, (url) =>
    inDirectory(async (directory) => {
      await executeSql(url, "CREATE TABLE baseline (id bigserial PRIMARY KEY, payload text NOT NULL)");
      const script = join(directory, "insert.sql");
      await writeFile(script, `INSERT INTO baseline (payload) VALUES ('${"x".repeat(100)}');\n`);
      const seconds = String(Math.max(1, Math.round(forMs / 1_000)));
      const { stdout } = await run(join(binaries, "pgbench"), ["-n", "-f", script, "-c8", "-j2", "-T", seconds, url]);
      const tps = /tps = ([\d.]+)/.exec(stdout)?.[1];
      if (tps === undefined) throw new Error(`pgbench printed no rate: ${stdout}`);
      return Number(tps);
    }),
  );
}

async function inDirectory<Result>(work: (directory: string) => Promise<Result>): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), "aiki-baseline-"));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
