/** PostgreSQL storage: the suite of every storage, and the requirements of a shared database. */

import { type LogFields, type Logger, silentLogger } from "@aikirun/lib";
import type { FindRequest } from "@aikirun/lib/protocol";
import { Client } from "pg";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { chosenSource, type ListSource, narrowSources } from "../../packages/server/src/storage/find.ts";
import { databaseClock } from "../../packages/server/src/storage/postgres/clock.ts";
import { countQuery, pageQuery, reachedQuery, readInOrder } from "../../packages/server/src/storage/postgres/find.ts";
import { migrations } from "../../packages/server/src/storage/postgres/migrations.ts";
import { unnamed } from "../../packages/server/src/storage/postgres/names.ts";
import { maxAgeMs, Pools } from "../../packages/server/src/storage/postgres/pools.ts";
import { openPostgres, type PostgresOptions } from "../../packages/server/src/storage/postgres/postgres.ts";
import { Session } from "../../packages/server/src/storage/postgres/session.ts";
import * as sql from "../../packages/server/src/storage/postgres/statements.ts";
import { PostgresTransaction } from "../../packages/server/src/storage/postgres/transaction.ts";
import type { Batch, Obstacle, Storage } from "../../packages/server/src/storage/storage.ts";
import { query, type TestDatabase, testDatabase } from "../real/postgres.ts";
import { proxyTo } from "../real/proxy.ts";
import { countsOf, outOfReach, uncounted, uncountedLimits, unlisted, unlistedCounts } from "./lists.suite.ts";
import { entryWith, next, queuedRun, returnedEntry, runId, runningState } from "./records.ts";
import { type Opened, storageSuite } from "./storage.suite.ts";

const found = await testDatabase();
afterAll(() => found?.drop());

describe.skipIf(found === null)("with PostgreSQL", () => {
  if (found === null) return;
  const database: TestDatabase = found;

  storageSuite("PostgreSQL", oneByOne(database));
  describe("migrations", () => migrating(database));
  describe("faults", () => faults(database));
  describe("concurrent transactions", () => concurrency(database));
  describe("its identity", () => identity(database));
  describe("cost", () => costs(database));
});

/** One storage for all tests, emptied before each test, and opened again after a test that closed it. */
function oneByOne(database: TestDatabase): () => Promise<Opened> {
  let current: Storage | null = null;
  afterAll(() => current?.close());
  return async () => {
    const storage = current ?? (await openPostgres({ url: database.url, connections: 6 }));
    current = storage;
    await emptied(database);
    const close = (): Promise<void> => {
      current = null;
      return storage.close();
    };
    const open: Storage = {
      transaction: (work) => storage.transaction(work),
      read: (work) => storage.read(work),
      close,
    };
    return { storage: open, end: async () => {} };
  };
}

async function emptied(database: TestDatabase): Promise<void> {
  await database.sql("DELETE FROM aiki.run; DELETE FROM aiki.entry; DELETE FROM aiki.worker");
}

interface Stand {
  opened(options?: Partial<PostgresOptions>): Promise<Storage>;
  toEnd: Array<() => unknown>;
}

/** Opens a storage that is closed after the test. */
function stand(database: TestDatabase): Stand {
  const toEnd: Array<() => unknown> = [];
  afterEach(async () => {
    for (const end of toEnd.splice(0).reverse()) await end();
  });
  return {
    toEnd,
    async opened(options = {}) {
      const storage = await openPostgres({ url: database.url, connections: 3, ...options });
      toEnd.push(() => storage.close());
      return storage;
    },
  };
}

/** Reverts migration 6 to the schema of migration 5, so far that it can be applied again. */
const beforeLists = `
  DROP TABLE aiki.run_tag;
  DROP FUNCTION aiki.insert_run_tag CASCADE;
  DROP FUNCTION aiki.delete_run_tag CASCADE;
  DROP INDEX aiki.run_created;
  ALTER TABLE aiki.run DROP COLUMN error_code;`;

function migrating(database: TestDatabase): void {
  const { opened, toEnd } = stand(database);
  const dropSchema = () => database.sql("DROP SCHEMA IF EXISTS aiki CASCADE");

  it("three servers that start at the same time migrate once, in each of twenty rounds", async () => {
    for (let round = 0; round < 20; round += 1) {
      await dropSchema();
      const storages = await Promise.all([opened(), opened(), opened()]);
      const rows = await database.sql("SELECT number FROM aiki.migration");
      expect(rows).toEqual(migrations.map(({ number }) => ({ number })));
      await Promise.all(storages.map((storage) => storage.close()));
    }
  });

  it("a server with a current schema starts with a role that may not migrate", async () => {
    await (await opened()).close();
    await database.sql(`
      DO $$ BEGIN CREATE ROLE aiki_modest LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
      GRANT USAGE ON SCHEMA aiki TO aiki_modest;
      GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA aiki TO aiki_modest`);
    const url = new URL(database.url);
    url.username = "aiki_modest";
    const storage = await opened({ url: url.href });
    await storage.transaction((tx) => tx.insert([queuedRun(1)]));
    const entries = [returnedEntry(runId(1), 1)];
    const changes = [next(queuedRun(1), { state: runningState() })];
    expect(await storage.transaction((tx) => tx.save({ changes, holds: [], entries }))).toEqual([]);
    await database.sql("DROP OWNED BY aiki_modest; DROP ROLE aiki_modest");
  });

  it("PostgreSQL refuses a schema that differs, is newer, or belongs to another program", async () => {
    await (await opened()).close();
    await database.sql("UPDATE aiki.migration SET checksum = 'other'");
    await expect(opened()).rejects.toMatchObject({ code: "SCHEMA_DRIFT", ids: { migration: "1" } });
    await dropSchema();
    await (await opened()).close();
    await database.sql("INSERT INTO aiki.migration (number, name, checksum) VALUES (99, 'later', 'x')");
    await expect(opened()).rejects.toMatchObject({ code: "SCHEMA_TOO_NEW", ids: { migration: "99" } });
    await dropSchema();
    await database.sql("CREATE SCHEMA aiki; CREATE TABLE aiki.run (song text)");
    await expect(opened()).rejects.toMatchObject({ code: "DATABASE_FOREIGN" });
    await dropSchema();
  });

  it("the migration to call sites and builds keeps existing runs and entries", async () => {
    await dropSchema();
    const storage = await opened();
    await storage.transaction((tx) => tx.insert([queuedRun(1)]));
    await storage.transaction((tx) => tx.save({ changes: [], holds: [], entries: [returnedEntry(runId(1), 1)] }));
    await storage.close();
    await database.sql(`
      ${beforeLists}
      ALTER TABLE aiki.entry DROP COLUMN call_site;
      DROP INDEX aiki.run_stalled_child;
      DROP TABLE aiki.identity;
      DELETE FROM aiki.migration WHERE number >= 4`);
    const again = await opened();
    const [journal] = await again.read((reader) =>
      reader.journal([{ runId: runId(1), after: 0, limit: 9, bytes: 1e9 }]),
    );
    expect(journal).toEqual([returnedEntry(runId(1), 1)]);
    expect(await again.read((reader) => reader.load([runId(1)]))).toEqual([queuedRun(1, { tail: 1 })]);
  });

  it("the migration to list indexes lists existing runs", async () => {
    await dropSchema();
    const storage = await opened();
    await storage.transaction((tx) => tx.insert(unlisted));
    const before = await countsOf(storage);
    await storage.close();
    await database.sql(`${beforeLists} DROP TABLE aiki.identity; DELETE FROM aiki.migration WHERE number >= 6`);
    expect(await countsOf(await opened())).toEqual(before);
    expect(before).toEqual(unlistedCounts);
  });

  it("deleting a run deletes its tags", async () => {
    await dropSchema();
    await (await opened()).transaction((tx) => tx.insert(unlisted));
    expect(await database.sql("SELECT DISTINCT run_id FROM aiki.run_tag")).toHaveLength(2);
    await database.sql("DELETE FROM aiki.run");
    expect(await database.sql("SELECT * FROM aiki.run_tag")).toEqual([]);
  });

  it("a failed migration leaves nothing behind, and the next start applies it", async () => {
    await dropSchema();
    // The name of an index is taken, so the migration fails half-way.
    await database.sql("CREATE SCHEMA aiki");
    await database.sql("CREATE SEQUENCE aiki.run_status");
    await expect(opened()).rejects.toMatchObject({ code: "DATABASE_FOREIGN" });
    await database.sql("DROP SEQUENCE aiki.run_status");
    const storage = await opened();
    expect(await storage.transaction((tx) => tx.insert([queuedRun(1)]))).toEqual([runId(1)]);
  });

  describe("long migrations", () => {
    /** Reverts the last migrations, so that a server applies them again. */
    const outdate = async (): Promise<void> => {
      await dropSchema();
      await (await opened()).close();
      await database.sql(`
        ${beforeLists}
        ALTER TABLE aiki.entry DROP COLUMN call_site;
        DROP INDEX aiki.run_stalled_child;
        DROP TABLE aiki.identity;
        DELETE FROM aiki.migration WHERE number >= 4`);
    };
    const slowDown = async (seconds: number): Promise<void> => {
      await database.sql(`
        CREATE FUNCTION public.slow_down() RETURNS event_trigger LANGUAGE plpgsql
          AS 'BEGIN PERFORM pg_sleep(${seconds}); END';
        CREATE EVENT TRIGGER slow_down ON ddl_command_start WHEN TAG IN ('CREATE INDEX')
          EXECUTE FUNCTION public.slow_down()`);
    };
    const hurry = () =>
      database.sql("DROP EVENT TRIGGER IF EXISTS slow_down; DROP FUNCTION IF EXISTS public.slow_down");
    const isSlow = () => database.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    const numbers = () => database.sql("SELECT number FROM aiki.migration ORDER BY number");
    afterEach(hurry);

    it("a long migration is not ended by a timeout of the client or the database", async () => {
      await outdate();
      await slowDown(0.5);
      const url = new URL(database.url);
      url.searchParams.set("options", "-c statement_timeout=300 -c idle_in_transaction_session_timeout=300");
      url.searchParams.set("query_timeout", "500");
      const storage = opened({ url: url.href });
      await expect.poll(isSlow).toHaveLength(1);
      await storage;
      expect(await numbers()).toEqual(migrations.map(({ number }) => ({ number })));
    });

    it("the locks of a long migration are released when its process dies", async () => {
      await outdate();
      await slowDown(600);
      const proxy = await proxyTo(database.url);
      toEnd.push(() => proxy.close());
      const failing = opened({ url: proxy.url }).catch((thrown: unknown) => thrown);
      await expect.poll(isSlow).toHaveLength(1);
      proxy.cutAll();
      expect(await failing).toMatchObject({ code: "STORAGE_UNAVAILABLE" });
      await database.sql("ALTER EVENT TRIGGER slow_down DISABLE");
      await opened();
      expect(await numbers()).toEqual(migrations.map(({ number }) => ({ number })));
    }, 20_000);

    it("a migration that waits for a lock retries before servers fail, and logs who holds the lock", async () => {
      await outdate();
      const lines: Array<[string, LogFields | undefined]> = [];
      const logger: Logger = { ...silentLogger, warn: (message, fields) => lines.push([message, fields]) };
      const holder = new Client({ connectionString: database.url, application_name: "nightly report" });
      await holder.connect();
      const { rows } = await holder.query("SELECT pg_backend_pid() AS pid");
      await holder.query("BEGIN");
      await holder.query("SELECT count(*) FROM aiki.entry");
      const storage = opened({ logger });
      await expect.poll(() => lines.length, { timeout: 5_000 }).toBeGreaterThan(0);
      expect(lines[0]).toEqual([
        expect.stringContaining("a migration waits for a lock"),
        {
          migration: "migration 4 (add call_site to entry)",
          pid: expect.any(Number),
          blockers: [
            expect.objectContaining({
              pid: rows[0].pid,
              application: "nightly report",
              state: "idle in transaction",
              query: expect.stringContaining("count(*) FROM aiki.entry"),
            }),
          ],
        },
      ]);
      // A statement of a server that waits behind the migration.
      for (let round = 0; round < 5; round += 1) {
        await database.sql("BEGIN; SET LOCAL lock_timeout = '1500ms'; SELECT count(*) FROM aiki.entry; COMMIT");
      }
      expect(await numbers()).toHaveLength(3);
      await holder.end();
      await storage;
      expect(await numbers()).toEqual(migrations.map(({ number }) => ({ number })));
    }, 30_000);
  });

  it.each([
    ["a port without a server", { port: "1" }, "STORAGE_UNAVAILABLE"],
    ["a database that does not exist", { pathname: "/nowhere" }, "STORAGE_REFUSED"],
    ["a user that does not exist", { username: "nobody-here" }, "STORAGE_REFUSED"],
  ])("the error for %s names the cause without the password", async (_, wrong, code) => {
    const url = Object.assign(new URL(database.url), { password: "hunter2", ...wrong });
    const failure = await opened({ url: url.href }).catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({ code, message: expect.not.stringContaining("hunter2") });
  });

  it("the storage's time is that of the database, and never ahead of it", async () => {
    const storage = await opened();
    const now = await storage.read(async (reader) => reader.now());
    const [row] = await database.sql("SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now");
    const after = Number(row?.now);
    expect(now).toBeLessThanOrEqual(after);
    expect(now).toBeGreaterThan(after - 5_000);
    expect(Number.isInteger(now)).toBe(true);
  });
}

/** Terminates all other connections of this database. */
const terminateOthers = `
  SELECT pg_terminate_backend(pid)
  FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`;

function faults(database: TestDatabase): void {
  const { opened, toEnd } = stand(database);

  it("a transaction whose connection died sends nothing more, and the next one uses another connection", async () => {
    const observed: string[] = [];
    const storage = await opened({ observe: (statement) => observed.push(statement) });
    await emptied(database);
    const failing = storage.transaction(async (tx) => {
      await tx.insert([queuedRun(1)]);
      await database.sql(terminateOthers);
      await tx.insert([queuedRun(2)]).catch(() => undefined);
      observed.length = 0;
      return tx.insert([queuedRun(3)]);
    });
    await expect(failing).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
    expect(observed).toEqual([]);
    expect(await storage.transaction((tx) => tx.insert([queuedRun(4)]))).toEqual([runId(4)]);
    expect(await database.sql("SELECT id FROM aiki.run")).toEqual([{ id: runId(4) }]);
  });

  it("a transaction does not commit if its work ignored a failed statement", async () => {
    const storage = await opened();
    await emptied(database);
    const failing = storage.transaction(async (tx) => {
      await tx.insert([queuedRun(1)]);
      await tx.insert([queuedRun(2, { priority: 1e15 })]).catch(() => undefined);
    });
    await expect(failing).rejects.toMatchObject({ code: "STORAGE_FAILED", cause: { code: "22003" } });
    expect(await storage.read((reader) => reader.load([runId(1)]))).toEqual([]);
  });

  it("a commit without a reply fails with a retryable error, and the retry writes nothing twice", async () => {
    await emptied(database);
    const proxy = await proxyTo(database.url);
    toEnd.push(() => proxy.close());
    const storage = await opened({ url: proxy.url });
    const insert = () => storage.transaction((tx) => tx.insert([queuedRun(1)]));
    proxy.loseReplyTo("COMMIT\0");
    await expect(insert()).rejects.toMatchObject({ code: "STORAGE_UNAVAILABLE" });
    expect(await insert()).toEqual([]);
    expect(await database.sql("SELECT id FROM aiki.run")).toEqual([{ id: runId(1) }]);
  });

  it("a transaction stops waiting for a lock after two seconds", async () => {
    const storage = await opened();
    await emptied(database);
    await storage.transaction((tx) => tx.insert([queuedRun(1)]));
    let unlock = (): void => undefined;
    const locked = new Promise<void>((resolve) => {
      void storage.transaction(async (tx) => {
        await tx.save({ changes: [], holds: [{ id: runId(1), revision: 1 }], entries: [] });
        resolve();
        await new Promise<void>((end) => {
          unlock = end;
        });
      });
    });
    await locked;
    const other = await opened();
    const before = performance.now();
    const changes = [next(queuedRun(1), {})];
    await expect(other.transaction((tx) => tx.save({ changes, holds: [], entries: [] }))).rejects.toMatchObject({
      code: "STORAGE_BUSY",
    });
    expect(performance.now() - before).toBeLessThan(2_000);
    unlock();
  });

  it("a request fails within two seconds if no connection is free, and reads do not use all connections", async () => {
    const storage = await opened({ connections: 2 });
    await emptied(database);
    let finish = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const slow = storage.read(() => gate);
    const before = performance.now();
    const waiting = Array.from({ length: 50 }, () => storage.read((reader) => reader.nextDue()));
    const refused = Promise.allSettled(waiting);
    expect(await storage.transaction((tx) => tx.insert([queuedRun(1)]))).toEqual([runId(1)]);
    const settled = await refused;
    expect(performance.now() - before).toBeLessThan(2_600);
    const codes = settled.map((one) => (one.status === "rejected" ? one.reason.code : "answered"));
    expect(new Set(codes)).toEqual(new Set(["STORAGE_UNAVAILABLE"]));
    finish();
    await slow;
    expect(await storage.read((reader) => reader.load([runId(1)]))).toHaveLength(1);
  });

  it("the storage works after its idle connections were terminated", async () => {
    const storage = await opened();
    await storage.read((reader) => reader.nextDue());
    await database.sql(terminateOthers);
    const attempt = (): Promise<unknown> => storage.read((reader) => reader.load([runId(1)]));
    // The pool may return a terminated connection once, before it detects the end.
    await attempt().catch((thrown: unknown) => expect(thrown).toMatchObject({ code: "STORAGE_UNAVAILABLE" }));
    await attempt();
  });

  it("a connection is replaced at its maximum age even if it is always in use", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    toEnd.push(() => vi.useRealTimers());
    const pools = new Pools({ url: database.url, place: "here", connections: 2, isDirect: true });
    toEnd.push(() => pools.close());
    const backend = async (use: () => unknown = () => {}): Promise<unknown> => {
      const client = await pools.checkOut("writing");
      const { rows } = await client.query("SELECT pg_backend_pid() AS pid");
      use();
      client.release();
      return rows[0].pid;
    };
    const first = await backend();
    expect(await backend(() => vi.advanceTimersByTime(maxAgeMs))).toBe(first);
    expect(await backend()).not.toBe(first);
  });

  it("the pool survives a connection that PostgreSQL terminates while it is opened", async () => {
    const pools = new Pools({ url: database.url, place: "here", connections: 2, isDirect: true });
    toEnd.push(() => pools.close());
    const client = await pools.checkOut("writing");
    toEnd.push(() => client.release(true));
    // The error may arrive together with the message that the connection is ready, before it is used.
    const ended = new Error("terminating connection due to administrator command");
    expect(() => client.emit("error", ended)).not.toThrow();
  });

  it("a transaction leaves no state on its connection, so that a pooler can reuse it", async () => {
    await opened();
    const pools = new Pools({ url: database.url, place: "here", connections: 2, isDirect: false });
    toEnd.push(() => pools.close());
    const session = new Session(await pools.checkOut("writing"), { place: "here", nameOf: unnamed });
    const transaction = new PostgresTransaction(
      session,
      await session.begin(
        sql.begin,
        databaseClock(() => performance.now()),
      ),
    );
    await transaction.insert([queuedRun(1)]);
    await transaction.queued([{ namespace: "a", name: "b", versionId: "c", shardKey: null }], 1);
    await session.commit();
    session.release();
    const client = await pools.checkOut("writing");
    const { rows } = await client.query(`
      SELECT
        (SELECT count(*)::int FROM pg_prepared_statements) AS prepared,
        (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
        (SELECT count(*)::int FROM pg_settings WHERE name LIKE '%timeout' AND source = 'session') AS settings`);
    client.release();
    expect(rows).toEqual([{ prepared: 0, locks: 0, settings: 0 }]);
  });

  it("a database whose transactions are read-only by default is refused", async () => {
    const url = new URL(database.url);
    url.searchParams.set("options", "-c default_transaction_read_only=on");
    await expect(opened({ url: url.href })).rejects.toMatchObject({
      code: "STORAGE_READ_ONLY",
      message: expect.stringContaining("Connect to the primary"),
    });
  });

  it("a database with synchronous_commit = off is warned of", async () => {
    const warnings: string[] = [];
    const url = new URL(database.url);
    url.searchParams.set("options", "-c synchronous_commit=off");
    const logger = { ...silentLogger, warn: (message: string) => warnings.push(message) };
    await opened({ url: url.href, logger });
    expect(warnings.join()).toContain("synchronous_commit is off");
  });
}

function concurrency(database: TestDatabase): void {
  const { opened } = stand(database);
  const changed = (n: number, revision = 1) => next(queuedRun(n, { revision }), { revision: revision + 1 });

  it("transactions on the same runs in different orders do not deadlock", async () => {
    const [left, right] = [await opened(), await opened()];
    await emptied(database);
    const runs = Array.from({ length: 40 }, (_, n) => queuedRun(n));
    await left.transaction((tx) => tx.insert(runs));
    const holds = runs.map(({ id }) => ({ id, revision: 1 }));
    for (let round = 0; round < 25; round += 1) {
      const half = round % 2 === 0 ? holds.slice(0, 20) : holds.slice(20);
      const rest = runs
        .filter(({ id }) => !half.some((hold) => hold.id === id))
        .map((run) => next(run, { revision: 1 }));
      const saves = [
        saveIn(left, { holds: holds.toReversed() }),
        saveIn(right, { holds: half, changes: rest.toReversed() }),
        saveIn(left, { holds, entries: [] }),
      ];
      expect(await Promise.all(saves)).toEqual([[], [], []]);
    }
  });

  it("one of two transactions that wait for each other fails with a retryable conflict", async () => {
    const [left, right] = [await opened(), await opened()];
    await emptied(database);
    await left.transaction((tx) => tx.insert([queuedRun(1), queuedRun(2)]));
    let arrived = 0;
    let meet = (): void => undefined;
    const both = new Promise<void>((resolve) => {
      meet = resolve;
    });
    const cross = (storage: Storage, first: number, second: number): Promise<Obstacle[]> =>
      storage.transaction(async (tx) => {
        await tx.save({ changes: [changed(first)], holds: [], entries: [] });
        arrived += 1;
        if (arrived === 2) meet();
        await both;
        return tx.save({ changes: [changed(second)], holds: [], entries: [] });
      });
    const outcomes = await Promise.allSettled([cross(left, 1, 2), cross(right, 2, 1)]);
    const reasons = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(reasons).toMatchObject([{ code: "STORAGE_CONFLICT" }]);
    const runs = await left.read((reader) => reader.load([runId(1), runId(2)]));
    expect(runs.map(({ revision }) => revision)).toEqual([2, 2]);
  });

  it("queries for queued, due or named runs skip locked rows without waiting", async () => {
    const [holder, other] = [await opened(), await opened()];
    await emptied(database);
    await holder.transaction((tx) => tx.insert([queuedRun(1), queuedRun(2), queuedRun(3)]));
    const queues = [{ namespace: "default", name: "order", versionId: "1.0.0", shardKey: null }];
    await holder.transaction(async (tx) => {
      expect((await tx.hold([runId(1)])).map(({ id }) => id)).toEqual([runId(1)]);
      await other.transaction(async (beside) => {
        expect((await beside.hold([1, 2].map(runId))).map(({ id }) => id)).toEqual([runId(2)]);
        expect(await beside.queued(queues, 9)).toEqual({
          ids: [2, 3].map(runId),
          more: true,
        });
        expect(await beside.due(1e9, 9)).toEqual([2, 3].map(runId));
      });
    });
    expect((await other.transaction((tx) => tx.hold([runId(1)]))).map(({ id }) => id)).toEqual([runId(1)]);
  });

  it("the second of two transactions that change one run fails", async () => {
    const [left, right] = [await opened(), await opened()];
    await emptied(database);
    await left.transaction((tx) => tx.insert([queuedRun(1)]));
    const results = await Promise.all([left, right].map((storage) => saveIn(storage, { changes: [changed(1)] })));
    expect(results).toContainEqual([]);
    expect(results).toContainEqual([{ runId: runId(1), kind: "revision" }]);
  });

  it("a transaction that waited for a run finds the entries of the other in conflict with its own", async () => {
    const [holder, other] = [await opened(), await opened()];
    await emptied(database);
    await holder.transaction((tx) => tx.insert([queuedRun(1)]));
    const hold = { holds: [{ id: runId(1), revision: 1 }], entries: [returnedEntry(runId(1), 1)], changes: [] };
    const order: string[] = [];
    let taken = (): void => undefined;
    const holding = new Promise<void>((resolve) => {
      taken = resolve;
    });
    const first = holder.transaction(async (tx) => {
      await tx.save(hold);
      taken();
      await somebodyWaits(database);
      order.push("held");
    });
    await holding;
    const claim = saveIn(other, { changes: [changed(1)] }).then((obstacles) => {
      order.push("taken over");
      return obstacles;
    });
    await first;
    expect(await claim).toEqual([]);
    expect(order).toEqual(["held", "taken over"]);
    expect(await saveIn(holder, hold)).toEqual([
      { runId: runId(1), kind: "revision" },
      { runId: runId(1), kind: "address" },
    ]);
  });

  it("one of many concurrent inserts with a reference id succeeds", async () => {
    const storages = await Promise.all(Array.from({ length: 5 }, () => opened()));
    await emptied(database);
    const starts = Array.from({ length: 50 }, (_, n) => queuedRun(n, { referenceId: `order-${n % 5}` }));
    const inserted = await Promise.all(
      storages.map((storage, n) =>
        storage.transaction((tx) => tx.insert(starts.slice(n * 10, n * 10 + 10).toSorted(() => 0.5 - Math.random()))),
      ),
    );
    expect(inserted.flat()).toHaveLength(5);
    const rows = await database.sql("SELECT reference_id FROM aiki.run ORDER BY reference_id");
    expect(rows.map((row) => row.reference_id)).toEqual([0, 1, 2, 3, 4].map((n) => `order-${n}`));
  });

  it("a read sees one consistent state during concurrent transactions", async () => {
    const [reading, writing] = [await opened(), await opened()];
    await emptied(database);
    await writing.transaction((tx) => tx.insert([queuedRun(1)]));
    const seen = await reading.read(async (reader) => {
      const before = await reader.load([runId(1)]);
      await saveIn(writing, { changes: [changed(1)], entries: [returnedEntry(runId(1), 1)] });
      return [before, await reader.load([runId(1)])];
    });
    expect(seen[1]).toEqual(seen[0]);
  });
}

/** Resolves when a transaction of this database waits for a lock. */
async function somebodyWaits(database: TestDatabase): Promise<void> {
  const waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
  for (;;) if ((await database.sql(waiting)).length > 0) return;
}

function identity(database: TestDatabase): void {
  const { opened } = stand(database);
  const floorOf = (storage: Storage) => storage.read(async (reader) => reader.fenceFloor());
  /** Existing connections do not read the identity again, so this opens a new storage. */
  const disconnect = () => database.sql(terminateOthers);
  const floorAfter = async (storage: Storage, change: string): Promise<number> => {
    await database.sql(change);
    await disconnect();
    for (;;) {
      const floor = await floorOf(storage).catch(() => null);
      if (floor !== null) return floor;
    }
  };

  beforeEach(async () => {
    await database.sql("DROP SCHEMA IF EXISTS aiki CASCADE");
  });

  it("the identity of an empty database is recorded, and fences stay valid while it does not change", async () => {
    const [storage, other] = [await opened(), await opened()];
    expect([await floorOf(storage), await floorOf(other)]).toEqual([0, 0]);
    const [noted] = await database.sql("SELECT database, fence_floor::int FROM aiki.identity");
    expect(noted).toEqual({ database: expect.stringMatching(/^system \d+, timeline \w+, table \d+$/), fence_floor: 0 });
    expect(await floorAfter(storage, "SELECT 1")).toBe(0);
  });

  it.each([
    ["another", "UPDATE aiki.identity SET database = 'another'"],
    ["unknown", "DELETE FROM aiki.identity"],
    ["not yet noted, though it was", "UPDATE aiki.identity SET database = NULL"],
  ])("all fences are invalidated once for all servers, with a log line, if the identity is %s", async (_, change) => {
    const lines: string[] = [];
    const logger: Logger = { ...silentLogger, warn: (message) => lines.push(message) };
    const [storage, other] = [await opened({ logger }), await opened({ logger })];
    await Promise.all([floorOf(storage), floorOf(other)]);
    const now = Date.now();
    const floor = await floorAfter(storage, change);
    expect(floor).toBeGreaterThan(now - 60_000);
    expect(await floorAfter(other, "SELECT 1")).toBe(floor);
    expect(lines.filter((line) => line.includes("fences given out before are void"))).toHaveLength(1);
    expect(lines.filter((line) => line.includes("the caches of runs are cleared"))).toHaveLength(2);
  });

  it("the fence floor rises above the one that a server knew, even if the database has lost it", async () => {
    const storage = await opened();
    await floorOf(storage);
    const ahead = Date.now() + 1e9;
    expect(await floorAfter(storage, `UPDATE aiki.identity SET fence_floor = ${ahead}`)).toBe(ahead);
    const lost = "UPDATE aiki.identity SET database = 'the one before', fence_floor = 0";
    expect(await floorAfter(storage, lost)).toBeGreaterThan(ahead);
  });
}

function saveIn(storage: Storage, batch: Partial<Batch>): Promise<Obstacle[]> {
  return storage.transaction((tx) => tx.save({ changes: [], holds: [], entries: [], ...batch }));
}

function costs(database: TestDatabase): void {
  const { opened } = stand(database);

  it.each([1, 50])("a batch of %i needs a constant number of statements", async (size) => {
    const executed: string[] = [];
    const storage = await opened({ observe: (statement) => executed.push(statement) });
    await emptied(database);
    const opening = [sql.begin, expect.stringContaining("clock_timestamp")];
    const runs = Array.from({ length: size }, (_, n) => queuedRun(n));
    // Each new connection reads the identity of the database.
    await storage.transaction(async () => {});
    await storage.read(async () => {});
    executed.length = 0;
    await storage.transaction((tx) => tx.insert(runs));
    expect(executed.splice(0)).toEqual([...opening, sql.insertRun, sql.commit]);

    const changes = runs.map((run) => next(run, { state: runningState() }));
    const entries = runs.map((run) => returnedEntry(run.id, 1));
    await saveIn(storage, { changes, entries, holds: [] });
    expect(executed.splice(0)).toEqual([...opening, sql.updateRun, sql.insertEntry, sql.commit]);

    await saveIn(storage, { holds: changes.map(({ after: { id, revision } }) => ({ id, revision })) });
    expect(executed.splice(0)).toEqual([...opening, sql.holdRun, sql.commit]);
    const requests = runs.map(({ id }) => ({ runId: id, after: 0, limit: 100, bytes: 1e6 }));
    await storage.read(async (reader) => [await reader.load(runs.map(({ id }) => id)), await reader.journal(requests)]);
    expect(executed.splice(0).slice(2)).toEqual([sql.loadRun, sql.selectJournal, sql.commit]);
    await storage.transaction((tx) => tx.reuse(runId(0), runId(900)));
    expect(executed.splice(0)).toEqual([...opening, sql.selectOutline, sql.copyEntry, sql.commit]);
  });

  it("a journal read transfers only the requested entries", async () => {
    const storage = await opened();
    await emptied(database);
    const output = JSON.stringify("x".repeat(100_000));
    const entries = Array.from({ length: 30 }, (_, n) => entryWith(runId(1), n + 1, { type: "returned", output }));
    await saveIn(storage, { entries });
    const values = [[runId(1)], [0], [1_000], [250_000]].map((value) => `'{${value.join()}}'`);
    const statement = values.reduce((text, value, at) => text.replace(`$${at + 1}::`, `${value}::`), sql.selectJournal);
    expect(await database.sql(statement)).toHaveLength(3);
  });

  it.each(uncounted)("the count for %j includes rows outside the dates", async (request, expected) => {
    const storage = await opened();
    await emptied(database);
    for (const run of outOfReach) await storage.transaction((tx) => tx.insert([run]));
    const count = countQuery("default", request, uncountedLimits, narrowSources(request));
    const [row] = await query(database.url, count.sql, count.values);
    expect(Number(row?.count_0)).toBe(expected);
  });

  const plans: Array<[name: string, statement: string, values: unknown[], index: string]> = [
    ["updateRun", sql.updateRun, [["a"], [1], ...Array.from({ length: 10 }, () => ["1"])], "run_pkey"],
    ["holdRun", sql.holdRun, [["a"], [1]], "run_pkey"],
    ["loadRun", sql.loadRun, [["a", "b"]], "run_pkey"],
    ["loadReferenced", sql.loadReferenced, [["a"], ["b"], ["c"]], "run_reference"],
    ["selectJournal", sql.selectJournal, [["a"], [0], [9], [9]], "entry_pkey"],
    ["selectEntryAt", sql.selectEntryAt, [["a"], ["b"], [1]], "entry_address"],
    ["selectQueued", sql.selectQueued, [["n"], ["a"], ["b"], ["c"], 5], "run_queued"],
    ["lockRun", sql.lockRun, [["a", "b"]], "run_pkey"],
    ["selectDue", sql.selectDue, [5, 5], "run_due"],
    ["selectNextDue", sql.selectNextDue, [], "run_due"],
    ["selectChildren", sql.selectChildren, [["a"], 5], "run_live_child"],
    ["selectStalledChild", sql.selectStalledChild, [["a", "b"]], "run_stalled_child"],
    ["selectInSession", sql.selectInSession, ["a", "default", 500], "run_claimed"],
    ["selectClaimed", sql.selectClaimed, ["a", ["b", "c"]], "run_claimed"],
  ];

  const listed: Array<[request: FindRequest, index: string]> = [
    [{}, "run_created"],
    [{ versionId: "1", createdAfter: 5, order: "oldest" }, "run_created"],
    [{ name: "order", createdBefore: 9 }, "run_name"],
    [{ parentId: "p5" }, "run_parent"],
    [{ tags: ["red"], shardKey: "eu" }, "run_tag_pkey"],
    [{ errorCode: "E" }, "run_error"],
    [{ status: ["failed"] }, "run_status"],
    [{ status: ["failed", "stalled", "sleeping"] }, "run_status"],
    [{ status: ["queued"] }, "run_queued"],
    [{ status: ["running"] }, "run_claimed"],
    [{ referenceId: "r5" }, "run_reference"],
    [{ idPrefix: "run-5" }, "run_pkey"],
  ];
  /** Makes parallel workers free for the planner. */
  const freeWorkers = `
    SET LOCAL parallel_setup_cost = 0;
    SET LOCAL parallel_tuple_cost = 0;
    SET LOCAL min_parallel_table_scan_size = 0;
    SET LOCAL min_parallel_index_scan_size = 0;`;
  /** The statements of a list that is read from the narrowest index, with what their plans must not contain. */
  const statementsOf = (request: FindRequest) => {
    const listLimits = { limit: 5, scan: 5_000, after: { createdAt: 9, id: "run-9" } };
    const sources = narrowSources(request);
    const source: ListSource = sources[0] ?? chosenSource([], [], listLimits);
    const count = sources.map((one) => countQuery("n", request, listLimits, [one]));
    const page = pageQuery("n", request, listLimits, source);
    const reached = source.isOrdered ? [reachedQuery("n", request, listLimits, source)] : [];
    const pattern = source.isOrdered && source.parts.length === 1 ? /Seq Scan|Sort|JIT|Gather/ : /Seq Scan|JIT|Gather/;
    return [...count, page, ...reached].map((query) => ({ ...query, pattern }));
  };

  it("every statement uses an index, with a backlog, with and without statistics", async () => {
    // Creates new tables, because those of other tests may have statistics of nearly empty tables.
    await database.sql("DROP SCHEMA IF EXISTS aiki CASCADE");
    await opened();
    await database.sql(`
      ALTER TABLE aiki.run SET (autovacuum_enabled = off);
      ALTER TABLE aiki.run_tag SET (autovacuum_enabled = off);
      ALTER TABLE aiki.entry SET (autovacuum_enabled = off);
      INSERT INTO aiki.run
      SELECT 'run-' || n, 'n', 'order', '1', NULL, 0, 'queued', n, 1, 0, n, n, 'r' || n, 'p' || n, 'a', 1, NULL, NULL,
        '{}', '{}', '{}', NULL, NULL
      FROM generate_series(1, 5000) AS n;
      INSERT INTO aiki.entry
      SELECT 'run-' || n, 1, 'a', 1, 1, 1, NULL, NULL, 'returned', '1', NULL FROM generate_series(1, 5000) AS n`);
    for (const statistics of ["", "ANALYZE aiki.run; ANALYZE aiki.entry"]) {
      await database.sql(statistics);
      for (const [name, statement, values, index] of plans) {
        const explained = await database.explain(statement, values);
        expect([name, statistics, explained]).toEqual([name, statistics, expect.stringContaining(index)]);
        expect([name, statistics, explained]).toEqual([name, statistics, expect.not.stringMatching(/Seq Scan/)]);
      }
      for (const [request, index] of listed) {
        const claim = [request, statistics];
        for (const { sql: statement, values, pattern } of statementsOf(request)) {
          const explained = await database.explain(statement, values, `${freeWorkers} ${readInOrder}`);
          expect([...claim, explained]).toEqual([...claim, expect.stringContaining(index)]);
          expect([...claim, explained]).toEqual([...claim, expect.not.stringMatching(pattern)]);
        }
      }
    }
    await emptied(database);
  });
}
