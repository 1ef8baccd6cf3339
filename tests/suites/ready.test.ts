/** `GET /health/ready` reports whether a write can be committed now, independent of reads. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { Client } from "pg";
import { afterEach, describe, expect, inject, it } from "vitest";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import { findBinaries } from "../real/binaries.ts";
import { type Cluster, startCluster, userOf } from "../real/cluster.ts";
import { type TestDatabase, testDatabase } from "../real/postgres.ts";
import { smallDisk } from "../real/small-disk.ts";

const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function readiness(database: string, connections = 3): Promise<() => Promise<number>> {
  const aikiServer = await server({ database, databaseConnections: connections, logger: silentLogger });
  ends.push(() => aikiServer.close());
  return async () => (await aikiServer.fetch(new Request("http://localhost/health/ready"))).status;
}

describe.skipIf((await testDatabase().then(async (found) => found?.drop().then(() => true))) !== true)(
  "a server on PostgreSQL is not ready",
  () => {
    async function base(): Promise<TestDatabase> {
      const database = await testDatabase();
      if (database === null) throw new Error("The PostgreSQL of these tests is gone.");
      ends.push(database.drop);
      return database;
    }

    async function clusterIn(directory: string, ...settings: string[]): Promise<Cluster> {
      const binaries = await findBinaries(directory);
      if (binaries === null) throw new Error("The PostgreSQL of these tests is gone.");
      const cluster = await startCluster(binaries, join(directory, "cluster"), process.pid, settings);
      ends.push(() => cluster.control("-m", "immediate", "stop"));
      return cluster;
    }

    async function place(): Promise<string> {
      const directory = await mkdtemp(join(inject("services").directory, "ready-"));
      ends.push(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
      await userOf(directory);
      return directory;
    }

    it("a server is not ready while its role may only read", async () => {
      const database = await base();
      await (await openPostgres({ url: database.url, connections: 2 })).close();
      const role = `reader_${new URL(database.url).pathname.slice(1)}`;
      await database.sql(`
        CREATE ROLE ${role} LOGIN;
        GRANT USAGE ON SCHEMA aiki TO ${role};
        GRANT SELECT ON ALL TABLES IN SCHEMA aiki TO ${role}`);
      ends.push(() => database.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`));
      const status = await readiness(Object.assign(new URL(database.url), { username: role }).href);
      const grants = [
        "INSERT ON aiki.run",
        "INSERT ON aiki.entry",
        "INSERT ON aiki.run_tag",
        "INSERT, UPDATE ON aiki.identity",
        "UPDATE ON aiki.run",
      ];
      for (const grant of grants) {
        expect(await status()).toBe(503);
        await database.sql(`GRANT ${grant} TO ${role}`);
      }
      expect(await status()).toBe(200);
    });

    it("a server is not ready while its tables are locked against writes", async () => {
      const database = await base();
      const status = await readiness(database.url);
      const holder = new Client({ connectionString: database.url });
      await holder.connect();
      await holder.query("BEGIN; LOCK TABLE aiki.run IN SHARE MODE");
      expect(await status()).toBe(503);
      await holder.end();
      await expect.poll(status).toBe(200);
    });

    it("a server is not ready while PostgreSQL accepts no further connection", { timeout: 60_000 }, async () => {
      const cluster = await clusterIn(await place(), "max_connections=8", "max_wal_senders=0");
      const status = await readiness(cluster.url, 3);
      const others: Client[] = [];
      ends.push(() => Promise.all(others.map((other) => other.end())));
      // The server's own idle connections are ended first, so that it needs a new one.
      const first = new Client({ connectionString: cluster.url });
      await first.connect();
      others.push(first);
      const take = async (): Promise<boolean> => {
        await first.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aiki'");
        const other = new Client({ connectionString: cluster.url });
        other.on("error", () => {});
        return other.connect().then(
          () => others.push(other) > 0,
          () => false,
        );
      };
      await expect.poll(async () => ((await take()) ? 200 : await status()), { timeout: 20_000 }).toBe(503);
      for (const other of others.splice(0)) await other.end();
      await expect.poll(status).toBe(200);
    });

    it("a server on PostgreSQL is not ready while the disk is full", { timeout: 60_000 }, async (context) => {
      const directory = await place();
      const disk = await smallDisk(join(directory, "cluster"), 150);
      if (disk === null) return context.skip();
      ends.push(() => disk.unmount());
      const cluster = await clusterIn(directory, "fsync=off", "wal_recycle=on");
      const status = await readiness(cluster.url);
      expect(await status()).toBe(200);
      await disk.fill();
      expect(await status()).toBe(503);
      await disk.free();
      expect(await status()).toBe(200);
    });

    it("a server is not ready while no synchronous standby confirms commits", { timeout: 60_000 }, async () => {
      const cluster = await clusterIn(await place(), "fsync=off");
      const status = await readiness(cluster.url);
      const admin = new Client({ connectionString: cluster.url });
      await admin.connect();
      ends.push(() => admin.end());
      await admin.query("ALTER SYSTEM SET synchronous_standby_names = 'missing'");
      await admin.query("SELECT pg_reload_conf()");
      const waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
      // Processes of PostgreSQL apply a changed setting with a delay. Until then commits do not wait.
      let asked: Promise<number | null> = Promise.resolve(null);
      let isAsking = false;
      const waits = async (): Promise<boolean> => {
        if (!isAsking) {
          isAsking = true;
          asked = status().finally(() => {
            isAsking = false;
          });
        }
        return (await admin.query(waiting)).rowCount !== 0;
      };
      await expect.poll(waits, { timeout: 20_000 }).toBe(true);
      expect(await Promise.race([asked, admin.query("SELECT pg_sleep(1)")])).not.toBe(200);
      await admin.query("ALTER SYSTEM RESET synchronous_standby_names");
      await admin.query("SELECT pg_reload_conf()");
      await asked;
      await expect.poll(status).toBe(200);
    });

    it("a server is ready while reads wait for connections", async () => {
      const database = await base();
      const aikiServer = await server({ database: database.url, databaseConnections: 2, logger: silentLogger });
      ends.push(() => aikiServer.close());
      const holder = new Client({ connectionString: database.url });
      await holder.connect();
      ends.push(() => holder.end());
      // A list of workers reads this table, so it keeps the one connection for reading until the lock is released.
      await holder.query("BEGIN; LOCK TABLE aiki.worker IN ACCESS EXCLUSIVE MODE");
      let answered = 0;
      const lists = Array.from({ length: 30 }, () =>
        aikiServer
          .api()
          .read({ runs: [], workers: true })
          .catch(() => null)
          .then(() => {
            answered += 1;
          }),
      );
      const waiting = "SELECT 1 FROM pg_locks WHERE relation = 'aiki.worker'::regclass AND NOT granted";
      await expect.poll(async () => (await database.sql(waiting)).length).toBeGreaterThan(0);
      expect((await aikiServer.fetch(new Request("http://localhost/health/ready"))).status).toBe(200);
      expect(answered).toBe(0);
      await holder.query("ROLLBACK");
      await Promise.all(lists);
    });
  },
);

it("a server on SQLite is not ready while its disk is full", async (context) => {
  const directory = await mkdtemp(join(tmpdir(), "aiki-ready-"));
  ends.push(() => rm(directory, { recursive: true, force: true }));
  const disk = await smallDisk(directory, 4);
  if (disk === null) return context.skip();
  ends.push(() => disk.unmount());
  const status = await readiness(`sqlite:${join(directory, "aiki.db")}`);
  expect(await status()).toBe(200);
  await disk.fill();
  expect(await status()).toBe(503);
  await disk.free();
  expect(await status()).toBe(200);
});
