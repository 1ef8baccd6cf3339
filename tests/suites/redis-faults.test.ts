/** What workers do with a Redis that fails them: they say it once, work on through polling, and come back. */

import type { RedisParams } from "@aikirun/client";
import { afterEach, describe, expect, it } from "vitest";
import { proxyTo, type NetworkProxy as Road } from "../real/proxy.ts";
import { privateRedis } from "../real/redis.ts";
import { type RedisProcess, sendOnce } from "../real/redis-process.ts";
import { type Publisher, publisherAt } from "./publisher.ts";
import { type StartedWorker, WorkerHarness } from "./worker-harness.ts";

const redis = await privateRedis();
/** How long a machine under load may take. */
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

  /** Workers read through `params`, which may lead elsewhere than where wake-ups are published. */
  const open = async (through: Partial<RedisParams> = {}, at: RedisProcess = redis) => {
    tests += 1;
    publisher = publisherAt(at.address, `test-${tests}`);
    harness = await WorkerHarness.open({
      subscriber: { type: "redis_streams", claimMinIdleTimeMs: 1_000, maxRetryIntervalMs: 200 },
      redis: { ...at.address, ...through },
      wrapApi: publisher.besides,
      publishWakeUp: (name, shardKey) => publisher.publish({ name, versionId: "1" }, shardKey),
    });
  };
  const proxied = async (): Promise<Road> => {
    const proxy = await proxyTo(`redis://127.0.0.1:${redis.address.port}`);
    ends.push(() => proxy.close());
    await open({ port: Number(new URL(proxy.url).port) });
    return proxy;
  };
  const key = () => publisher.stream({ name: harness.name, versionId: "1" });
  const news = ({ lines }: StartedWorker) => lines.filter((line) => line.includes("Redis"));
  const says = (started: StartedWorker, words: string) =>
    expect.poll(() => started.lines, soon).toContainEqual(expect.stringContaining(words));
  const works = async (runs = 5) => {
    const ids = await Promise.all(Array.from({ length: runs }, () => harness.start({ ms: 5 })));
    await Promise.all(ids.map((id) => harness.completes(id)));
  };
  /** Breaks, works meanwhile, mends, hears; two lines are all that is said. */
  const outlives = async (started: StartedWorker, words: string, mend: () => unknown) => {
    await says(started, words);
    await works();
    await mend();
    await says(started, "receiving wake-ups");
    await harness.receivesWakeUps();
    expect(news(started)).toEqual([expect.stringContaining(words), expect.stringContaining("receiving wake-ups")]);
    expect(started.busy.most).toBeLessThanOrEqual(3);
  };

  it("is missing when it starts", async () => {
    await open();
    await redis.kill();
    const started = await harness.startWorker();
    await outlives(started, "Redis is not reachable at 127.0.0.1", redis.start);
  });

  it("is killed under load, and comes back empty", async () => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    const before = await Promise.all(Array.from({ length: 100 }, () => harness.start({ ms: 10 })));
    await redis.kill();
    await outlives(started, "Redis is not reachable", redis.start);
    await Promise.all(before.map((id) => harness.completes(id)));
    for (const id of before) expect(started.done.filter((one) => one === id)).toHaveLength(1);
  });

  it("is stopped as a process, and goes on", async () => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    redis.signal("SIGSTOP");
    ends.push(() => redis.signal("SIGCONT"));
    await says(started, "Redis is not reachable");
    const id = await harness.startSilently();
    await harness.completes(id);
    redis.signal("SIGCONT");
    await says(started, "receiving wake-ups");
    await harness.receivesWakeUps();
    expect(news(started)).toHaveLength(2);
  });

  it("pauses all its clients", async () => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    await redis.send("client", "pause", 6_000, "all");
    await says(started, "Redis is not reachable");
    await harness.completes(await harness.startSilently());
    await says(started, "receiving wake-ups");
    await harness.receivesWakeUps();
    expect(news(started)).toHaveLength(2);
  });

  it.each([
    ["is flushed", ["flushall"]],
    ["loses the stream", ["del"]],
    ["loses the group", ["xgroup", "destroy"]],
  ])("%s while it listens", async (_, command) => {
    await open();
    const started = await harness.startWorker();
    for (let round = 0; round < 3; round += 1) {
      await harness.receivesWakeUps(2);
      const rest = command[0] === "flushall" ? [] : [key(), ...(command[0] === "del" ? [] : ["workers"])];
      await redis.send(...command, ...rest);
      await harness.receivesWakeUps(2);
    }
    expect(news(started)).toEqual([]);
  });

  it("is trimmed by others at any moment", async () => {
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
    expect(news(started)).toEqual([]);
  });

  it("fails over to a copy of itself that is behind", async () => {
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
    await works();
    await harness.receivesWakeUps(2);
    await expect.poll(() => redis.send("xlen", key()), soon).toBe(0);
    expect(started.done.toSorted()).toEqual([...new Set(started.done)].toSorted());
  });

  it("evicts the streams when it is full", async () => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    ends.push(() => redis.send("config", "set", "maxmemory", 0));
    ends.push(() => redis.send("config", "set", "maxmemory-policy", "noeviction"));
    const used = Number(/used_memory:(\d+)/.exec(String(await redis.send("info", "memory")))?.[1]);
    await redis.send("config", "set", "maxmemory-policy", "allkeys-random");
    await redis.send("config", "set", "maxmemory", used + 2_000_000);
    const isThere = async () => (await redis.send("exists", key())) === 1;
    for (let round = 0; round < 5; round += 1) {
      for (let n = 0; await isThere(); n += 1) await redis.send("set", `other-${round}-${n}`, "x".repeat(100_000));
      await works();
      await redis.send("xgroup", "create", key(), "workers", "0", "mkstream").catch(() => {});
    }
    await redis.send("flushall");
    await redis.send("config", "set", "maxmemory", 0);
    await harness.receivesWakeUps(2);
    expect(news(started)).toEqual([]);
  });

  it.each([
    ["is full, and empty", "OOM", ["config", "set", "maxmemory", 1], ["config", "set", "maxmemory", 0]],
    ["became a replica", "READONLY", ["replicaof", "127.0.0.1", 1], ["replicaof", "no", "one"]],
    ["keeps something else where the stream was", "WRONGTYPE", ["set", "KEY", "x"], ["del", "KEY"]],
  ])("%s", async (_, code, damage, mend) => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    const send = (command: ReadonlyArray<string | number>) =>
      redis.send(...command.map((word) => (word === "KEY" ? key() : word)));
    ends.push(() => send(mend).catch(() => {}));
    await send(damage);
    if (code === "OOM") await redis.send("flushall");
    await outlives(started, `refuses what workers need (${code})`, () => send(mend));
  });

  it("is full, but lets what is there be read", async () => {
    await open();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    ends.push(() => redis.send("config", "set", "maxmemory", 0));
    await redis.send("config", "set", "maxmemory", 1);
    await works();
    await redis.send("config", "set", "maxmemory", 0);
    await harness.receivesWakeUps();
    expect(news(started)).toEqual([]);
  });

  it("permits less than is needed", async () => {
    await open({ username: "narrow", password: "p" });
    const granted = ["+select", "+xreadgroup", "+xgroup", "+xdel", "+xadd", "+xautoclaim", "+xinfo"];
    await redis.send("acl", "setuser", "narrow", "reset", "on", ">p", "~*", ...granted);
    const started = await harness.startWorker();
    await outlives(started, "refuses what workers need (NOPERM)", () =>
      redis.send("acl", "setuser", "narrow", "+xack"),
    );
  });

  it("permits all that is needed and no more", async () => {
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
    await says(started, "refuses XAUTOCLAIM (NOPERM)");
    await harness.receivesWakeUps(2);
    expect(news(started).length).toBeLessThanOrEqual(2);
  });

  it("gives an answer that never arrives", async () => {
    const proxy = await proxied();
    const started = await harness.startWorker();
    const info = async () => String(await redis.send("info", "clients"));
    const listens = () => expect.poll(info, soon).toContain("blocked_clients:1");
    for (let round = 0; round < 3; round += 1) {
      await listens();
      proxy.cutAfter("xreadgroup");
      await harness.receivesWakeUps(2);
    }
    await listens();
    proxy.cutAfter("xack");
    await harness.receivesWakeUps(3);
    await expect.poll(() => redis.send("xlen", key()), soon).toBe(0);
    expect(news(started)).toEqual([]);
  });

  it("falls silent without a word, on connections that stay open", async () => {
    const proxy = await proxied();
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    proxy.fall(true);
    await outlives(started, "Redis is not reachable", () => proxy.fall(false));
  });

  it("wants a password", async () => {
    const guarded = await privateRedis({ password: "swordfish" });
    if (guarded === null) return;
    ends.push(guarded.kill);
    await open({}, guarded);
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    expect(news(started)).toEqual([]);
    await harness.close();
    await open({ password: "guess" }, guarded);
    const stranger = await harness.startWorker();
    await says(stranger, "refuses what workers need (WRONGPASS)");
    await works();
    expect(news(stranger)).toHaveLength(1);
    expect(stranger.lines.join()).not.toMatch(/guess|swordfish/);
  });

  it("speaks TLS, and has to be trusted", async () => {
    const sealed = await privateRedis({ tls: true });
    if (sealed === null) return;
    ends.push(sealed.kill);
    await open({ host: "localhost" }, sealed);
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    expect(news(started)).toEqual([]);
    await harness.close();
    for (const tls of [true, { ...sealed.address.tls, servername: "elsewhere" }]) {
      await open({ tls }, sealed);
      const doubtful = await harness.startWorker();
      await says(doubtful, "Redis is not reachable");
      await works();
      expect(news(doubtful)).toEqual([expect.stringMatching(/self-signed|altnames/)]);
      await harness.close();
    }
    await open({ tls: { rejectUnauthorized: false } }, sealed);
    await harness.startWorker();
    await harness.receivesWakeUps(2);
  });

  it("has several databases", async () => {
    await open({ db: 3 });
    const served = { name: harness.name, versionId: "1" };
    const started = await harness.startWorker();
    for (let runs = 0; runs < 5; runs += 1) {
      const id = await harness.startSilently();
      const script = "redis.call('SELECT', 3) return redis.call('XADD', KEYS[1], '*', 'run', '?')";
      await redis.send("eval", script, 1, publisher.stream(served));
      await harness.completes(id, 4_000);
    }
    expect(news(started)).toEqual([]);
    await harness.close();
    await open({ db: 99 });
    await says(await harness.startWorker(), "refuses what workers need (ERR)");
  });

  it("is a cluster, of which a part fails", async () => {
    const cluster = await privateRedis({ cluster: true });
    if (cluster === null) return;
    ends.push(cluster.kill);
    await open({}, cluster);
    const started = await harness.startWorker();
    await harness.receivesWakeUps();
    await cluster.send("flushall");
    await harness.receivesWakeUps();
    expect(news(started)).toEqual([]);
    await cluster.kill();
    await says(started, "Redis is not reachable");
    await works();
    await cluster.start();
    await says(started, "receiving wake-ups");
    await harness.receivesWakeUps();
    // While it is being put together it says that it is down: that is another thing, said once too.
    const others = news(started).filter((line) => !line.includes("CLUSTERDOWN"));
    expect(others).toEqual([expect.stringContaining("not reachable"), expect.stringContaining("receiving wake-ups")]);
  });

  it("is a cluster that moves the streams to another node", async () => {
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
      // It hears of it from the other, or is told once it holds nothing there, where a listener makes its group anew.
      const isMoved = async () => {
        await sendOnce(before.address, ["del", key()]);
        await before.send("cluster", "setslot", slot, "node", await idOf(home));
        return false;
      };
      const isGone = () => isMoved().catch((error) => String(error).includes("MOVED"));
      await expect.poll(isGone, soon).toBe(true);
      await works();
      // The worker has reconnected once it receives them; a long poll may be pending until then.
      const isBack = () =>
        harness
          .receivesWakeUps(2)
          .then(() => true)
          .catch(() => false);
      await expect.poll(isBack, soon).toBe(true);
      await expect.poll(() => home.send("cluster", "countkeysinslot", slot), soon).toBe(1);
    }
    expect(news(started).filter((line) => !/MOVED|ASK|CLUSTERDOWN|receiving wake-ups/.test(line))).toEqual([]);
  });
});
