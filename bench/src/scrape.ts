/**
 * `npx tsx --conditions=@aikirun/source bench/src/scrape.ts [runs]`: how long it takes to read the gauges of `/metrics`
 * from SQLite and PostgreSQL, by default with 1,000,000 runs. Prints one line for each database and backlog.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { statsLimits } from "../../packages/server/src/metrics/database-metrics.ts";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import { loadDriver } from "../../packages/server/src/storage/sqlite/driver.ts";
import { connect } from "../../packages/server/src/storage/sqlite/open.ts";
import { openSqlite } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import type { Storage } from "../../packages/server/src/storage/storage.ts";
import { query } from "../../tests/real/postgres.ts";
import { startEngines } from "./engines.ts";
import { modeNamed } from "./measured/arguments.ts";
import { median } from "./measured/figures.ts";

const total = Number(process.argv[2] ?? 1_000_000);
const reads = 21;

/** Of ten runs, `queued` wait in ten queues, and one of a thousand is stalled. The others have ended. */
function columns(queued: number): string {
  return `'run-' || n, 'default', 'workflow-' || (n / 10) % 10, '1.0.0', 0, CASE WHEN n % 1000 = 999 THEN 'stalled'
    WHEN n % 10 < ${queued} THEN 'queued' ELSE 'completed' END, 1, 0, n, n, 0, '{}', '{}',
    CASE WHEN n % 10 < ${queued} THEN n END, CASE WHEN n % 1000 = 999 THEN 'idle' END`;
}

const names = `id, namespace, name, version_id, priority, status, revision, fence, created_at, updated_at, follows,
  options, state, queued_at, stall_reason`;

async function measure(name: string, queued: number, storage: Pick<Storage, "read">): Promise<void> {
  const times: number[] = [];
  for (let read = 0; read < reads; read += 1) {
    const began = performance.now();
    await storage.read((reader) => reader.stats(reader.now(), statsLimits));
    times.push(performance.now() - began);
  }
  const figures = [Math.min(...times), median(times), Math.max(...times)].map((ms) => ms.toFixed(1)).join(", ");
  console.log(`${name}, ${total} runs, ${(total * queued) / 10} queued: fastest, median, slowest: ${figures} ms`);
}

const directory = await mkdtemp(join(tmpdir(), "aiki-scrape-"));
const { engines, stop } = await startEngines([modeNamed("postgres")]);
for (const queued of [1, 9]) {
  const path = join(directory, `${queued}.db`);
  const open = () => openSqlite({ path, env: { now: () => Date.now() } });
  await (await open()).close();
  const connection = connect(await loadDriver(), path, undefined);
  connection.run(`WITH RECURSIVE given (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM given LIMIT ${total})
    INSERT INTO run (${names}) SELECT ${columns(queued)} FROM given`);
  connection.close();
  const file = await open();
  await measure("SQLite", queued, file);
  await file.close();
  if (engines.postgres === null) continue;
  await query(engines.postgres, `CREATE DATABASE scrape_${queued} TEMPLATE template0 ENCODING 'UTF8'`);
  const url = new URL(engines.postgres);
  url.pathname = `/scrape_${queued}`;
  const storage = await openPostgres({ url: url.href, connections: 2 });
  await query(
    url.href,
    `INSERT INTO aiki.run (${names}, tags)
    SELECT ${columns(queued)}, '{}' FROM generate_series(0, ${total - 1}) AS n`,
  );
  await measure("PostgreSQL before its first vacuum", queued, storage);
  await query(url.href, "VACUUM ANALYZE aiki.run");
  await measure("PostgreSQL", queued, storage);
  await storage.close();
}
await stop();
await rm(directory, { recursive: true });
