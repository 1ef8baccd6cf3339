/** The PostgreSQL and Redis of the chaos test, which nothing else uses. */

import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { findBinaries } from "../real/binaries.ts";
import { canStream } from "../real/cluster.ts";
import { findRedisServer } from "../real/redis-binaries.ts";
import { type RedisProcess, startRedis } from "../real/redis-process.ts";
import { openPrimary, type Postgres, type Standby } from "./primary.ts";

export const topologyNames = ["sqlite", "postgres", "redis"] as const;
/** SQLite and polling, PostgreSQL and polling, PostgreSQL and Redis Streams. */
export type TopologyName = (typeof topologyNames)[number];

export interface Engines {
  /** In the format of `ServerParams.database`, without a proxy. Changes when a standby is promoted. */
  readonly database: string;
  /** The primary. */
  readonly postgres: Postgres | null;
  readonly redis: RedisProcess | null;
  /** Creates a synchronous standby that has all data of the primary. Null if this machine cannot do it. */
  readonly standby: (() => Promise<Standby>) | null;
  close(): Promise<void>;
}

/** The topology with the most components that this machine has, and the components that it lacks. */
export async function bestTopology(directory: string): Promise<{ name: TopologyName; lacks: string[] }> {
  const binaries = await findBinaries(directory);
  const hasPostgres = binaries !== null;
  const hasRedis = (await findRedisServer()) !== null;
  const hasStandbys = binaries === null || canStream(binaries);
  const lacks = [
    ...(hasPostgres ? [] : ["PostgreSQL"]),
    ...(hasStandbys ? [] : ["pg_basebackup"]),
    ...(hasRedis ? [] : ["Redis"]),
  ];
  return { name: hasPostgres ? (hasRedis ? "redis" : "postgres") : "sqlite", lacks };
}

/** Starts the engines. They end with this process. */
export async function openEngines(topology: TopologyName, directory: string): Promise<Engines> {
  // If this process runs as root, PostgreSQL runs as another user, who must be able to enter the directory.
  await chmod(directory, 0o711);
  if (topology === "sqlite") {
    const database = `sqlite:${join(directory, "aiki.db")}`;
    return { database, postgres: null, redis: null, standby: null, close: async () => {} };
  }
  const binaries = await findBinaries(join(directory, "programs"));
  if (binaries === null) throw new Error("There is no PostgreSQL on this machine.");
  const primary = await openPrimary(binaries, directory);
  const redis = topology === "redis" ? await openRedis(directory) : null;
  return {
    get database() {
      return primary.now.url;
    },
    get postgres() {
      return primary.now;
    },
    redis,
    standby: canStream(binaries) ? () => primary.standby() : null,
    async close() {
      await redis?.kill();
      await primary.now.control("-m", "immediate", "stop");
    },
  };
}

async function openRedis(directory: string): Promise<RedisProcess> {
  const program = await findRedisServer();
  if (program === null) throw new Error("There is no Redis on this machine.");
  return startRedis(program, join(directory, "redis"), process.pid);
}
