/** A server publishes wake-ups through Redis, and works without Redis. */

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { client } from "@aikirun/client";
import { type Logger, silentLogger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { type QueueKey, type WakeUpStreams, wakeUpStream } from "@aikirun/lib/protocol";
import { type Server, server } from "@aikirun/server";
import { worker } from "@aikirun/worker";
import { workflow } from "@aikirun/workflow";
import { v7 } from "uuid";
import { afterEach, describe, expect, it } from "vitest";
import { RedisChannel } from "../../packages/server/src/delivery/redis-channel.ts";
import { privateRedis, testRedis } from "../real/redis.ts";
import type { RedisAddress } from "../real/redis-process.ts";
import { signed } from "./actors.ts";

const shared = await testRedis();

describe.skipIf(shared === null)("a server that publishes wake-ups through Redis", () => {
  if (shared === null) return;
  const ends: Array<() => unknown> = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  interface Placed {
    server: Server;
    /** The messages of warnings and infos. */
    lines: string[];
    start(name: string, count?: number, shardKey?: string): Promise<string[]>;
    /** The streams that its replies name. */
    streams(): Promise<WakeUpStreams | undefined>;
  }

  async function place(address: RedisAddress, parameters = ""): Promise<Placed> {
    const lines: string[] = [];
    const secret = address.password === undefined ? "" : `:${address.password}@`;
    const made = await server({
      database: "memory:",
      redis: `redis://${secret}${address.host}:${address.port}${parameters}`,
      logger: gathering(lines),
    });
    ends.push(() => made.close());
    const api = made.api();
    return {
      server: made,
      lines,
      async start(name, count = 1, shardKey) {
        const shard = shardKey === undefined ? {} : { shardKey };
        const runs = Array.from({ length: count }, () => ({ id: v7(), name, versionId: "1", ...shard }));
        await api.start({ runs });
        return runs.map(({ id }) => id);
      },
      streams: async () => (await api.renew({ ...signed, session: "s", leaseMs: 30_000, runs: [] })).streams,
    };
  }

  const prefix = () => `test-${v7()}`;
  const queue = (name: string, shardKey: string | null = null): QueueKey => {
    return { namespace: "default", name, versionId: "1", shardKey };
  };
  const keyIn = (where: string, name: string, shardKey: string | null = null) =>
    wakeUpStream(where, queue(name, shardKey));

  async function own(settings: Parameters<typeof privateRedis>[0] = {}) {
    const redis = await privateRedis(settings);
    if (redis === null) throw new Error("There is no private Redis.");
    ends.push(() => redis.kill());
    return redis;
  }

  it("a server publishes one wake-up for each queue and commit, and its replies name the streams", async () => {
    const where = prefix();
    const one = await place(shared.address, `?prefix=${where}`);
    await one.start("order: a/b");
    await one.start("order: a/b", 2, "eu");
    const length = (key: string) => shared.send("XLEN", key);
    await expect.poll(() => length(keyIn(where, "order: a/b"))).toBe(1);
    await expect.poll(() => length(keyIn(where, "order: a/b", "eu"))).toBe(1);
    expect(await one.streams()).toEqual({ prefix: where, namespace: "default" });
    expect(one.lines).toEqual([]);
  });

  it("a wake-up wakes a worker, which then deletes it from the stream", async () => {
    const where = prefix();
    const one = await place(shared.address, `?prefix=${where}`);
    const { url } = await one.server.listen({ port: 0 });
    const lines: string[] = [];
    const aiki = await client({ url, redis: shared.address, logger: gathering(lines) });
    ends.push(() => aiki.close());
    const job = workflow({ name: "job" });
    const jobV1 = job.v("1", { handler: async (run) => run.step("work", async () => "done") });
    const made = worker(aiki, { maxConcurrentWorkflowRuns: 5, subscriber: { type: "redis_streams" } });
    made.registry.add(job);
    await made.start();
    ends.push(() => made.stop());
    const began = Date.now();
    for (let n = 0; n < 20; n += 1) {
      const handle = await jobV1.start(aiki, undefined);
      expect(await handle.result()).toBe("done");
    }
    // A lost wake-up costs up to five seconds.
    expect(Date.now() - began).toBeLessThan(4_500);
    await expect.poll(() => shared.send("XLEN", keyIn(where, "job"))).toBe(0);
    expect(lines.filter((line) => /redis/i.test(line))).toEqual([]);
  });

  it("a server starts without Redis, logs it once, and publishes when Redis is reachable", async () => {
    const redis = await own();
    await redis.kill();
    const one = await place(redis.address);
    await one.start("order", 3);
    expect(await one.streams()).toBeUndefined();
    await redis.start();
    await expect.poll(() => one.streams(), { timeout: 10_000 }).toEqual({ prefix: "aiki", namespace: "default" });
    await one.start("order");
    await expect.poll(() => redis.send("XLEN", keyIn("aiki", "order"))).toBe(1);
    expect(one.lines).toEqual(["Redis fails; workers poll meanwhile", "Redis is back"]);
  });

  it("a server works while Redis is killed, or has no memory for wake-ups", async () => {
    const redis = await own({ password: "secret" });
    const one = await place(redis.address, "/3");
    await redis.kill();
    await one.start("order");
    await expect.poll(() => one.streams()).toBeUndefined();
    await redis.start();
    await expect.poll(() => one.streams(), { timeout: 10_000 }).toBeDefined();
    await redis.send("CONFIG", "SET", "maxmemory", 1);
    await one.start("order");
    await expect.poll(() => one.streams()).toBeUndefined();
    // Redis replies but stores nothing. This is logged once, and replies name no streams.
    for (const until = Date.now() + 1_500; Date.now() < until; await one.start("order")) {
      expect(await one.streams()).toBeUndefined();
    }
    await redis.send("CONFIG", "SET", "maxmemory", 0);
    await expect.poll(() => one.streams(), { timeout: 10_000 }).toBeDefined();
    expect(one.lines.join()).not.toContain("secret");
    expect(one.lines).toEqual([
      "Redis fails; workers poll meanwhile",
      "Redis is back",
      "Redis fails; workers poll meanwhile",
      "Redis is back",
    ]);
  });

  it("a server publishes for other queues when the key of one stream has a value of another type", async () => {
    const where = prefix();
    const one = await place(shared.address, `?prefix=${where}`);
    await shared.send("SET", keyIn(where, "order"), "x");
    await one.start("order");
    await one.start("ship");
    await expect.poll(() => shared.send("XLEN", keyIn(where, "ship"))).toBe(1);
    expect(await one.streams()).toBeDefined();
  });

  it("a server replies to starts while Redis does not reply", async () => {
    const redis = await own();
    const one = await place(redis.address);
    await one.start("order");
    redis.signal("SIGSTOP");
    const began = Date.now();
    for (let n = 0; n < 20; n += 1) await one.start("order");
    expect(Date.now() - began).toBeLessThan(900);
    await expect.poll(() => one.streams(), { timeout: 5_000 }).toBeUndefined();
    redis.signal("SIGCONT");
    await expect.poll(() => one.streams(), { timeout: 10_000 }).toBeDefined();
  });

  it("a server bounds streams that no worker reads", async () => {
    const where = prefix();
    const { host, port } = shared.address;
    const target = { params: { host, port }, prefix: where };
    const env = systemEnv({ id: v7 });
    const channel = new RedisChannel({ target, isShared: false, env, logger: silentLogger });
    await channel.tried;
    for (let moment = 1; moment <= 15; moment += 1) {
      await channel.send([], Array<QueueKey>(1_000).fill(queue("order")));
    }
    await channel.close();
    const length = Number(await shared.send("XLEN", keyIn(where, "order")));
    expect(length).toBeGreaterThan(9_000);
    expect(length).toBeLessThan(10_500);
  });

  it("a server needs only the permission to add to streams", async () => {
    const redis = await own();
    await redis.send("ACL", "SETUSER", "default", "resetkeys", "~aiki:*", "-@all", "+xadd", "+xlen");
    const one = await place(redis.address);
    await one.start("order");
    await expect.poll(() => redis.send("XLEN", keyIn("aiki", "order"))).toBe(1);
    expect(one.lines).toEqual([]);
  });

  it("a server warns once of a Redis that may evict streams", async () => {
    const redis = await own();
    await redis.send("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    const one = await place(redis.address);
    expect(one.lines).toEqual(["Redis may evict streams: set maxmemory-policy to noeviction"]);
  });

  it("a server publishes through TLS only if it trusts the certificate", async () => {
    const sealed = await own({ tls: true });
    const { address, send } = sealed;
    const url = `rediss://localhost:${address.port}`;
    const directory = await mkdtemp(join(tmpdir(), "aiki-trust-"));
    ends.push(() => rm(directory, { recursive: true }));
    const file = join(directory, "ca.pem");
    await writeFile(file, address.tls?.ca ?? "");
    const script = fileURLToPath(new URL("./publisher-process.ts", import.meta.url));
    const args = ["--import", import.meta.resolve("tsx"), "--conditions=@aikirun/source", script, url];
    const run = (env: NodeJS.ProcessEnv) =>
      promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } });
    expect((await run({ NODE_EXTRA_CA_CERTS: file })).stdout).toBe("[]");
    await expect.poll(() => send("XLEN", keyIn("aiki", "order"))).toBe(1);
    expect((await run({})).stdout).toBe('["Redis fails; workers poll meanwhile"]');
    expect(await send("XLEN", keyIn("aiki", "order"))).toBe(1);
  });

  it("a server publishes in a Redis cluster", async () => {
    const redis = await own({ cluster: true });
    const one = await place(redis.address, "?cluster=true");
    await one.start("order");
    await one.start("ship");
    await expect.poll(() => redis.send("XLEN", keyIn("aiki", "order"))).toBe(1);
    expect(one.lines).toEqual([]);
  });
});

function gathering(lines: string[]): Logger {
  const keep = (line: string) => {
    lines.push(line);
  };
  const logger: Logger = { ...silentLogger, info: keep, warn: keep, error: keep, child: () => logger };
  return logger;
}
