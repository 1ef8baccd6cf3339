/** Notifications between servers while their connection fails: servers poll the database, and log it. */

import { type Logger, silentLogger } from "@aikirun/lib";
import { type Server, server } from "@aikirun/server";
import { afterEach, describe, expect, inject, it } from "vitest";
import { findPooler, startPooler } from "../real/pgbouncer.ts";
import { anotherDatabase, type TestDatabase, testDatabase } from "../real/postgres.ts";
import { proxyTo } from "../real/proxy.ts";
import { privateRedis } from "../real/redis.ts";
import { Stage } from "./actors.ts";

const hasPostgres = (await testDatabase().then(async (database) => database?.drop().then(() => true))) === true;
const program = hasPostgres ? await findPooler() : null;

describe.skipIf(!hasPostgres)("servers that share a PostgreSQL", () => {
  const ends: Array<() => unknown> = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function createDatabase(): Promise<TestDatabase> {
    const database = await anotherDatabase();
    ends.push(database.drop);
    return database;
  }

  async function startServer(params: Parameters<typeof server>[0]): Promise<Server & { lines: string[] }> {
    const lines: string[] = [];
    const made = await server({ databaseConnections: 3, logger: gathering(lines), ...params });
    ends.push(() => made.close());
    return Object.assign(made, { lines });
  }

  /** How long a watch on one server takes to see a change through another server. Milliseconds. */
  async function latency(from: Server, to: Server): Promise<number> {
    const here = new Stage(from.api());
    const there = Object.assign(new Stage(to.api()), { name: here.name });
    const id = await here.start();
    const ended = there.reaches(id, "cancelled");
    // The watch has read the run before the change.
    await there.view(id);
    const startedAt = performance.now();
    await here.signal(id, { type: "cancel" });
    await ended;
    return performance.now() - startedAt;
  }

  /** The sweep takes a second, so a change that is seen earlier was notified. */
  async function areNotified(from: Server, to: Server): Promise<boolean> {
    const latencies = [await latency(from, to), await latency(from, to), await latency(from, to)];
    return latencies.every((ms) => ms < 600);
  }

  it("servers receive notifications again after a network has dropped all packets for a while", {
    timeout: 120_000,
  }, async () => {
    const database = await createDatabase();
    const proxy = await proxyTo(database.url);
    ends.push(() => proxy.close());
    const here = await startServer({ database: database.url, databaseDirect: proxy.url });
    const there = await startServer({ database: database.url });
    const notifyEachOther = async () => (await areNotified(here, there)) && (await areNotified(there, here));
    await expect.poll(notifyEachOther, { timeout: 40_000 }).toBe(true);
    proxy.dropAll(true);
    await latency(here, there);
    // The connection is still open, but gets no reply.
    expect(await areNotified(here, there)).toBe(false);
    proxy.dropAll(false);
    await expect.poll(notifyEachOther, { timeout: 40_000 }).toBe(true);
  });

  it("servers receive notifications again after Redis was killed, and poll the database meanwhile", {
    timeout: 120_000,
  }, async () => {
    const redis = await privateRedis();
    if (redis === null) return;
    ends.push(() => redis.kill());
    const database = await createDatabase();
    const params = { database: database.url, redis: `redis://127.0.0.1:${redis.address.port}` };
    const [here, there] = [await startServer(params), await startServer(params)];
    await expect.poll(() => areNotified(here, there), { timeout: 40_000 }).toBe(true);
    await redis.kill();
    expect(await latency(here, there)).toBeLessThan(5_000);
    await redis.start();
    await expect.poll(() => areNotified(here, there), { timeout: 40_000 }).toBe(true);
  });

  it.skipIf(program === null)(
    "a server behind a pooler warns once that it gets no notifications, unless databaseDirect bypasses the pooler",
    {
      timeout: 120_000,
    },
    async () => {
      const database = await createDatabase();
      const { directory } = inject("services");
      const options = { program: program ?? "", directory, database: database.url, connections: 3 };
      const proxy = await startPooler(options);
      ends.push(proxy.close);
      const [pooled, misconfigured, here, there] = [
        await startServer({ database: proxy.url }),
        await startServer({ database: proxy.url, databaseDirect: proxy.url }),
        await startServer({ database: proxy.url, databaseDirect: database.url }),
        await startServer({ database: proxy.url, databaseDirect: database.url }),
      ];
      const advice = expect.stringContaining("databaseDirect");
      // A PostgreSQL at DATABASE_URL may give other reasons to warn, such as synchronous_commit off.
      const warnings = (one: typeof pooled) => one.lines.filter((line) => line.includes("notifications"));
      for (const one of [pooled, misconfigured])
        await expect.poll(() => warnings(one), { timeout: 40_000 }).toEqual([advice]);
      expect(await latency(here, pooled)).toBeLessThan(5_000);
      await expect.poll(() => areNotified(here, there), { timeout: 40_000 }).toBe(true);
      expect([pooled, misconfigured, here, there].map(warnings)).toEqual([[advice], [advice], [], []]);
    },
  );
});

/** A logger that keeps only warnings and errors. */
function gathering(lines: string[]): Logger {
  const keep = (line: string) => {
    lines.push(line);
  };
  const logger: Logger = { ...silentLogger, warn: keep, error: keep, child: () => logger };
  return logger;
}
