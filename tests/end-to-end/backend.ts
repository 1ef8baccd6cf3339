/** The database of a scenario, and how its workers receive wake-ups. Passed to its processes. */

import type { RedisParams } from "@aikirun/client";
import type { SubscriberStrategy } from "@aikirun/worker";

export interface Backend {
  /** In the format of `ServerParams.database`. */
  database: string;
  /** The Redis through which the servers send wake-ups. Null if workers poll. */
  redis: BackendRedis | null;
  subscriber: SubscriberStrategy;
}

export interface BackendRedis extends RedisParams {
  /** The prefix of all keys of these servers, because other servers use the same Redis. */
  prefix: string;
}

/** In the format of `ServerParams.redis`. */
export function redisUrl({ host, port, password, prefix }: BackendRedis): string {
  const secret = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
  return `redis://${secret}${host}:${port}/0?prefix=${encodeURIComponent(prefix)}`;
}

/** In the format of `ClientParams.redis`. */
export function redisParams({ host, port, password }: BackendRedis): RedisParams {
  return { host, port, ...(password === undefined ? {} : { password }) };
}

/** The path in `sqlite:<path>`. */
export function pathOf(database: string): string {
  return database.slice("sqlite:".length);
}

export function isSqlite(database: string): boolean {
  return database.startsWith("sqlite:");
}
