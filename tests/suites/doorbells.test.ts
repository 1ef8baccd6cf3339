/** What a server does with Redis: it rings for runs that became queued, and lives on without. */

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { client } from "@aikirun/client";
import { type Logger, silentLogger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { streamKey, streamsOf } from "@aikirun/lib/protocol";
import { type Server, server } from "@aikirun/server";
import { worker } from "@aikirun/worker";
import { workflow } from "@aikirun/workflow";
import { v7 } from "uuid";
import { afterEach, describe, expect, it } from "vitest";
import { redisDoorbells } from "../../packages/server/src/delivery/redis/doorbells.ts";
import { privateRedis, testRedis } from "../real/redis.ts";
import type { RedisAddress } from "../real/redis-process.ts";

const shared = await testRedis();

describe.skipIf(shared === null)("a server that rings through Redis", () => {
  if (shared === null) return;
  const ends: Array<() => unknown> = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  interface Placed {
    server: Server;
    /** Warnings and news, without their fields. */
    lines: string[];
    start(name: string, count?: number, shardKey?: string): Promise<string[]>;
    /** Where it says that doorbells ring. */
    streams(): Promise<string | undefined>;
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
      streams: async () => (await api.renew({ session: "s", leaseMs: 30_000, runs: [] })).streams,
    };
  }

  const prefix = () => `test-${v7()}`;
  const keyIn = (where: string, name: string, shardKey: string | null = null) =>
    streamKey(streamsOf(where, "default"), { name, versionId: "1" }, shardKey);

  async function own(settings: Parameters<typeof privateRedis>[0] = {}) {
    const redis = await privateRedis(settings);
    if (redis === null) throw new Error("There is no Redis of one's own.");
    ends.push(() => redis.kill());
    return redis;
  }

  it("rings once for each run, in the stream of its workflow, version and shard, and says where", async () => {
    const where = prefix();
    const one = await place(shared.address, `?prefix=${where}`);
    const [id] = await one.start("order: a/b");
    await one.start("order: a/b", 2, "eu");
    const length = (key: string) => shared.send("XLEN", key);
    await expect.poll(() => length(keyIn(where, "order: a/b"))).toBe(1);
    await expect.poll(() => length(keyIn(where, "order: a/b", "eu"))).toBe(2);
    expect(await shared.send("XRANGE", keyIn(where, "order: a/b"), "-", "+")).toMatchObject([[{}, ["run", id]]]);
    expect(await one.streams()).toBe(streamsOf(where, "default"));
    expect(one.lines).toEqual([]);
  });

  it("is heard by a worker, which leaves nothing behind in the stream", async () => {
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
    // A doorbell that is not heard costs up to five seconds.
    expect(Date.now() - began).toBeLessThan(4_500);
    await expect.poll(() => shared.send("XLEN", keyIn(where, "job"))).toBe(0);
    expect(lines.filter((line) => /redis/i.test(line))).toEqual([]);
  });

  it("starts without Redis, says so once, and rings when it is there", async () => {
    const redis = await own();
    await redis.kill();
    const one = await place(redis.address);
    await one.start("order", 3);
    expect(await one.streams()).toBeUndefined();
    await redis.start();
    await expect.poll(() => one.streams(), { timeout: 10_000 }).toBe("aiki:{default}");
    await one.start("order");
    await expect.poll(() => redis.send("XLEN", keyIn("aiki", "order"))).toBe(1);
    expect(one.lines).toEqual(["Redis fails; workers poll meanwhile", "Redis is back"]);
  });

  it("goes on when Redis is killed, without memory, or full of something else", async () => {
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
    // It answers, but takes nothing: that is not said again and again, and nobody is told to listen there.
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

  it("rings for others when something else stands at the key of one stream", async () => {
    const where = prefix();
    const one = await place(shared.address, `?prefix=${where}`);
    await shared.send("SET", keyIn(where, "order"), "x");
    await one.start("order");
    await one.start("ship");
    await expect.poll(() => shared.send("XLEN", keyIn(where, "ship"))).toBe(1);
    expect(await one.streams()).toBeDefined();
  });

  it("answers starts while Redis does not", async () => {
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

  it("keeps streams bounded that nobody reads", async () => {
    const where = prefix();
    const { host, port } = shared.address;
    const target = { host, port, db: 0, tls: false, isCluster: false, prefix: where };
    const doorbells = redisDoorbells(target, systemEnv({ id: v7 }), silentLogger);
    await doorbells.tried;
    const hint = { namespace: "default", name: "order", versionId: "1", shardKey: null, priority: 0 };
    const length = async () => Number(await shared.send("XLEN", keyIn(where, "order")));
    for (let moment = 1; moment <= 15; moment += 1) {
      for (let n = 1; n <= 1_000; n += 1) doorbells.ring({ ...hint, id: `${moment}-${n}` });
      const last = () => shared.send("XREVRANGE", keyIn(where, "order"), "+", "-", "COUNT", 1);
      await expect.poll(last).toMatchObject([[{}, ["run", `${moment}-1000`]]]);
    }
    await doorbells.close();
    expect(await length()).toBeGreaterThan(9_000);
    expect(await length()).toBeLessThan(10_500);
  });

  it("rings a few times for a herd, and goes on while runs are left", async () => {
    const where = prefix();
    const one = await place(shared.address, `?prefix=${where}`);
    await one.start("order", 1_000);
    const length = async () => Number(await shared.send("XLEN", keyIn(where, "order")));
    await expect.poll(length).toBeGreaterThan(0);
    expect(await length()).toBeLessThan(500);
    await expect.poll(length).toBeGreaterThan(50);
  });

  it("needs no right but to ring", async () => {
    const redis = await own();
    await redis.send("ACL", "SETUSER", "default", "resetkeys", "~aiki:*", "-@all", "+xadd", "+xlen");
    const one = await place(redis.address);
    await one.start("order");
    await expect.poll(() => redis.send("XLEN", keyIn("aiki", "order"))).toBe(1);
    expect(one.lines).toEqual([]);
  });

  it("warns once of a Redis that may evict streams", async () => {
    const redis = await own();
    await redis.send("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    const one = await place(redis.address);
    expect(one.lines).toEqual(["Redis may evict streams: set maxmemory-policy to noeviction"]);
  });

  it("rings through TLS where the certificate is trusted, and nowhere else", async () => {
    const sealed = await own({ tls: true });
    const { address, send } = sealed;
    const url = `rediss://localhost:${address.port}`;
    const directory = await mkdtemp(join(tmpdir(), "aiki-trust-"));
    ends.push(() => rm(directory, { recursive: true }));
    const file = join(directory, "ca.pem");
    await writeFile(file, address.tls?.ca ?? "");
    const script = fileURLToPath(new URL("./ringer-process.ts", import.meta.url));
    const args = ["--import", import.meta.resolve("tsx"), "--conditions=@aikirun/source", script, url];
    const run = (env: NodeJS.ProcessEnv) =>
      promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } });
    expect((await run({ NODE_EXTRA_CA_CERTS: file })).stdout).toBe("[]");
    await expect.poll(() => send("XLEN", keyIn("aiki", "order"))).toBe(1);
    expect((await run({})).stdout).toBe('["Redis fails; workers poll meanwhile"]');
    expect(await send("XLEN", keyIn("aiki", "order"))).toBe(1);
  });

  it("rings in a cluster", async () => {
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
