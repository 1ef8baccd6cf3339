/** A server whose PostgreSQL becomes a standby or is replaced by its standby, with two real clusters and a proxy. */

import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Logger, silentLogger } from "@aikirun/lib";
import type { Api, ClaimedRun, ClaimRequest, Report } from "@aikirun/lib/protocol";
import { type Server, server } from "@aikirun/server";
import { Client } from "pg";
import { afterEach, describe, expect, inject, it } from "vitest";
import { findBinaries } from "../real/binaries.ts";
import { type Cluster, canStream, startCluster, startStandby, userOf } from "../real/cluster.ts";
import { testDatabase } from "../real/postgres.ts";
import { type NetworkProxy, proxyTo } from "../real/proxy.ts";
import { awaits, codes, loadOn, only, persistently, returned, Stage, type WorkerActor } from "./actors.ts";

const hasPostgres = (await testDatabase().then(async (found) => found?.drop().then(() => true))) === true;
const binaries = hasPostgres
  ? await findBinaries(await mkdtemp(join(inject("services").directory, "failover-")))
  : null;
const canFailOver = binaries !== null && canStream(binaries);
if (hasPostgres && !canFailOver) {
  console.error("\nSKIPPED: this installation of PostgreSQL has no pg_basebackup, which tests of a failover need.\n");
}

interface Pair {
  primary: Cluster;
  standby: Cluster;
  /** Forwards to the primary. */
  proxy: NetworkProxy;
}

/** A primary and its standby, which are stopped after the test. */
function stand() {
  const ends: Array<() => unknown> = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function pair(state: "sync" | "async"): Promise<Pair> {
    if (binaries === null) throw new Error("The PostgreSQL of these tests is gone.");
    const place = await mkdtemp(join(inject("services").directory, "pair-"));
    await userOf(place);
    ends.push(() => rm(place, { recursive: true, force: true, maxRetries: 5 }));
    const primary = await startCluster(binaries, join(place, "primary"), process.pid);
    ends.push(() => primary.control("-m", "immediate", "stop").catch(() => {}));
    const standby = await startStandby(binaries, join(place, "standby"), process.pid, primary);
    ends.push(() => standby.control("-m", "immediate", "stop").catch(() => {}));
    if (state === "sync") {
      await primary.configure("synchronous_standby_names = 'standby'");
      await primary.control("reload");
    }
    const inSync = `SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '${state}'`;
    await expect.poll(() => rows(primary, inSync), { timeout: 20_000 }).toHaveLength(1);
    const proxy = await proxyTo(primary.url);
    ends.push(() => proxy.close());
    return { primary, standby, proxy };
  }

  async function serverOn(proxy: NetworkProxy): Promise<Server & { lines: string[] }> {
    const lines: string[] = [];
    const note = (message: string) => lines.push(message);
    const logger: Logger = { ...silentLogger, info: note, warn: note, child: () => logger };
    const made = await server({ database: proxy.url, databaseConnections: 6, logger });
    ends.push(() => made.close());
    return Object.assign(made, { lines });
  }

  return { pair, serverOn };
}

describe.skipIf(!canFailOver)("a server on a PostgreSQL with a synchronous standby", { timeout: 120_000 }, () => {
  const { pair, serverOn } = stand();

  it("a server no longer reads or listens at a primary that became read-only with open connections", async () => {
    const { primary, standby, proxy } = await pair("sync");
    const aikiServer = await serverOn(proxy);
    const stage = new Stage(aikiServer.api());
    const list = async () => (await stage.api.find({ name: stage.name })).runs.map(({ id }) => id);
    const before = await stage.start();
    // Concurrent requests open all connections for reading.
    await Promise.all(Array.from({ length: 20 }, list));
    await expect.poll(() => rows(primary, listening)).toHaveLength(1);

    await primary.configure("default_transaction_read_only = on");
    await primary.control("reload");
    await standby.control("promote");
    proxy.forwardTo(standby.url);
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

  it("a server does not read or start at a former primary that returned as a standby", async () => {
    const { primary, standby, proxy } = await pair("sync");
    const aikiServer = await serverOn(proxy);
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
    await expect(server({ database: proxy.url, logger: silentLogger })).rejects.toMatchObject({
      code: "STORAGE_READ_ONLY",
    });

    proxy.forwardTo(standby.url);
    const spec = stage.spec();
    await persistently(() => stage.tryStart(spec));
    await expect.poll(ready).toBe(200);
    const { runs } = await persistently(() => stage.api.find({ name: stage.name }));
    expect(runs.map((run) => run.id)).toEqual([spec.id, id]);
    await expect.poll(() => rows(primary, ours), { timeout: 15_000 }).toEqual([]);
  });

  it("a server loses no acknowledged data when the primary crashes under load and a standby takes over", async () => {
    const { primary, standby, proxy } = await pair("sync");
    const aikiServer = await serverOn(proxy);
    const stage = new Stage(aikiServer.api());
    const load = loadOn(stage);
    const { acknowledged } = load;
    await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(100);
    await primary.control("-m", "immediate", "stop");
    const had = acknowledged.length;
    await standby.control("promote");
    proxy.forwardTo(standby.url);
    await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(had + 100);
    await load.end();
    const kept = new Set((await rows(standby, "SELECT id FROM aiki.run")).map(({ id }) => id));
    expect(acknowledged.filter((id) => !kept.has(id))).toEqual([]);
  });
});

describe.skipIf(!canFailOver)("servers on a PostgreSQL with an asynchronous standby", { timeout: 120_000 }, () => {
  const { pair, serverOn } = stand();

  it("servers drop data that a promoted standby lacks, refuse its holders and reuse no fence", async () => {
    const two = await pair("async");
    const [first, second] = [await serverOn(two.proxy), await serverOn(two.proxy)];
    const [stage, other] = [new Stage(first.api()), new Stage(second.api())];
    Object.assign(other, { name: stage.name });
    const [before, during, after] = [stage.worker(), other.worker(), stage.worker()];
    const claims = new Claims();

    // The standby has a held run, a run that waits for an event, and a queued run.
    await stage.start();
    const held = await claims.one(before);
    await before.report(held, { entries: [returned("task:kept#0")] });
    await stage.start();
    const waiting = await claims.one(before);
    await before.suspend(waiting, [awaits("paid")]);
    const queued = await stage.start();
    await cutOff(two);

    // Lost are a claim, an event, entries of three runs, and new runs, one of which has ended.
    const taken = await claims.one(during);
    expect(taken.id).toBe(queued);
    await during.report(taken, { entries: [returned("task:lost#0")] });
    await before.report(held, { after: 1, entries: [returned("task:lost#0")] });
    const pay = () => stage.signal(waiting.id, { type: "event", name: "paid" });
    expect(await pay()).toMatchObject({ ok: true });
    const resumed = await claims.one(before);
    expect(resumed).toMatchObject({ id: waiting.id, isCached: true, fence: 2 });
    const ended = await stage.start();
    await before.finish(await claims.one(before));
    for (const one of [stage, other]) await one.reaches(ended, "completed");
    const load = loadOn(other);
    await expect.poll(() => load.acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(50);
    const acknowledged = [...load.acknowledged];

    await failOver(two);
    await expect.poll(() => load.acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(acknowledged.length + 50);
    await load.end();
    const kept = new Set((await rows(two.standby, "SELECT id FROM aiki.run")).map(({ id }) => id));
    expect(acknowledged.filter((id) => kept.has(id))).toEqual([]);
    for (const { api } of [stage, other]) await isNotFound(api, ended);

    const late = [returned("task:late#0")];
    expect(await sent(during, taken, { after: 1, entries: late })).toEqual(["FENCED"]);
    expect(await sent(before, held, { after: 2, entries: late })).toEqual(["FENCED"]);
    expect(await sent(before, resumed, { after: 3, entries: late })).toEqual(["FENCED"]);
    expect(await pay()).toMatchObject({ ok: true });
    const done = await claims.finishAll(after, two.standby);
    expect(done.get(held.id)).toEqual(["task:kept#0"]);
    expect(done.get(waiting.id)).toEqual(
      ["arrival:paid:", "event:paid#0"].map((start) => expect.stringContaining(start)),
    );
    expect(done.get(queued)).toEqual([]);
    expect(await sent(during, taken, { after: 1, entries: late })).toEqual(["RUN_FINAL"]);
    expect(claims.repeated()).toEqual([]);

    const said = ({ lines }: typeof first, what: string) => lines.filter((line) => line.includes(what)).length;
    expect([first, second].map((one) => said(one, "the caches of runs are cleared"))).toEqual([1, 1]);
    expect(said(first, "fences given out before are void") + said(second, "fences given out before are void")).toBe(1);
  });

  it("servers do not use a former primary that still runs and accepts writes", async () => {
    const two = await pair("async");
    const aikiServer = await serverOn(two.proxy);
    const stage = new Stage(aikiServer.api());
    await stage.start();
    await cutOff(two);
    const leadTo = ({ url }: Cluster) => {
      two.proxy.forwardTo(url);
      two.proxy.cutAll();
    };
    await two.standby.control("promote");
    leadTo(two.standby);
    await persistently(() => stage.tryStart(stage.spec()));

    leadTo(two.primary);
    const spec = stage.spec();
    for (let round = 0; round < 10; round += 1) {
      await expect(stage.tryStart(spec)).rejects.toMatchObject({ code: "UNAVAILABLE" });
      await expect(stage.api.find({ name: stage.name })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    }
    leadTo(two.standby);
    expect(await persistently(() => stage.tryStart(spec))).toMatchObject({ ok: true, created: true });
    expect(await rows(two.primary, `SELECT id FROM aiki.run WHERE id = '${spec.id}'`)).toEqual([]);
    expect(await rows(two.standby, `SELECT id FROM aiki.run WHERE id = '${spec.id}'`)).toHaveLength(1);
  });
});

/** Waits until the standby has all commits so far, and then disconnects it. */
async function cutOff({ primary, standby }: Pair): Promise<void> {
  const [{ at } = {}] = await rows(primary, "SELECT pg_current_wal_lsn() AS at");
  const behind = `SELECT pg_last_wal_replay_lsn() < '${at}' AS behind`;
  await expect.poll(() => rows(standby, behind), { timeout: 20_000 }).toEqual([{ behind: false }]);
  await standby.configure("primary_conninfo = ''");
  await standby.control("reload");
  await expect.poll(() => rows(primary, "SELECT 1 FROM pg_stat_replication"), { timeout: 20_000 }).toEqual([]);
}

async function failOver({ primary, standby, proxy }: Pair): Promise<void> {
  await primary.control("-m", "immediate", "stop");
  await standby.control("promote");
  proxy.forwardTo(standby.url);
}

async function isNotFound(api: Api, runId: string): Promise<void> {
  const { results } = await persistently(() => api.read({ runs: [{ runId }] }));
  expect(codes(results)).toEqual(["RUN_NOT_FOUND"]);
  const watched = { type: "status" as const, runId, statuses: [] };
  const seen = await persistently(() => api.watch({ watched: [watched], waitMs: 0 }));
  expect(seen.results).toEqual([{ type: "lost", runId, code: "RUN_NOT_FOUND" }]);
}

async function sent(worker: WorkerActor, run: ClaimedRun, more: Partial<Report>): Promise<string[]> {
  return persistently(async () => codes(await worker.send(worker.draft(run, more))));
}

/** Claims with a short lease, and the fences that each session received. */
class Claims {
  readonly #holders = new Map<string, Set<string>>();

  async one(worker: WorkerActor): Promise<ClaimedRun> {
    return only(await this.#some(worker, { limit: 1, waitMs: 10_000 }));
  }

  /** Claims and completes all runs. Returns the recorded addresses of each run when it was claimed. */
  async finishAll(worker: WorkerActor, of: Cluster): Promise<Map<string, string[]>> {
    const done = new Map<string, string[]>();
    const left = () => rows(of, "SELECT id FROM aiki.run WHERE status NOT IN ('completed', 'failed')");
    while ((await left()).length > 0) {
      for (const run of await this.#some(worker, { waitMs: 1_000 })) {
        const facts = run.journal.filter(({ value }) => value.type !== "marked");
        const next = { type: "finish", outcome: { status: "completed" } } as const;
        expect(await sent(worker, run, { next })).toEqual(["ok"]);
        done.set(
          run.id,
          facts.map(({ address }) => address),
        );
      }
    }
    return done;
  }

  /** The fences that two sessions received. */
  repeated(): string[] {
    return [...this.#holders].filter(([, sessions]) => sessions.size > 1).map(([fence]) => fence);
  }

  async #some(worker: WorkerActor, more: Partial<ClaimRequest>): Promise<ClaimedRun[]> {
    const claimed = await persistently(() => worker.claim({ leaseMs: 2_000, ...more }));
    for (const { id, fence } of claimed) {
      const key = `${id} under ${fence}`;
      this.#holders.set(key, (this.#holders.get(key) ?? new Set()).add(worker.session));
    }
    return claimed;
  }
}

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
