/** What keeps the runs and rings the bells during the chaos, to be ill-treated: engines of our own. */

import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import { findBinaries } from "../real/binaries.ts";
import { type Cluster, startCluster } from "../real/cluster.ts";
import { findRedisServer } from "../real/redis-binaries.ts";
import { type RedisProcess, startRedis } from "../real/redis-process.ts";

export const topologyNames = ["sqlite", "postgres", "redis"] as const;
/** SQLite and polling, PostgreSQL and polling, PostgreSQL and Redis Streams. */
export type TopologyName = (typeof topologyNames)[number];

export interface Engines {
  /** As `server()` takes it, without a proxy in between. */
  database: string;
  postgres: Postgres | null;
  redis: RedisProcess | null;
  close(): Promise<void>;
}

export interface Postgres extends Cluster {
  /** Carries out SQL past all proxies. */
  sql(text: string): Promise<Array<Record<string, unknown>>>;
}

/** The fullest topology that this machine has, and what it lacks for more. */
export async function bestTopology(directory: string): Promise<{ name: TopologyName; lacks: string[] }> {
  const hasPostgres = (await findBinaries(directory)) !== null;
  const hasRedis = (await findRedisServer()) !== null;
  const lacks = [...(hasPostgres ? [] : ["PostgreSQL"]), ...(hasRedis ? [] : ["Redis"])];
  return { name: hasPostgres ? (hasRedis ? "redis" : "postgres") : "sqlite", lacks };
}

/** They end with this process, however that ends. */
export async function openEngines(topology: TopologyName, directory: string): Promise<Engines> {
  // As root, PostgreSQL runs as another user and has to get by.
  await chmod(directory, 0o711);
  if (topology === "sqlite") {
    const database = `sqlite:${join(directory, "aiki.db")}`;
    return { database, postgres: null, redis: null, close: async () => {} };
  }
  const postgres = await openPostgres(directory);
  const redis = topology === "redis" ? await openRedis(directory) : null;
  return {
    database: postgres.url,
    postgres,
    redis,
    async close() {
      await redis?.kill();
      await postgres.control("-m", "immediate", "stop");
    },
  };
}

async function openPostgres(directory: string): Promise<Postgres> {
  const binaries = await findBinaries(join(directory, "programs"));
  if (binaries === null) throw new Error("There is no PostgreSQL on this machine.");
  const cluster = await startCluster(binaries, join(directory, "postgres"), process.pid);
  return {
    ...cluster,
    async sql(text) {
      const client = new Client({ connectionString: cluster.url, application_name: "chaos" });
      await client.connect();
      try {
        return (await client.query<Record<string, unknown>>(text)).rows;
      } finally {
        await client.end();
      }
    },
  };
}

async function openRedis(directory: string): Promise<RedisProcess> {
  const program = await findRedisServer();
  if (program === null) throw new Error("There is no Redis on this machine.");
  return startRedis(program, join(directory, "redis"), process.pid);
}
