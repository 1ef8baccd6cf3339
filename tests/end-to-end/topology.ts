/** The backends on which every end-to-end test runs. Tests for a missing backend are skipped. */

import { join } from "node:path";
import { describe } from "vitest";
import { testDatabase } from "../real/postgres.ts";
import { type TestRedis, testRedis } from "../real/redis.ts";
import type { Backend, BackendRedis } from "./backend.ts";

export interface Topology {
  name: string;
  isAvailable: boolean;
  /** Opens a backend for one scenario, whose files are in `directory`. */
  open(directory: string): Promise<Backend & { close(): Promise<void> }>;
}

export const sqlite: Topology = {
  name: "SQLite with polling",
  isAvailable: true,
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
  isAvailable: probe !== null,
  open: () => backendOn(null, { type: "adaptive_polling" }),
};

const onRedis: Topology = {
  name: "PostgreSQL with Redis Streams",
  isAvailable: probe !== null && redis !== null,
  open: () => backendOn(redis === null ? null : backendRedisAt(redis), { type: "redis_streams" }),
};

/** The backends that several servers can share. */
export const networked: readonly Topology[] = [onPostgres, onRedis];

export const topologies: readonly Topology[] = [sqlite, ...networked];

/** Defines a suite for each topology. */
export function describeOn(all: readonly Topology[], what: string, define: (topology: Topology) => void): void {
  for (const topology of all) {
    describe.skipIf(!topology.isAvailable)(`on ${topology.name}, ${what}`, () => define(topology));
  }
}

/** Creates a database, with Redis or without. */
export async function backendOn(redis: BackendRedis | null, subscriber: Backend["subscriber"]) {
  const database = await testDatabase();
  if (database === null) throw new Error("There is no PostgreSQL.");
  return { database: database.url, redis, subscriber, close: () => database.drop() };
}

let scenarios = 0;

/** Gives each scenario its own prefix, so that it does not receive wake-ups of others. */
function backendRedisAt({ address, prefix }: TestRedis): BackendRedis {
  const { host, port, password } = address;
  scenarios += 1;
  return { host, port, ...(password === undefined ? {} : { password }), prefix: `${prefix}-${scenarios}` };
}
