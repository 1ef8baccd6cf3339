/** Redis for tests: at REDIS_URL, else one that the test run shares; and ones of their own, to be ill-treated. */

import { join } from "node:path";
import { v7 } from "uuid";
import { inject } from "vitest";
import { madeOnce } from "./once.ts";
import { findRedisServer } from "./redis-binaries.ts";
import { type RedisAddress, type RedisProcess, type RedisSettings, sendTo, startRedis } from "./redis-process.ts";

export interface TestRedis {
  address: RedisAddress;
  /** What the names of this file's keys begin with; others use the same Redis. */
  prefix: string;
  /** Carries out a command outside of what is tested. */
  send(...command: Array<string | number>): Promise<unknown>;
}

const advice =
  "There is no Redis to test with. Install one (apt install redis-server, brew install redis; Valkey will do), " +
  "or set REDIS_URL, which is enough for tests that do not kill it.";

/** Null, said loudly, where there is none; in CI that fails. */
export async function testRedis(): Promise<TestRedis | null> {
  const { REDIS_URL: url = "" } = process.env;
  const address = url === "" ? await sharedRedis() : addressOf(new URL(url));
  if (address === null) return missing();
  return { address, prefix: `test-${v7()}`, send: (...command) => sendTo(address, command) };
}

/** One that only this file knows. Null, said loudly, where there is none; in CI that fails. */
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

/** Looked for once in a run: it may have to be installed. */
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
