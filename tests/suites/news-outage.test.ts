/** News between servers of one PostgreSQL when the way between them fails: they look for themselves, and say so. */

import { type Logger, silentLogger } from "@aikirun/lib";
import { type Server, server } from "@aikirun/server";
import { afterEach, describe, expect, inject, it } from "vitest";
import { findPooler, startPooler } from "../real/pgbouncer.ts";
import { anotherDatabase, type TestDatabase, testDatabase } from "../real/postgres.ts";
import { proxyTo } from "../real/proxy.ts";
import { privateRedis } from "../real/redis.ts";
import { Stage } from "./actors.ts";

const isThere = (await testDatabase().then(async (database) => database?.drop().then(() => true))) === true;
const program = isThere ? await findPooler() : null;

describe.skipIf(!isThere)("servers that share a PostgreSQL", () => {
  const ends: Array<() => unknown> = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function base(): Promise<TestDatabase> {
    const database = await anotherDatabase();
    ends.push(database.drop);
    return database;
  }

  async function harness(params: Parameters<typeof server>[0]): Promise<Server & { lines: string[] }> {
    const lines: string[] = [];
    const made = await server({ databaseConnections: 3, logger: gathering(lines), ...params });
    ends.push(() => made.close());
    return Object.assign(made, { lines });
  }

  /** How long somebody who watches at one server waits for what is done at the other. Milliseconds. */
  async function latency(from: Server, to: Server): Promise<number> {
    const here = new Stage(from.api());
    const there = Object.assign(new Stage(to.api()), { name: here.name });
    const id = await here.start();
    const ended = there.reaches(id, "cancelled");
    // Its own look comes first.
    await there.view(id);
    const began = performance.now();
    await here.signal(id, { type: "cancel" });
    await ended;
    return performance.now() - began;
  }

  /** The sweep comes a second after the look, so that by it alone nothing is so fast. */
  async function areInTouch(from: Server, to: Server): Promise<boolean> {
    const latencies = [await latency(from, to), await latency(from, to), await latency(from, to)];
    return latencies.every((ms) => ms < 600);
  }

  it("hear of one another again when a network has swallowed everything for a while", {
    timeout: 120_000,
  }, async () => {
    const database = await base();
    const road = await proxyTo(database.url);
    ends.push(() => road.close());
    const here = await harness({ database: database.url, databaseDirect: road.url });
    const there = await harness({ database: database.url });
    const bothWays = async () => (await areInTouch(here, there)) && (await areInTouch(there, here));
    await expect.poll(bothWays, { timeout: 40_000 }).toBe(true);
    road.fall(true);
    await latency(here, there);
    // The connection still stands, and what was said on it was never answered.
    expect(await areInTouch(here, there)).toBe(false);
    road.fall(false);
    await expect.poll(bothWays, { timeout: 40_000 }).toBe(true);
  });

  it("hear of one another again after Redis was killed, and meanwhile look for themselves", {
    timeout: 120_000,
  }, async () => {
    const redis = await privateRedis();
    if (redis === null) return;
    ends.push(() => redis.kill());
    const database = await base();
    const params = { database: database.url, redis: `redis://127.0.0.1:${redis.address.port}` };
    const [here, there] = [await harness(params), await harness(params)];
    await expect.poll(() => areInTouch(here, there), { timeout: 40_000 }).toBe(true);
    await redis.kill();
    expect(await latency(here, there)).toBeLessThan(5_000);
    await redis.start();
    await expect.poll(() => areInTouch(here, there), { timeout: 40_000 }).toBe(true);
  });

  it.skipIf(program === null)(
    "say once that a pooler keeps them from hearing, unless they are given a way past it",
    {
      timeout: 120_000,
    },
    async () => {
      const database = await base();
      const { directory } = inject("services");
      const options = { program: program ?? "", directory, database: database.url, connections: 3 };
      const road = await startPooler(options);
      ends.push(road.close);
      const [deaf, misled, here, there] = [
        await harness({ database: road.url }),
        await harness({ database: road.url, databaseDirect: road.url }),
        await harness({ database: road.url, databaseDirect: database.url }),
        await harness({ database: road.url, databaseDirect: database.url }),
      ];
      const advice = expect.stringContaining("databaseDirect");
      // A PostgreSQL at DATABASE_URL may give other reasons to warn, such as synchronous_commit off.
      const said = (one: typeof deaf) => one.lines.filter((line) => line.includes("notifications"));
      for (const one of [deaf, misled]) await expect.poll(() => said(one), { timeout: 40_000 }).toEqual([advice]);
      expect(await latency(here, deaf)).toBeLessThan(5_000);
      await expect.poll(() => areInTouch(here, there), { timeout: 40_000 }).toBe(true);
      expect([deaf, misled, here, there].map(said)).toEqual([[advice], [advice], [], []]);
    },
  );
});

/** Warnings alone. */
function gathering(lines: string[]): Logger {
  const keep = (line: string) => {
    lines.push(line);
  };
  const logger: Logger = { ...silentLogger, warn: keep, error: keep, child: () => logger };
  return logger;
}
