/** Workers with a working Redis: afterwards streams are empty, and all consumers are live workers. */

import { client } from "@aikirun/client";
import { redisOf } from "@aikirun/client/internal";
import { silentLogger } from "@aikirun/lib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { redisStreams } from "../../packages/worker/src/subscribers/redis-streams.ts";
import type { PollRequest } from "../../packages/worker/src/subscribers/subscriber.ts";
import { testRedis } from "../real/redis.ts";
import { type Publisher, publisherAt } from "./publisher.ts";
import { type StartedWorker, WorkerHarness } from "./worker-harness.ts";

const redis = await testRedis();
/** Allows for a machine under load. */
const soon = { timeout: 20_000 };

describe.skipIf(redis === null)("a worker that is woken through Redis Streams", () => {
  if (redis === null) return;
  let tests = 0;
  let publisher: Publisher;
  let harness: WorkerHarness;

  beforeEach(async () => {
    tests += 1;
    publisher = publisherAt(redis.address, `${redis.prefix}-${tests}`);
    harness = await open();
  });
  afterEach(() => harness.close());

  const open = (): Promise<WorkerHarness> =>
    WorkerHarness.open({
      subscriber: { type: "redis_streams", claimMinIdleTimeMs: 1_000 },
      redis: redis.address,
      wrapApi: publisher.wrap,
      publishWakeUp: (name, shardKey) => publisher.publish({ name, versionId: "1" }, shardKey),
    });
  const key = (name = harness.name) => publisher.stream({ name, versionId: "1" });
  const streamLength = async (stream = key()) => Number(await redis.send("xlen", stream));
  const consumers = async (stream = key()): Promise<string[]> => {
    const all = await redis.send("xinfo", "consumers", stream, "workers").catch(() => []);
    return Array.isArray(all) ? all.map((one) => `${one[1]} ${one[3]}`) : [];
  };
  /** Simulates a consumer that read all wake-ups and died. */
  const readAndDie = async () => {
    await redis.send("xgroup", "create", key(), "workers", "0", "mkstream");
    await redis.send("xreadgroup", "group", "workers", "dead", "count", 100, "streams", key(), ">");
  };

  const logs = (started: StartedWorker, text: string) =>
    expect.poll(() => started.lines, soon).toContainEqual(expect.stringContaining(text));
  /** Waits until the worker polls because nothing is published. Then publishes again, until it receives wake-ups. */
  const pollsUntilPublished = async (started: StartedWorker) => {
    await logs(started, "publishes no wake-ups through it");
    await harness.completes(await harness.start());
    publisher.isPublishing = true;
    await logs(started, "receiving wake-ups");
    await harness.receivesWakeUps();
  };

  it("a worker reads all wake-ups of its stream", async () => {
    const started = await harness.startWorker();
    await harness.receivesWakeUps();
    await expect.poll(streamLength, soon).toBe(0);
    expect(started.lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  it("a worker reads wake-ups that were published before its start", async () => {
    await Promise.all([1, 2, 3, 4].map(() => harness.start()));
    await harness.startWorker();
    await expect.poll(streamLength, soon).toBe(0);
  });

  it("a worker finds a run whose wake-up was lost", async () => {
    await harness.startWorker();
    await harness.receivesWakeUps(1);
    const id = await harness.startSilently();
    await harness.completes(id);
  });

  it("a worker tolerates old, duplicate and invalid wake-ups", async () => {
    const started = await harness.startWorker();
    const served = { name: harness.name, versionId: "1" };
    const garbage = Array.from({ length: 300 }, (_, n) =>
      publisher.publish(served, undefined, `\u0000\ufffd${n}`, "no", "", ""),
    );
    const ids = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const id = await harness.start();
        await publisher.publish(served);
        return id;
      }),
    );
    await Promise.all([...garbage, ...ids.map((id) => harness.completes(id))]);
    expect(started.done.toSorted()).toEqual(ids.toSorted());
    await expect.poll(streamLength, soon).toBe(0);
    expect(started.lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  it("a worker quickly reads thousands of wake-ups that lead to empty claims", async () => {
    await harness.startWorker({ maxConcurrentWorkflowRuns: 1 });
    await harness.receivesWakeUps(1);
    const script = "for i = 1, 5000 do redis.call('XADD', KEYS[1], '*', 'run', i) end";
    await redis.send("eval", script, 1, key());
    await expect.poll(streamLength, soon).toBe(0);
    await harness.receivesWakeUps(3);
  });

  it("a full worker publishes a wake-up for each queue that may have more runs, and for no empty queue", async () => {
    const serves = ["a", "b"].map((name) => ({ name, versionId: "1" }));
    const aiki = await client({ url: "http://127.0.0.1:1", redis: redis.address, logger: silentLogger });
    const { env, logger } = aiki;
    const where = { prefix: `${redis.prefix}-${tests}`, namespace: "default" };
    const known = { session: "s", worker: "w", serves: () => serves, shardKeys: [], streams: () => where };
    const options = { claimMinIdleTimeMs: 60_000, blockTimeMs: 1_000, maxRetryIntervalMs: 100 };
    const subscriber = redisStreams(options, { ...known, logger, env }, aiki[redisOf]);
    const { signal } = new AbortController();
    const streams = serves.map((served) => publisher.stream(served));
    const lengths = () => Promise.all(streams.map(streamLength));
    const pending = async () => (await Promise.all(streams.map(consumers))).flat().filter((one) => !one.endsWith(" 0"));
    /** Claims without a wait, once wake-ups can be read. */
    const next = async (): Promise<PollRequest> => {
      const request = await subscriber.next(1, signal);
      if (request.waitMs === 0) return request;
      request.settled?.({ type: "skipped" });
      await new Promise((resolve) => setImmediate(resolve));
      return next();
    };
    const claims = async (runs: number) =>
      (await next()).settled?.({ type: "claimed", requested: 1, runs, waitedMs: 0 });
    await claims(0);
    await Promise.all(serves.map((served) => publisher.publish(served)));
    await claims(1);
    await expect.poll(lengths, soon).toEqual([1, 1]);
    await expect.poll(pending, soon).toEqual([]);
    // A full claim is followed by another one at once, without a wake-up.
    await claims(0);
    await claims(0);
    await expect.poll(lengths, soon).toEqual([0, 0]);
    await subscriber.close();
    await aiki.close();
  });

  it("the Redis connections of a worker are closed with its client", async () => {
    const aiki = await client({ url: "http://127.0.0.1:1", redis: redis.address, logger: silentLogger });
    const connector = aiki[redisOf];
    const opened = await connector?.connect(5_000);
    if (opened?.ok !== true) throw new Error("The connection could not be opened.");
    const answer = opened.connection.send(["xread", "block", 60_000, "streams", key(), "$"], 70_000);
    await aiki.close();
    expect(await answer).toMatchObject({ ok: false, code: "UNREACHABLE" });
    expect(await connector?.connect(5_000)).toMatchObject({ ok: false, message: "the connector is closed" });
  });

  it("a worker takes over the wake-ups of a dead consumer, and then removes the consumer", async () => {
    const ids = await Promise.all([1, 2, 3].map(() => harness.start()));
    await readAndDie();
    expect(await consumers()).toEqual(["dead 3"]);
    await harness.startWorker();
    await Promise.all(ids.map((id) => harness.completes(id)));
    await expect.poll(consumers, soon).toEqual([expect.stringMatching(/^(?!dead).* 0$/)]);
    expect(await streamLength()).toBe(0);
  });

  it("a worker ignores deleted wake-ups of a dead consumer", async () => {
    const ids = await Promise.all([1, 2, 3].map(() => harness.start()));
    await readAndDie();
    await redis.send("xtrim", key(), "maxlen", 0);
    const started = await harness.startWorker();
    await Promise.all(ids.map((id) => harness.completes(id)));
    await expect.poll(consumers, soon).toEqual([expect.stringMatching(/^(?!dead).* 0$/)]);
    await harness.receivesWakeUps(2);
    expect(started.lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  it("a worker removes its consumer when it stops", async () => {
    const [first, second] = [await harness.startWorker(), await harness.startWorker()];
    await harness.receivesWakeUps(2);
    await expect.poll(async () => (await consumers()).length, soon).toBe(2);
    await expect.poll(streamLength, soon).toBe(0);
    await first.worker.stop();
    expect(await consumers()).toHaveLength(1);
    await second.worker.stop();
    expect([await consumers(), await streamLength()]).toEqual([[], 0]);
  });

  it("a worker logs once that the server publishes no wake-ups, polls, and reads them when it does", async () => {
    publisher.isPublishing = false;
    const started = await harness.startWorker();
    await harness.completes(await harness.start());
    await pollsUntilPublished(started);
    expect(started.lines.filter((line) => line.includes("Redis"))).toHaveLength(2);
  });

  it("a worker polls when the server stops publishing wake-ups although Redis works", async () => {
    const started = await harness.startWorker();
    await harness.receivesWakeUps(2);
    publisher.isPublishing = false;
    await pollsUntilPublished(started);
  });

  it("a worker whose client has no Redis polls, and logs it", async () => {
    const other = await WorkerHarness.open({ subscriber: { type: "redis_streams" } });
    const started = await other.startWorker();
    await other.completes(await other.start());
    expect(started.lines.filter((line) => line.includes("Redis"))).toEqual([
      expect.stringContaining("the client has no Redis address"),
    ]);
    await other.close();
  });
});
