/** Servers and workers work with Redis users that have only the documented permissions. */

import { readFile } from "node:fs/promises";
import { client } from "@aikirun/client";
import { type Logger, silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { worker } from "@aikirun/worker";
import { event, workflow } from "@aikirun/workflow";
import { afterEach, describe, expect, it } from "vitest";
import { anotherDatabase, type TestDatabase, testDatabase } from "../real/postgres.ts";
import { privateRedis } from "../real/redis.ts";

const redis = await privateRedis();
const hasPostgres = (await testDatabase().then(async (database) => database?.drop().then(() => true))) === true;

const order = workflow({ name: "order" });
const orderV1 = order.v("1.0.0", {
  events: { approved: event<string>() },
  async handler(run, id: string) {
    await run.sleep({ milliseconds: 5 });
    return `${id} approved by ${await run.events.approved.wait()}`;
  },
});

describe.skipIf(redis === null || !hasPostgres)("a user of Redis", () => {
  if (redis === null) return;
  const ends: Array<() => unknown> = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function base(): Promise<TestDatabase> {
    const database = await anotherDatabase();
    ends.push(database.drop);
    return database;
  }

  /** Creates the documented users. `without` omits a permission of the server. */
  async function users(without = ""): Promise<void> {
    for (const line of await documented()) {
      const [, ...words] = line.split(" ");
      const isServer = line.includes("aiki_server");
      await redis?.send("ACL", ...words.filter((word) => !(isServer && word === without)));
    }
  }

  async function serve(database: TestDatabase): Promise<{ url: string; lines: string[] }> {
    const lines: string[] = [];
    const { port } = redis?.address ?? { port: 0 };
    const through = `redis://aiki_server:password@127.0.0.1:${port}`;
    const made = await server({ database: database.url, redis: through, logger: gathering(lines) });
    ends.push(() => made.close());
    return { url: (await made.listen({ port: 0 })).url, lines };
  }

  it("two servers and a worker log no warning with the documented permissions of Redis", async () => {
    await users();
    const database = await base();
    const [here, there] = [await serve(database), await serve(database)];
    const lines: string[] = [];
    const { port } = redis.address;
    const workerRedis = { host: "127.0.0.1", port, username: "aiki_worker", password: "password" };
    const far = await client({ url: here.url, redis: workerRedis, logger: gathering(lines) });
    const near = await client({ url: there.url, logger: silentLogger });
    ends.push(far.close, near.close);
    const subscriber = { type: "redis_streams", claimMinIdleTimeMs: 1_000, blockTimeMs: 100 } as const;
    const working = worker(far, { maxConcurrentWorkflowRuns: 2, subscriber });
    working.registry.add(order);
    await working.start();
    ends.push(() => working.stop());
    // Longer than claimMinIdleTimeMs, so that the worker also claims messages of other consumers.
    for (let round = 0; round < 6; round += 1) {
      const handles = await Promise.all(["a", "b", "c", "d", "e"].map((id) => orderV1.start(near, id)));
      await Promise.all(handles.map((handle) => handle.events.approved.send("ada")));
      expect(await handles[0]?.result()).toBe("a approved by ada");
      await Promise.all(handles.map((handle) => handle.result()));
    }
    const streams = await redis.send("SCAN", 0, "MATCH", "aiki:{default}:order:*");
    expect(JSON.stringify(streams)).toContain("aiki:{default}:order:1.0.0");
    await expect.poll(() => commandsOf(redis), { timeout: 20_000 }).toEqual(expect.arrayContaining(["xautoclaim"]));
    expect([...here.lines, ...there.lines, ...lines]).toEqual([]);
  });

  it.each(["+xadd", "+publish", "+subscribe", "~aiki:*", "&aiki:notifications"])(
    "a server whose Redis user lacks %s logs a warning with the message of Redis",
    async (right) => {
      await users(right);
      const { lines, url } = await serve(await base());
      const aiki = await client({ url, logger: silentLogger });
      ends.push(aiki.close);
      // Each start is published to other servers.
      const goesOn = () => orderV1.start(aiki, "a").then(() => lines.join("\n"));
      await expect.poll(goesOn, { timeout: 20_000 }).toMatch(/NOPERM/);
    },
  );
});

async function documented(): Promise<string[]> {
  const docs = await readFile(new URL("../../docs/production.md", import.meta.url), "utf8");
  const lines = docs.match(/^ACL SETUSER .*$/gm) ?? [];
  if (lines.length !== 2) throw new Error("The docs do not list two users of Redis.");
  return lines;
}

/** The commands that Redis has executed so far. */
async function commandsOf({ send }: { send: (...command: string[]) => Promise<unknown> }): Promise<string[]> {
  return [...String(await send("INFO", "commandstats")).matchAll(/cmdstat_([a-z]+)/g)].flatMap(
    ([, name]) => name ?? [],
  );
}

function gathering(lines: string[]): Logger {
  const warn = (message: string, fields?: object) => lines.push(`${message} ${JSON.stringify(fields)}`);
  const logger: Logger = { ...silentLogger, warn, error: warn, child: () => logger };
  return logger;
}
