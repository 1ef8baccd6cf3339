/** PostgreSQL and Redis for benchmarks: fully durable, with all other settings at their defaults. */

import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findBinaries } from "../../tests/real/binaries.ts";
import { startCluster } from "../../tests/real/cluster.ts";
import { findRedisServer } from "../../tests/real/redis-binaries.ts";
import { type RedisProcess, startRedis } from "../../tests/real/redis-process.ts";
import type { BenchEngines, Mode } from "./measured/modes.ts";

export interface StartedEngines {
  engines: BenchEngines;
  stop(): Promise<void>;
}

async function openRedis(directory: string): Promise<RedisProcess> {
  const program = await findRedisServer();
  if (program === null) {
    throw new Error("There is no Redis to measure. Install one (apt install redis-server), or choose --mode postgres.");
  }
  return startRedis(program, join(directory, "redis"), process.pid);
}

/** Starts the engines that these modes need. */
export async function startEngines(modes: readonly Mode[]): Promise<StartedEngines> {
  const nothing = { postgres: null, binaries: null, redis: null };
  if (modes.every(({ database }) => database === "sqlite")) return { engines: nothing, stop: async () => {} };
  const directory = await mkdtemp(join(tmpdir(), "aiki-bench-"));
  // If this process runs as root, PostgreSQL runs as another user, who must be able to enter the directory.
  await chmod(directory, 0o711);
  const binaries = await findBinaries(directory);
  if (binaries === null) {
    throw new Error(
      "There is no PostgreSQL to measure. Install one (apt install postgresql), or choose --mode sqlite.",
    );
  }
  const cluster = await startCluster(binaries, join(directory, "postgres"), process.pid, ["max_connections=200"]);
  const redis = modes.some(({ subscriber }) => subscriber === "redis_streams") ? await openRedis(directory) : null;
  return {
    engines: { postgres: cluster.url, binaries, redis: redis?.address ?? null },
    async stop() {
      await redis?.kill();
      await cluster.control("stop", "-m", "immediate");
      await rm(directory, { recursive: true, force: true });
    },
  };
}
