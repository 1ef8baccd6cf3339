/** Workers whose Redis fails: they log it once, poll meanwhile, and receive wake-ups again afterwards. */

import type { RedisParams } from "@aikirun/client";
import { afterEach, describe, expect, it } from "vitest";
import { type NetworkProxy, proxyTo } from "../real/proxy.ts";
import { privateRedis } from "../real/redis.ts";
import { type RedisProcess, sendOnce } from "../real/redis-process.ts";
import { type Publisher, publisherAt } from "./publisher.ts";
import { type StartedWorker, WorkerHarness } from "./worker-harness.ts";

const redis = await privateRedis();
/** Allows for a machine under load. */
const soon = { timeout: 30_000 };

describe.skipIf(redis === null)("a worker whose Redis", () => {
  if (redis === null) return;
  let harness: WorkerHarness;
  let publisher: Publisher;
  let tests = 0;
  const ends: Array<() => unknown> = [];

  afterEach(async () => {
    await harness.close();
    for (const end of ends.splice(0)) await end();
  });

  /** `through` changes the Redis address of workers, for example to a proxy. */
  const open = async (through: Partial<RedisParams> = {}, at: RedisProcess = redis) => {
    tests += 1;
    publisher = publisherAt(at.address, `test-${tests}`);
    harness = await WorkerHarness.open({
      subscriber: { type: "redis_streams", claimMinIdleTimeMs: 1_000, maxRetryIntervalMs: 200 },
      redis: { ...at.address, ...through },
      wrapApi: publisher.wrap,
      publishWakeUp: (name, shardKey) => publisher.publish({ name, versionId: "1" }, shardKey),
    });
  };
  const proxied = async (): Promise<NetworkProxy> => {
    const proxy = await proxyTo(`redis://127.0.0.1:${redis.address.port}`);
    ends.push(() => proxy.close());
    await open({ port: Number(new URL(proxy.url).port) });
    return proxy;
  };
  const key = () => publisher.stream({ name: harness.name, versionId: "1" });
  const redisLines = ({ lines }: StartedWorker) => lines.filter((line) => line.includes("Redis"));
  const logs = (started: StartedWorker, words: string) =>
    expect.poll(() => started.lines, soon).toContainEqual(expect.stringContaining(words));
  const completesRuns = async (runs = 5) => {
    const ids = await Promise.all(Array.from({ length: runs }, () => harness.start({ ms: 5 })));
    await Promise.all(ids.map((id) => harness.completes(id)));
  };
  /** Checks that a worker logs the fault, works without Redis, and receives wake-ups again. It logs two lines only. */
  const survives = async (started: StartedWorker, words: string, repair: () => unknown) => {
    await logs(started, words);
    await completesRuns();
    await repair();
    await logs(started, "receiving wake-ups");
    await harness.receivesWakeUps();
    expect(redisLines(started)).toEqual([
      expect.stringContaining(words),
      expect.stringContaining("receiving wake-ups"),
    ]);
    expect(started.busy.most).toBeLessThanOrEqual(3);
  };

  it("a worker survives a Redis that is missing at its start", async () => {
    await open();
    await redis.kill();
    const started = await harness.startWorker();
    await survives(started, "Redis is not reachable at 127.0.0.1", redis.start);
  });

  it("a worker survives a Redis that is killed under load and returns without data", async () => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    const before = await Promise.all(Array.from({ length: 100 }, () => harness.start({ ms: 10 })));
    await redis.kill();
    await survives(started, "Redis is not reachable", redis.start);
    await Promise.all(before.map((id) => harness.completes(id)));
    for (const id of before) expect(started.done.filter((one) => one === id)).toHaveLength(1);
  });

  it("a worker survives a Redis whose process is stopped for a while", async () => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    redis.signal("SIGSTOP");
    ends.push(() => redis.signal("SIGCONT"));
    await logs(started, "Redis is not reachable");
    const id = await harness.startSilently();
    await harness.completes(id);
    redis.signal("SIGCONT");
    await logs(started, "receiving wake-ups");
    await harness.receivesWakeUps();
    expect(redisLines(started)).toHaveLength(2);
  });

  it("a worker survives a Redis that pauses all clients", async () => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    await redis.send("client", "pause", 6_000, "all");
    await logs(started, "Redis is not reachable");
    await harness.completes(await harness.startSilently());
    await logs(started, "receiving wake-ups");
    await harness.receivesWakeUps();
    expect(redisLines(started)).toHaveLength(2);
  });

  it.each([
    ["all data", ["flushall"]],
    ["the stream", ["del"]],
    ["the consumer group", ["xgroup", "destroy"]],
  ])("a worker receives wake-ups after Redis lost %s", async (_, command) => {
    await open();
    const started = await harness.startWorker();
    for (let round = 0; round < 3; round += 1) {
      await harness.receivesWakeUps(2);
      const rest = command[0] === "flushall" ? [] : [key(), ...(command[0] === "del" ? [] : ["workers"])];
      await redis.send(...command, ...rest);
      await harness.receivesWakeUps(2);
    }
    expect(redisLines(started)).toEqual([]);
  });

  it("a worker receives wake-ups while its stream is trimmed", async () => {
    await open();
    const started = await harness.startWorker();
    const ids = await Promise.all(
      Array.from({ length: 30 }, async () => {
        const id = await harness.start({ ms: 5 });
        await redis.send("xtrim", key(), "maxlen", 0);
        return id;
      }),
    );
    await Promise.all(ids.map((id) => harness.completes(id)));
    await harness.receivesWakeUps(2);
    expect(redisLines(started)).toEqual([]);
  });

  it("a worker receives wake-ups after a failover to an outdated replica", async () => {
    await open();
    ends.push(async () => {
      await redis.send("flushall");
      await redis.send("save");
    });
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    await Promise.all([1, 2, 3].map(() => publisher.publish({ name: harness.name, versionId: "1" })));
    await redis.send("save");
    const ids = await Promise.all(Array.from({ length: 10 }, () => harness.start({ ms: 5 })));
    await Promise.all(ids.map((id) => harness.completes(id)));
    const lost = await Promise.all(Array.from({ length: 5 }, () => harness.start({ ms: 200 })));
    await redis.kill();
    await redis.start();
    await Promise.all(lost.map((id) => harness.completes(id)));
    await completesRuns();
    await harness.receivesWakeUps(2);
    await expect.poll(() => redis.send("xlen", key()), soon).toBe(0);
    expect(started.done.toSorted()).toEqual([...new Set(started.done)].toSorted());
  });

  it("a worker receives wake-ups while Redis evicts streams", async () => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    ends.push(() => redis.send("config", "set", "maxmemory", 0));
    ends.push(() => redis.send("config", "set", "maxmemory-policy", "noeviction"));
    const used = Number(/used_memory:(\d+)/.exec(String(await redis.send("info", "memory")))?.[1]);
    await redis.send("config", "set", "maxmemory-policy", "allkeys-random");
    await redis.send("config", "set", "maxmemory", used + 2_000_000);
    const streamExists = async () => (await redis.send("exists", key())) === 1;
    for (let round = 0; round < 5; round += 1) {
      for (let n = 0; await streamExists(); n += 1) await redis.send("set", `other-${round}-${n}`, "x".repeat(100_000));
      await completesRuns();
      await redis.send("xgroup", "create", key(), "workers", "0", "mkstream").catch(() => {});
    }
    await redis.send("flushall");
    await redis.send("config", "set", "maxmemory", 0);
    await harness.receivesWakeUps(2);
    expect(redisLines(started)).toEqual([]);
  });

  it.each([
    ["is full and empty", "OOM", ["config", "set", "maxmemory", 1], ["config", "set", "maxmemory", 0]],
    ["has become a replica", "READONLY", ["replicaof", "127.0.0.1", 1], ["replicaof", "no", "one"]],
    ["has a value of another type at the key of the stream", "WRONGTYPE", ["set", "KEY", "x"], ["del", "KEY"]],
  ])("a worker survives a Redis that %s", async (_, code, cause, repair) => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    const send = (command: ReadonlyArray<string | number>) =>
      redis.send(...command.map((word) => (word === "KEY" ? key() : word)));
    ends.push(() => send(repair).catch(() => {}));
    await send(cause);
    if (code === "OOM") await redis.send("flushall");
    await survives(started, `refuses what workers need (${code})`, () => send(repair));
  });

  it("a worker reads wake-ups of a Redis that is full", async () => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    ends.push(() => redis.send("config", "set", "maxmemory", 0));
    await redis.send("config", "set", "maxmemory", 1);
    await completesRuns();
    await redis.send("config", "set", "maxmemory", 0);
    await harness.receivesWakeUps();
    expect(redisLines(started)).toEqual([]);
  });

  it("a worker polls while its Redis user lacks a permission", async () => {
    await open({ username: "narrow", password: "p" });
    const granted = ["+select", "+xreadgroup", "+xgroup", "+xdel", "+xadd", "+xautoclaim", "+xinfo"];
    await redis.send("acl", "setuser", "narrow", "reset", "on", ">p", "~*", ...granted);
    const started = await harness.startWorker();
    await survives(started, "refuses what workers need (NOPERM)", () =>
      redis.send("acl", "setuser", "narrow", "+xack"),
    );
  });

  it("a worker receives wake-ups with the least permissions, and logs that XAUTOCLAIM is missing", async () => {
    await open({ username: "enough", password: "p" });
    await redis.send(
      "acl",
      "setuser",
      "enough",
      "reset",
      "on",
      ">p",
      "~test-*",
      "+xreadgroup",
      "+xgroup|create",
      "+xack",
      "+xdel",
    );
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    await logs(started, "refuses XAUTOCLAIM (NOPERM)");
    await harness.receivesWakeUps(2);
    expect(redisLines(started).length).toBeLessThanOrEqual(2);
  });

  it("a worker receives wake-ups after a reply of Redis was lost", async () => {
    const proxy = await proxied();
    const started = await harness.startWorker();
    const info = async () => String(await redis.send("info", "clients"));
    const listens = () => expect.poll(info, soon).toContain("blocked_clients:1");
    for (let round = 0; round < 3; round += 1) {
      await listens();
      proxy.loseReplyTo("xreadgroup");
      await harness.receivesWakeUps(2);
    }
    await listens();
    proxy.loseReplyTo("xack");
    await harness.receivesWakeUps(3);
    await expect.poll(() => redis.send("xlen", key()), soon).toBe(0);
    expect(redisLines(started)).toEqual([]);
  });

  it("a worker survives a Redis that sends nothing on open connections", async () => {
    const proxy = await proxied();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    proxy.dropAll(true);
    await survives(started, "Redis is not reachable", () => proxy.dropAll(false));
  });

  it("a worker receives wake-ups of a Redis with a password, and logs a wrong password", async () => {
    const withPassword = await privateRedis({ password: "swordfish" });
    if (withPassword === null) return;
    ends.push(withPassword.kill);
    await open({}, withPassword);
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    expect(redisLines(started)).toEqual([]);
    await harness.close();
    await open({ password: "guess" }, withPassword);
    const unauthorized = await harness.startWorker();
    await logs(unauthorized, "refuses what workers need (WRONGPASS)");
    await completesRuns();
    expect(redisLines(unauthorized)).toHaveLength(1);
    expect(unauthorized.lines.join()).not.toMatch(/guess|swordfish/);
  });

  it("a worker receives wake-ups through TLS only if it trusts the certificate", async () => {
    const withTls = await privateRedis({ tls: true });
    if (withTls === null) return;
    ends.push(withTls.kill);
    await open({ host: "localhost" }, withTls);
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    expect(redisLines(started)).toEqual([]);
    await harness.close();
    for (const tls of [true, { ...withTls.address.tls, servername: "elsewhere" }]) {
      await open({ tls }, withTls);
      const untrusting = await harness.startWorker();
      await logs(untrusting, "Redis is not reachable");
      await completesRuns();
      expect(redisLines(untrusting)).toEqual([expect.stringMatching(/self-signed|altnames/)]);
      await harness.close();
    }
    await open({ tls: { rejectUnauthorized: false } }, withTls);
    await harness.startWorker();
    await harness.receivesWakeUps(2);
  });

  it("a worker receives wake-ups of a Redis with several databases", async () => {
    await open({ db: 3 });
    const served = { name: harness.name, versionId: "1" };
    const started = await harness.startWorker();
    for (let runs = 0; runs < 5; runs += 1) {
      const id = await harness.startSilently();
      const script = "redis.call('SELECT', 3) return redis.call('XADD', KEYS[1], '*', 'run', '?')";
      await redis.send("eval", script, 1, publisher.stream(served));
      await harness.completes(id, 4_000);
    }
    expect(redisLines(started)).toEqual([]);
    await harness.close();
    await open({ db: 99 });
    await logs(await harness.startWorker(), "refuses what workers need (ERR)");
  });

  it("a worker survives a Redis cluster of which a part fails", async () => {
    const cluster = await privateRedis({ cluster: true });
    if (cluster === null) return;
    ends.push(cluster.kill);
    await open({}, cluster);
    const started = await harness.startWorker();
    await harness.receivesWakeUps();
    await cluster.send("flushall");
    await harness.receivesWakeUps();
    expect(redisLines(started)).toEqual([]);
    await cluster.kill();
    await logs(started, "Redis is not reachable");
    await completesRuns();
    await cluster.start();
    await logs(started, "receiving wake-ups");
    await harness.receivesWakeUps();
    // While the cluster starts it reports CLUSTERDOWN, which is also logged once.
    const others = redisLines(started).filter((line) => !line.includes("CLUSTERDOWN"));
    expect(others).toEqual([expect.stringContaining("not reachable"), expect.stringContaining("receiving wake-ups")]);
  });

  it("a worker receives wake-ups after a Redis cluster moved the stream to another node", async () => {
    const [one, other] = [await privateRedis({ cluster: true }), await privateRedis({ cluster: "empty" })];
    if (one === null || other === null) return;
    ends.push(one.kill, other.kill);
    await one.send("cluster", "meet", "127.0.0.1", other.address.port);
    const nodes = [one, other];
    const idOf = async (node: RedisProcess) => String(await node.send("cluster", "myid"));
    const knows = async () => (await Promise.all(nodes.map((node) => node.send("cluster", "nodes")))).map(String);
    const ids = await Promise.all(nodes.map(idOf));
    await expect
      .poll(async () => (await knows()).every((said) => ids.every((id) => said.includes(id))), soon)
      .toBe(true);
    await open({}, one);
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    const slot = Number(await one.send("cluster", "keyslot", key()));
    for (const [home, before] of [
      [other, one],
      [one, other],
    ] as const) {
      await home.send("cluster", "setslot", slot, "importing", await idOf(before));
      await home.send("cluster", "setslot", slot, "node", await idOf(home));
      // The old node redirects once it has no key of the slot, but a listening worker may create its group there again.
      const isMoved = async () => {
        await sendOnce(before.address, ["del", key()]);
        await before.send("cluster", "setslot", slot, "node", await idOf(home));
        return false;
      };
      const isGone = () => isMoved().catch((error) => String(error).includes("MOVED"));
      await expect.poll(isGone, soon).toBe(true);
      await completesRuns();
      // The worker has reconnected when it receives wake-ups. Until then a long poll may be pending.
      const isBack = () =>
        harness
          .receivesWakeUps(2)
          .then(() => true)
          .catch(() => false);
      await expect.poll(isBack, soon).toBe(true);
      await expect.poll(() => home.send("cluster", "countkeysinslot", slot), soon).toBe(1);
    }
    expect(redisLines(started).filter((line) => !/MOVED|ASK|CLUSTERDOWN|receiving wake-ups/.test(line))).toEqual([]);
  });
});
