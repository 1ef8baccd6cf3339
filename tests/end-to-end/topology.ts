/** The engines that every end-to-end claim holds on. What this machine lacks is said loudly, and skipped. */

import { join } from "node:path";
import { describe } from "vitest";
import { testDatabase } from "../real/postgres.ts";
import { type TestRedis, testRedis } from "../real/redis.ts";
import type { Ground, GroundRedis } from "./ground.ts";

export interface Topology {
  name: string;
  isThere: boolean;
  /** A ground of its own for one scenario, which has the directory. */
  open(directory: string): Promise<Ground & { close(): Promise<void> }>;
}

export const sqlite: Topology = {
  name: "SQLite with polling",
  isThere: true,
  open: async (directory) => ({
    database: `sqlite:${join(directory, "aiki.db")}`,
    redis: null,
    subscriber: { type: "adaptive_polling" },
    close: async () => {},
  }),
};

const probe = await testDatabase();
await probe?.drop();
const redis = await testRedis();

const onPostgres: Topology = {
  name: "PostgreSQL with polling",
  isThere: probe !== null,
  open: () => groundOn(null, { type: "adaptive_polling" }),
};

const onRedis: Topology = {
  name: "PostgreSQL with Redis Streams",
  isThere: probe !== null && redis !== null,
  open: () => groundOn(redis === null ? null : groundRedisAt(redis), { type: "redis_streams" }),
};

/** Beyond one file: many servers, one database. */
export const networked: readonly Topology[] = [onPostgres, onRedis];

export const topologies: readonly Topology[] = [sqlite, ...networked];

/** A suite for each of them. */
export function describeOn(all: readonly Topology[], what: string, define: (topology: Topology) => void): void {
  for (const topology of all) {
    describe.skipIf(!topology.isThere)(`on ${topology.name}, ${what}`, () => define(topology));
  }
}

/** A database of its own, with Redis or without. */
export async function groundOn(redis: GroundRedis | null, subscriber: Ground["subscriber"]) {
  const database = await testDatabase();
  if (database === null) throw new Error("There is no PostgreSQL.");
  return { database: database.url, redis, subscriber, close: () => database.drop() };
}

let scenarios = 0;

/** Scenarios do not hear each other's. */
function groundRedisAt({ address, prefix }: TestRedis): GroundRedis {
  const { host, port, password } = address;
  scenarios += 1;
  return { host, port, ...(password === undefined ? {} : { password }), prefix: `${prefix}-${scenarios}` };
}
