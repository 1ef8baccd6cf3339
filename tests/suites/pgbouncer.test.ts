/** Servers behind PgBouncer in transaction mode, where each transaction may use another connection. */

import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { type Server, server } from "@aikirun/server";
import { worker } from "@aikirun/worker";
import { Client as Connection } from "pg";
import { afterAll, afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { findPooler, type Pooler, type PoolerOptions, startPooler } from "../real/pgbouncer.ts";
import { type TestDatabase, testDatabase } from "../real/postgres.ts";
import { codes, persistently, Stage } from "./actors.ts";
import { apiSuite } from "./api.suite.ts";
import { addOrders, orderV1 } from "./order.ts";

const found = await testDatabase();
const program = found === null ? null : await findPooler();
afterAll(() => found?.drop());

/** Far fewer connections than the servers use, so that servers share connections. */
const pooled = 3;

function pooler({ url }: TestDatabase, more: Partial<PoolerOptions> = {}): Promise<Pooler> {
  const { directory } = inject("services");
  return startPooler({ program: program ?? "", directory, database: url, connections: pooled, ...more });
}

describe.skipIf(program === null)("servers behind PgBouncer", () => {
  if (found === null || program === null) return;
  const database = found;

  apiSuite("the Api behind PgBouncer", async () => {
    const bouncer = await pooler(database);
    const aikiServer = await server({ database: bouncer.url, logger: silentLogger });
    const aiki = await client({ server: aikiServer, logger: silentLogger });
    const close = async () => {
      await aiki.close();
      await aikiServer.close();
      await bouncer.close();
    };
    return { api: aiki.api, close };
  });

  describe("standing side by side", standing);
});

function standing(): void {
  const ends: Array<() => Promise<unknown>> = [];
  let bouncer: Pooler;
  let own: TestDatabase;
  beforeEach(async () => {
    const empty = await testDatabase();
    if (empty === null) throw new Error("The PostgreSQL of these tests is gone.");
    own = empty;
    bouncer = await pooler(own);
    ends.push(own.drop, bouncer.close);
  });
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function serve(by: Pooler = bouncer): Promise<{ aikiServer: Server; aiki: Client }> {
    const aikiServer = await server({ database: by.url, logger: silentLogger });
    ends.push(() => aikiServer.close());
    const aiki = await client({ server: aikiServer, logger: silentLogger });
    ends.push(() => aiki.close());
    return { aikiServer, aiki };
  }

  it("more servers than connections migrate an empty database once", async () => {
    await Promise.all(Array.from({ length: pooled + 3 }, () => serve()));
    const applied = await own.sql("SELECT number FROM aiki.migration ORDER BY number");
    expect(applied.map(({ number }) => number)).toEqual(applied.map((_, at) => at + 1));
    expect(applied.length).toBeGreaterThan(0);
  });

  it("servers behind PgBouncer complete a workflow with a task, a sleep, an event and a child", async () => {
    const servers = [await serve(), await serve()];
    const [url, other] = await Promise.all(
      servers.map(async ({ aikiServer }) => (await aikiServer.listen({ port: 0 })).url),
    );
    const [far, near] = await Promise.all([
      client({ url: url ?? "", logger: silentLogger }),
      client({ url: other ?? "", logger: silentLogger }),
    ]);
    ends.push(far.close, near.close);
    const working = worker(far, { id: "worker-1" });
    addOrders(working.registry);
    await working.start();
    ends.push(() => working.stop());
    const handles = await Promise.all(Array.from({ length: 20 }, (_, n) => orderV1.start(near, `order-${n}`)));
    await Promise.all(handles.map((handle) => handle.events.approved.send("ada")));
    const outputs = await Promise.all(handles.map((handle) => handle.result()));
    expect(outputs).toEqual(handles.map((_, n) => `paid order-${n}, approved by ada, sent as parcel of order-${n}`));
  });

  it("servers behind PgBouncer detect that the database was replaced, and invalidate its fences", async () => {
    const { aiki } = await serve();
    const stage = new Stage(aiki.api);
    const [held, other] = [stage.worker(), stage.worker()];
    const id = await stage.start();
    const run = await held.claimOne({ leaseMs: 1_000 });
    await own.sql("UPDATE aiki.identity SET database = 'that a backup was made of'");
    expect(codes(await held.send(held.draft(run)))).toEqual(["FENCED"]);
    const again = await other.claimOne();
    expect(again).toMatchObject({ id, lostLeases: 0 });
    expect(again.fence).toBeGreaterThan(Date.now() - 60_000);
    await other.finish(again);
  });

  it("servers behind PgBouncer leave no setting, named statement, lock or channel on a connection", async () => {
    const { aiki } = await serve();
    const stage = new Stage(aiki.api);
    await Promise.all(Array.from({ length: 30 }, () => stage.start()));
    await stage.worker().claim();
    const seen = await everyConnection(bouncer.url, leftovers);
    expect(new Set(seen.map(({ pid }) => pid)).size).toBe(pooled);
    const nothing = { settings: null, statements: "0", locks: "0", channels: "0" };
    for (const left of seen) expect(left).toEqual({ pid: expect.any(Number), ...nothing });
  });

  it("servers reply UNAVAILABLE while no connection is free within query_wait_timeout, and then recover", async () => {
    const shortWait = await pooler(own, { waitTimeoutS: 1 });
    ends.push(shortWait.close);
    const { aiki } = await serve(shortWait);
    const stage = new Stage(aiki.api);
    const release = await everyConnectionTaken(shortWait.url);
    const before = performance.now();
    await expect(stage.tryStart(stage.spec())).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(performance.now() - before).toBeLessThan(5_000);
    await release();
    const spec = stage.spec();
    await persistently(() => stage.tryStart(spec));
  });

  it("a server does not start behind PgBouncer in statement mode, and the error names the right mode", async () => {
    await serve();
    const statements = await pooler(own, { mode: "statement" });
    ends.push(statements.close);
    await expect(serve(statements)).rejects.toMatchObject({
      code: "STORAGE_REFUSED",
      message: expect.stringMatching(/Set its pool_mode to transaction or session\. \(.*statement pooling mode/),
    });
  });

  it("servers continue after all pooled connections were closed, with all acknowledged data", async () => {
    const { aiki } = await serve();
    const stage = new Stage(aiki.api);
    const acknowledged: string[] = [];
    let isOver = false;
    const load = async (): Promise<void> => {
      while (!isOver) {
        const spec = stage.spec();
        await persistently(() => stage.tryStart(spec));
        acknowledged.push(spec.id);
      }
    };
    const loads = Promise.all([load(), load(), load()]);
    for (let round = 0; round < 3; round += 1) {
      const had = acknowledged.length;
      while (acknowledged.length < had + 20) await new Promise((resolve) => setTimeout(resolve, 5));
      await own.sql(dropped);
    }
    isOver = true;
    await loads;
    const { results } = await aiki.api.read({ runs: acknowledged.slice(-1_000).map((runId) => ({ runId })) });
    expect(results.filter((result) => !result.ok)).toEqual([]);
  });
}

/** What a session left behind, without the settings that PgBouncer itself restores. */
const leftovers = `
  SELECT
    pg_backend_pid() AS pid,
    (SELECT string_agg(name, ',') FROM pg_settings WHERE source = 'session' AND lower(name) NOT IN (
      'application_name', 'client_encoding', 'datestyle', 'intervalstyle', 'standard_conforming_strings', 'timezone'
    )) AS settings,
    (SELECT count(*) FROM pg_prepared_statements WHERE name <> '') AS statements,
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS locks,
    (SELECT count(*) FROM pg_listening_channels()) AS channels`;

const dropped = `
  SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()`;

/** The result of a statement on each connection of the pool. */
async function everyConnection(url: string, statement: string): Promise<Array<Record<string, unknown>>> {
  const clients = await holdingAll(url);
  const answers = await Promise.all(clients.map((one) => one.query<Record<string, unknown>>(statement)));
  await Promise.all(clients.map((one) => one.end()));
  return answers.flatMap(({ rows }) => rows);
}

async function everyConnectionTaken(url: string): Promise<() => Promise<unknown>> {
  const clients = await holdingAll(url);
  return () => Promise.all(clients.map((one) => one.end()));
}

/** Opens as many transactions at once as there are connections. */
async function holdingAll(url: string): Promise<Connection[]> {
  const clients = Array.from({ length: pooled }, () => new Connection({ connectionString: url }));
  await Promise.all(clients.map((one) => one.connect()));
  await Promise.all(clients.map((one) => one.query("BEGIN")));
  return clients;
}
