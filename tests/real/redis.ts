/** Redis for tests: at REDIS_URL, else one that all test files share, and private ones that a test may break. */

import { join } from "node:path";
import { v7 } from "uuid";
import { inject } from "vitest";
import { madeOnce } from "./once.ts";
import { findRedisServer } from "./redis-binaries.ts";
import { type RedisAddress, type RedisProcess, type RedisSettings, sendTo, startRedis } from "./redis-process.ts";

export interface TestRedis {
  address: RedisAddress;
  /** The prefix of the keys of this test file, because other files use the same Redis. */
  prefix: string;
  /** Executes a command without the code under test. */
  send(...command: Array<string | number>): Promise<unknown>;
}

const advice =
  "There is no Redis to test with. Install one (apt install redis-server, brew install redis; Valkey will do), " +
  "or set REDIS_URL, which is enough for tests that do not kill it.";

/** Returns null with a warning if there is no Redis. In CI it throws. */
export async function testRedis(): Promise<TestRedis | null> {
  const { REDIS_URL: url = "" } = process.env;
  const address = url === "" ? await sharedRedis() : addressOf(new URL(url));
  if (address === null) return missing();
  return { address, prefix: `test-${v7()}`, send: (...command) => sendTo(address, command) };
}

/** A Redis for this test file only. Returns null with a warning if there is none. In CI it throws. */
export async function privateRedis(settings: RedisSettings = {}): Promise<RedisProcess | null> {
  const program = await programOf();
  const { directory, owner } = inject("services");
  return program === null ? missing() : startRedis(program, join(directory, `redis-${v7()}`), owner, settings);
}

function missing(): null {
  if (process.env.CI === "true") throw new Error(advice);
  console.error(`\nSKIPPED: ${advice}\n`);
  return null;
}

/** Searched once in a run of tests, because it may have to be installed. */
function programOf(): Promise<string | null> {
  return madeOnce("redis-program", findRedisServer);
}

async function sharedRedis(): Promise<RedisAddress | null> {
  const program = await programOf();
  if (program === null) return null;
  return madeOnce("redis", async (directory, owner) => (await startRedis(program, directory, owner)).address);
}

function addressOf({ hostname, port, password }: URL): RedisAddress {
  const secret = password === "" ? {} : { password: decodeURIComponent(password) };
  return { host: hostname, port: Number(port === "" ? 6379 : port), ...secret };
}
