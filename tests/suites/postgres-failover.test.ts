/** A server whose PostgreSQL becomes a standby, or is replaced by its standby: two real ones and a road to either. */

import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Logger, silentLogger } from "@aikirun/lib";
import { type Server, server } from "@aikirun/server";
import { Client } from "pg";
import { afterEach, describe, expect, inject, it } from "vitest";
import { findBinaries } from "../real/binaries.ts";
import { type Cluster, canStream, startCluster, startStandby, userOf } from "../real/cluster.ts";
import { testDatabase } from "../real/postgres.ts";
import { proxyTo } from "../real/proxy.ts";
import { loadOn, persistently, Stage } from "./actors.ts";

type Road = Awaited<ReturnType<typeof proxyTo>>;

const isThere = (await testDatabase().then(async (found) => found?.drop().then(() => true))) === true;
const binaries = isThere ? await findBinaries(await mkdtemp(join(inject("services").directory, "failover-"))) : null;
const canFailOver = binaries !== null && canStream(binaries);
if (isThere && !canFailOver) {
  console.error("\nSKIPPED: this installation of PostgreSQL has no pg_basebackup, which tests of a failover need.\n");
}

describe.skipIf(!canFailOver)("a server on a PostgreSQL with a synchronous standby", { timeout: 120_000 }, () => {
  const ends: Array<() => unknown> = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  interface Pair {
    primary: Cluster;
    standby: Cluster;
    /** Leads to the primary. */
    road: Road;
  }

  async function pair(): Promise<Pair> {
    if (binaries === null) throw new Error("The PostgreSQL of these tests is gone.");
    const place = await mkdtemp(join(inject("services").directory, "pair-"));
    await userOf(place);
    ends.push(() => rm(place, { recursive: true, force: true, maxRetries: 5 }));
    const primary = await startCluster(binaries, join(place, "primary"), process.pid);
    ends.push(() => primary.control("-m", "immediate", "stop").catch(() => {}));
    const standby = await startStandby(binaries, join(place, "standby"), process.pid, primary);
    ends.push(() => standby.control("-m", "immediate", "stop").catch(() => {}));
    await primary.configure("synchronous_standby_names = 'standby'");
    await primary.control("reload");
    const inStep = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
    await expect.poll(() => rows(primary, inStep), { timeout: 20_000 }).toHaveLength(1);
    const road = await proxyTo(primary.url);
    ends.push(() => road.close());
    return { primary, standby, road };
  }

  async function serverOn(road: Road): Promise<Server & { lines: string[] }> {
    const lines: string[] = [];
    const note = (message: string) => lines.push(message);
    const logger: Logger = { ...silentLogger, info: note, warn: note, child: () => logger };
    const made = await server({ database: road.url, databaseConnections: 6, logger });
    ends.push(() => made.close());
    return Object.assign(made, { lines });
  }

  it("reads and listens no more at a primary that became read-only, though its sockets stay open", async () => {
    const { primary, standby, road } = await pair();
    const aikiServer = await serverOn(road);
    const stage = new Stage(aikiServer.api());
    const list = async () => (await stage.api.find({ name: stage.name })).runs.map(({ id }) => id);
    const before = await stage.start();
    // Many at once open all connections for reading.
    await Promise.all(Array.from({ length: 20 }, list));
    await expect.poll(() => rows(primary, listening)).toHaveLength(1);

    await primary.configure("default_transaction_read_only = on");
    await primary.control("reload");
    await standby.control("promote");
    road.lead(standby.url);
    const changedAt = performance.now();
    const spec = stage.spec();
    await persistently(() => stage.tryStart(spec));
    expect(performance.now() - changedAt).toBeLessThan(5_000);
    for (let round = 0; round < 10; round += 1) {
      const lists = await Promise.all(Array.from({ length: 10 }, () => persistently(list)));
      for (const ids of lists) expect(ids).toEqual([spec.id, before]);
    }
    await expect.poll(() => rows(standby, listening), { timeout: 10_000 }).toHaveLength(1);
    await expect.poll(() => rows(primary, ours), { timeout: 15_000 }).toEqual([]);
    const said = aikiServer.lines.filter((line) => line.startsWith("PostgreSQL takes"));
    expect(said.at(0)).toBe("PostgreSQL takes no writes: all connections to it are closed and opened again");
    expect(said.at(-1)).toBe("PostgreSQL takes writes again");
  });

  it("reads nothing at a former primary that came back as a standby, and starts no other server there", async () => {
    const { primary, standby, road } = await pair();
    const aikiServer = await serverOn(road);
    const stage = new Stage(aikiServer.api());
    const ready = async () => (await aikiServer.fetch(new Request("http://localhost/health/ready"))).status;
    const id = await stage.start();
    expect(await ready()).toBe(200);

    await primary.control("-m", "fast", "stop");
    await standby.control("promote");
    await primary.follow(standby);
    await primary.control("restart");
    await expect.poll(() => rows(standby, "SELECT 1 FROM pg_stat_replication"), { timeout: 20_000 }).toHaveLength(1);
    const look = () =>
      stage.api.find({ name: stage.name }).then(
        () => "answered",
        ({ code }) => code,
      );
    for (let round = 0; round < 10; round += 1) expect(await look()).toBe("UNAVAILABLE");
    expect(await ready()).toBe(503);
    await expect(server({ database: road.url, logger: silentLogger })).rejects.toMatchObject({
      code: "STORAGE_READ_ONLY",
    });

    road.lead(standby.url);
    const spec = stage.spec();
    await persistently(() => stage.tryStart(spec));
    await expect.poll(ready).toBe(200);
    const { runs } = await persistently(() => stage.api.find({ name: stage.name }));
    expect(runs.map((run) => run.id)).toEqual([spec.id, id]);
    await expect.poll(() => rows(primary, ours), { timeout: 15_000 }).toEqual([]);
  });

  it("loses nothing that it acknowledged when the primary crashes under load and the standby is promoted", async () => {
    const { primary, standby, road } = await pair();
    const aikiServer = await serverOn(road);
    const stage = new Stage(aikiServer.api());
    const load = loadOn(stage);
    const { acknowledged } = load;
    await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(100);
    await primary.control("-m", "immediate", "stop");
    const had = acknowledged.length;
    await standby.control("promote");
    road.lead(standby.url);
    await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(had + 100);
    await load.end();
    const kept = new Set((await rows(standby, "SELECT id FROM aiki.run")).map(({ id }) => id));
    expect(acknowledged.filter((id) => !kept.has(id))).toEqual([]);
  });
});

const ours = "SELECT query FROM pg_stat_activity WHERE application_name = 'aiki'";

const listening = `${ours} AND (query LIKE 'LISTEN%' OR query LIKE '%pg_notify%' OR query LIKE 'SELECT (pg_is_in_%')`;

async function rows({ url }: Cluster, text: string): Promise<Array<Record<string, unknown>>> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}
