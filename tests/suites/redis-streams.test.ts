/** What workers do with a Redis that is well: its streams are empty and its readers are alive when all is done. */

import { client } from "@aikirun/client";
import { redisConnector } from "@aikirun/client/internal";
import { silentLogger } from "@aikirun/lib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { redisStreams } from "../../packages/worker/src/subscribers/redis-streams.ts";
import type { Question } from "../../packages/worker/src/subscribers/subscriber.ts";
import { testRedis } from "../real/redis.ts";
import { type Bells, bellsAt } from "./bells.ts";
import { Workplace } from "./workplace.ts";

const redis = await testRedis();
/** How long a machine under load may take. */
const soon = { timeout: 20_000 };

describe.skipIf(redis === null)("a worker that hears of runs through Redis Streams", () => {
  if (redis === null) return;
  let tests = 0;
  let bells: Bells;
  let place: Workplace;

  beforeEach(async () => {
    tests += 1;
    bells = bellsAt(redis.address, `${redis.prefix}-${tests}`);
    place = await open();
  });
  afterEach(() => place.close());

  const open = (): Promise<Workplace> =>
    Workplace.open({
      subscriber: { type: "redis_streams", claimMinIdleTimeMs: 1_000 },
      redis: redis.address,
      heard: bells.heardThrough,
      ring: (name, shardKey) => bells.ring({ name, versionId: "1" }, shardKey),
    });
  const key = (name = place.name) => bells.key({ name, versionId: "1" });
  const left = async (stream = key()) => Number(await redis.send("xlen", stream));
  const consumers = async (stream = key()): Promise<string[]> => {
    const all = await redis.send("xinfo", "consumers", stream, "workers").catch(() => []);
    return Array.isArray(all) ? all.map((one) => `${one[1]} ${one[3]}`) : [];
  };
  /** One who was given all that rang, and died. */
  const die = async () => {
    await redis.send("xgroup", "create", key(), "workers", "0", "mkstream");
    await redis.send("xreadgroup", "group", "workers", "dead", "count", 100, "streams", key(), ">");
  };

  it("hears bells, and leaves none behind", async () => {
    const hired = await place.hire();
    await place.hears();
    await expect.poll(left, soon).toBe(0);
    expect(hired.lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  it("hears what rang before it came", async () => {
    await Promise.all([1, 2, 3, 4].map(() => place.start()));
    await place.hire();
    await expect.poll(left, soon).toBe(0);
  });

  it("finds a run whose bell was lost", async () => {
    await place.hire();
    await place.hears(1);
    const id = await place.startSilently();
    await place.completes(id);
  });

  it("takes no harm from bells that are old, doubled, or garbage, whatever they say", async () => {
    const hired = await place.hire();
    const served = { name: place.name, versionId: "1" };
    const garbage = Array.from({ length: 300 }, (_, n) =>
      bells.ring(served, undefined, `\u0000\ufffd${n}`, "no", "", ""),
    );
    const ids = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const id = await place.start();
        await bells.ring(served);
        return id;
      }),
    );
    await Promise.all([...garbage, ...ids.map((id) => place.completes(id))]);
    expect(hired.done.toSorted()).toEqual(ids.toSorted());
    await expect.poll(left, soon).toBe(0);
    expect(hired.lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  it("reads thousands of bells that ring for nothing in a moment", async () => {
    await place.hire({ maxConcurrentWorkflowRuns: 1 });
    await place.hears(1);
    const script = "for i = 1, 5000 do redis.call('XADD', KEYS[1], '*', 'run', i) end";
    await redis.send("eval", script, 1, key());
    await expect.poll(left, soon).toBe(0);
    await place.hears(3);
  });

  it("keeps no bell from others that it has no slot for: it rings again", async () => {
    const serves = ["a", "b", "c", "d"].map((name) => ({ name, versionId: "1" }));
    const aiki = await client({ url: "http://127.0.0.1:1", redis: redis.address, logger: silentLogger });
    const { env, logger } = aiki;
    const context = {
      session: "s",
      worker: "w",
      serves: () => serves,
      shardKeys: [],
      streams: () => bells.streams,
      logger,
      env,
    };
    const options = { claimMinIdleTimeMs: 60_000, blockTimeMs: 1_000, maxRetryIntervalMs: 100 };
    const subscriber = redisStreams(options, context, aiki[redisConnector]);
    const { signal } = new AbortController();
    const asked = async (): Promise<Question> => {
      const question = await subscriber.next(1, signal);
      if (question.rung === true) return question;
      await expect.poll(() => question.recall?.aborted, soon).toBe(true);
      question.settled?.({ type: "unasked" });
      return asked();
    };
    await Promise.all(serves.map((served) => bells.ring(served)));
    const question = await asked();
    question.settled?.({ type: "answered", asked: 1, runs: 1, heldMs: 0 });
    const streams = serves.map((served) => bells.key(served));
    const lengths = () => Promise.all(streams.map(left)).then((all) => all.toSorted());
    const pending = async () => (await Promise.all(streams.map(consumers))).flat().filter((one) => !one.endsWith(" 0"));
    await expect.poll(lengths, soon).toEqual([1, 1, 1, 1]);
    await expect.poll(pending, soon).toEqual([]);
    await subscriber.close();
    await aiki.close();
  });

  it("has connections that end with its client", async () => {
    const aiki = await client({ url: "http://127.0.0.1:1", redis: redis.address, logger: silentLogger });
    const connector = aiki[redisConnector];
    const opened = await connector?.connect(5_000);
    if (opened?.ok !== true) throw new Error("It could not be opened.");
    const answer = opened.connection.send(["xread", "block", 60_000, "streams", key(), "$"], 70_000);
    await aiki.close();
    expect(await answer).toMatchObject({ ok: false, code: "UNREACHABLE" });
    expect(await connector?.connect(5_000)).toMatchObject({ ok: false, message: "the client is closed" });
  });

  it("takes over what a dead one was given, and then removes its name", async () => {
    const ids = await Promise.all([1, 2, 3].map(() => place.start()));
    await die();
    expect(await consumers()).toEqual(["dead 3"]);
    await place.hire();
    await Promise.all(ids.map((id) => place.completes(id)));
    await expect.poll(consumers, soon).toEqual([expect.stringMatching(/^(?!dead).* 0$/)]);
    expect(await left()).toBe(0);
  });

  it("is not misled by entries that were deleted while a dead one had them", async () => {
    const ids = await Promise.all([1, 2, 3].map(() => place.start()));
    await die();
    await redis.send("xtrim", key(), "maxlen", 0);
    const hired = await place.hire();
    await Promise.all(ids.map((id) => place.completes(id)));
    await expect.poll(consumers, soon).toEqual([expect.stringMatching(/^(?!dead).* 0$/)]);
    await place.hears(2);
    expect(hired.lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  it("takes its name with it when it stops", async () => {
    const [first, second] = [await place.hire(), await place.hire()];
    await place.hears(2);
    await expect.poll(async () => (await consumers()).length, soon).toBe(2);
    await expect.poll(left, soon).toBe(0);
    await first.worker.stop();
    expect(await consumers()).toHaveLength(1);
    await second.worker.stop();
    expect([await consumers(), await left()]).toEqual([[], 0]);
  });

  it("says once that the server does not ring, works, and hears when it does", async () => {
    bells.isRinging = false;
    const hired = await place.hire();
    await place.completes(await place.start());
    await expect.poll(() => hired.lines, soon).toContainEqual(expect.stringContaining("does not deliver through it"));
    await place.completes(await place.start());
    bells.isRinging = true;
    await expect.poll(() => hired.lines, soon).toContainEqual(expect.stringContaining("from now on"));
    await place.hears();
    expect(hired.lines.filter((line) => line.includes("Redis"))).toHaveLength(2);
  });

  it("polls with a client that was not told of Redis, and says so", async () => {
    const other = await Workplace.open({ subscriber: { type: "redis_streams" } });
    const hired = await other.hire();
    await other.completes(await other.start());
    expect(hired.lines.filter((line) => line.includes("Redis"))).toEqual([
      expect.stringContaining("the client knows of no Redis"),
    ]);
    await other.close();
  });
});
