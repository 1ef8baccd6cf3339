/** Where the runs of a scenario rest, and how its workers hear of them: what its processes are told. */

import type { RedisParams } from "@aikirun/client";
import type { SubscriberStrategy } from "@aikirun/worker";

export interface Ground {
  /** As `server()` takes it. */
  database: string;
  /** Through which the servers deliver; null where workers poll. */
  redis: GroundRedis | null;
  subscriber: SubscriberStrategy;
}

export interface GroundRedis extends RedisParams {
  /** What the keys of these servers begin with: others use the same Redis. */
  prefix: string;
}

/** As `server()` takes it. */
export function redisUrl({ host, port, password, prefix }: GroundRedis): string {
  const secret = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
  return `redis://${secret}${host}:${port}/0?prefix=${encodeURIComponent(prefix)}`;
}

/** As `client()` takes it. */
export function redisParams({ host, port, password }: GroundRedis): RedisParams {
  return { host, port, ...(password === undefined ? {} : { password }) };
}

/** Of `sqlite:<path>`. */
export function pathOf(database: string): string {
  return database.slice("sqlite:".length);
}

export function isSqlite(database: string): boolean {
  return database.startsWith("sqlite:");
}
