/** Servers that share a PostgreSQL: each operation is done once, by one of them. */

import { isAikiError, silentLogger } from "@aikirun/lib";
import type { ClaimedRun } from "@aikirun/lib/protocol";
import { type Server, server } from "@aikirun/server";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { testDatabase } from "../real/postgres.ts";
import { privateRedis, testRedis } from "../real/redis.ts";
import type { RedisAddress } from "../real/redis-process.ts";
import { awaits, codes, only, returned, Stage, signed, sleeps, types, type WorkerActor } from "./actors.ts";

const database = await testDatabase();
const redis = await testRedis();
/** Accepts notifications, but has no memory for wake-ups. */
const full = await privateRedis();
await full?.send("config", "set", "maxmemory", 1);

/** How servers notify each other. */
const transports = [
  { transport: "notifications of PostgreSQL", params: {} },
  ...[
    { transport: "Redis", through: redis },
    { transport: "a Redis without memory", through: full },
  ].flatMap(({ transport, through }) => (through === null ? [] : [{ transport, params: { redis: urlOf(through) } }])),
];

function urlOf({ address: { host, port }, prefix = "aiki" }: { address: RedisAddress; prefix?: string }): string {
  return `redis://${host}:${port}?prefix=${prefix}`;
}

describe.skipIf(database === null)("servers that share a PostgreSQL", () => {
  it.each(transports)(
    "servers wake each other's long polls through $transport at once, not by their sweep",
    async ({ params }) => {
      const shared = { ...params, database: database?.url ?? "", logger: silentLogger, databaseConnections: 3 };
      const servers = await Promise.all([server(shared), server(shared)]);
      try {
        const [here, there] = servers.map((one) => new Stage(one.api()));
        if (here === undefined || there === undefined) throw new Error("unreachable");
        Object.assign(there, { name: here.name });
        const worker = there.worker();
        const round = async (): Promise<number> => {
          const claimed = worker.claim({ waitMs: 10_000 });
          const began = performance.now();
          const id = await here.start();
          const ended = here.reaches(id, "completed");
          const [run] = await claimed;
          if (run === undefined) throw new Error("No run was claimed.");
          await worker.finish(run);
          await ended;
          return performance.now() - began;
        };
        // Notifications are sent only when the servers know each other.
        await expect.poll(round, { timeout: 20_000 }).toBeLessThan(500);
        let total = 0;
        for (let n = 0; n < 20; n += 1) total += await round();
        // With the sweep alone, a round would take a second on average.
        expect(total / 20).toBeLessThan(250);
      } finally {
        await Promise.all(servers.map((one) => one.close()));
      }
    },
  );
});

describe.skipIf(database === null)("three servers on one PostgreSQL", () => {
  let servers: Server[] = [];
  beforeAll(async () => {
    const params = { database: database?.url ?? "", logger: silentLogger, databaseConnections: 4 };
    servers = await Promise.all([server(params), server(params), server(params)]);
  });
  afterAll(async () => {
    await Promise.all(servers.map((one) => one.close()));
    await database?.drop();
  });

  /** The same workflow through each server. */
  function stages(): Stage[] {
    const name = `workflow ${v7()}`;
    return servers.map((one) => Object.assign(new Stage(one.api()), { name }));
  }

  const at = <Item>(items: readonly Item[], n: number): Item =>
    only([items[n % items.length]].flatMap((item) => item ?? []));

  /** Claims until all of these runs are held. */
  async function claimAll(workers: WorkerActor[], count: number): Promise<ClaimedRun[]> {
    const claimed: ClaimedRun[] = [];
    const work = async (worker: WorkerActor): Promise<void> => {
      while (claimed.length < count) claimed.push(...(await worker.claim({ limit: 7, waitMs: 100 })));
    };
    await Promise.all(workers.map(work));
    return claimed;
  }

  /** Repeats the check until it succeeds or the test times out. */
  async function until(isSo: () => Promise<boolean>): Promise<void> {
    while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  it("three servers return each of three hundred runs once, to workers of all servers", {
    timeout: 60_000,
  }, async () => {
    const all = stages();
    const ids = await Promise.all(Array.from({ length: 300 }, (_, n) => at(all, n).start()));
    const workers = Array.from({ length: 9 }, (_, n) => at(all, n).worker());
    const claimed = await claimAll(workers, ids.length);
    expect(claimed.map(({ id }) => id).sort()).toEqual(ids.toSorted());
    expect(new Set(claimed.map(({ fence }) => fence))).toEqual(new Set([1]));
  });

  it("three servers share a backlog that none of them has cached", async () => {
    const all = stages();
    const ids = await Promise.all(Array.from({ length: 60 }, () => at(all, 0).start()));
    const workers = [1, 2, 1, 2].map((n) => at(all, n).worker());
    const claims = await Promise.all(workers.map((worker) => worker.claim({ limit: 10, waitMs: 5_000 })));
    // Other servers may take some of the runs that a server found. The claim returns the rest.
    const sizes = claims.map((runs) => runs.length);
    expect(Math.min(...sizes)).toBeGreaterThan(0);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(10);
    const first = claims.flat();
    const rest = await claimAll(workers, ids.length - first.length);
    const taken = [...first, ...rest].map(({ id }) => id);
    expect(new Set(taken).size).toBe(taken.length);
    expect(taken.toSorted()).toEqual(ids.toSorted());
  });

  it("a long queue of one workflow does not delay another workflow on any server", async () => {
    const [one, two] = [stages(), stages()];
    await Promise.all(Array.from({ length: 100 }, () => at(one, 0).start()));
    const few = await Promise.all(Array.from({ length: 5 }, () => at(two, 1).start()));
    const serves = [at(one, 0), at(two, 0)].map(({ name }) => ({ name, versionId: "1.0.0" }));
    for (let n = 0; n < 5; n += 1) {
      const runs = await at(one, n + 1)
        .worker()
        .claim({ serves, limit: 4, waitMs: 5_000 });
      expect(runs.length).toBeGreaterThan(0);
      few.splice(0, few.length, ...few.filter((id) => !runs.some((run) => run.id === id)));
    }
    expect(few).toEqual([]);
  });

  it.each([1, 4])(
    "a flood of starts on one server, %i at a time, does not delay runs that were queued on another",
    async (limit) => {
      const [flood, others, last] = [stages(), stages(), stages()];
      const serves = [at(flood, 0), at(others, 0)].map(({ name }) => ({ name, versionId: "1.0.0" }));
      const worker = at(flood, 0).worker();
      // From now on this server has all queues in its cache, as far as it is notified.
      expect(await worker.claim({ serves })).toEqual([]);
      await Promise.all(Array.from({ length: 300 }, () => at(flood, 0).start()));
      const few = await Promise.all(Array.from({ length: 20 }, () => at(others, 1).start()));
      const urgent = await at(others, 1).start({ priority: 5 });
      // Notifications arrive in order, so after the last one this server has received all others.
      const lastClaim = at(last, 0).worker().claim({ waitMs: 20_000 });
      await at(last, 1).start();
      await lastClaim;
      const claimed: string[] = [];
      while (!few.every((id) => claimed.includes(id))) {
        claimed.push(...(await worker.claim({ serves, limit })).map(({ id }) => id));
      }
      // The last runs wait at most twice as long as without the flood.
      expect(claimed.length).toBeLessThanOrEqual(2 * few.length + 1 + limit);
      expect(claimed.slice(0, limit)).toContain(urgent);
    },
  );

  it("servers that are replaced one after the other under load lose nothing", async () => {
    const name = `workflow ${v7()}`;
    const params = { database: database?.url ?? "", logger: silentLogger, databaseConnections: 3 };
    const fleet = await Promise.all([server(params), server(params)]);
    const ids: string[] = [];
    const finished: string[] = [];
    let isOver = false;
    const through = async <T>(call: (stage: Stage) => Promise<T>): Promise<T> => {
      for (let n = 0; ; n += 1) {
        const stage = Object.assign(new Stage(at(fleet, n).api()), { name });
        try {
          return await call(stage);
        } catch (error) {
          if (!isAikiError(error) || error.code !== "UNAVAILABLE") throw error;
        }
      }
    };
    const starting = async () => {
      while (!isOver) ids.push(await through((stage) => stage.start()));
    };
    const working = async () => {
      while (!isOver || finished.length < ids.length) {
        const [worker, runs] = await through(async (stage) => {
          const one = stage.worker();
          return [one, await one.claim({ limit: 5, waitMs: 50 })] as const;
        });
        for (const run of runs) {
          await through((stage) => {
            const heir = Object.assign(stage.worker(), { session: worker.session });
            return heir.finish(run);
          });
          finished.push(run.id);
        }
      }
    };
    const load = Promise.all([starting(), working(), working()]);
    for (let n = 0; n < 4; n += 1) {
      const next = await server(params);
      const old = fleet.shift();
      fleet.push(next);
      await old?.close();
    }
    isOver = true;
    await load;
    expect(finished.toSorted()).toEqual(ids.toSorted());
    await Promise.all(fleet.map((one) => one.close()));
  });

  it("three servers fire each timer once, and none early", { timeout: 60_000 }, async () => {
    const all = stages();
    const ids = await Promise.all(Array.from({ length: 60 }, (_, n) => at(all, n).start()));
    const worker = at(all, 0).worker();
    const held = await worker.claim({ limit: 100 });
    expect(held).toHaveLength(60);
    // Reports go through another server than the claim.
    const reports = held.map((run) =>
      worker.draft(run, { opens: [sleeps(2_000)], next: { type: "suspend", children: 0 } }),
    );
    const { results } = await at(all, 1).api.report({ session: worker.session, worker: "w", reports });
    expect(new Set(codes(results))).toEqual(new Set(["ok"]));
    const suspended = await Promise.all(ids.map((id) => at(all, 2).view(id)));
    const until = new Map(suspended.map(({ id, waits }) => [id, only(waits).until ?? Number.POSITIVE_INFINITY]));
    const again = await claimAll(
      all.map((stage) => stage.worker()),
      ids.length,
    );
    expect(again.map(({ id }) => id).sort()).toEqual(ids.toSorted());
    for (const { id, journal, fence } of again) {
      expect([types(journal), fence]).toEqual([["elapsed"], 2]);
      expect(only(journal).at).toBeGreaterThanOrEqual(until.get(id) ?? Number.POSITIVE_INFINITY);
    }
  });

  it("starts with one reference id on all servers at once create one run", async () => {
    const all = stages();
    for (let round = 0; round < 20; round += 1) {
      const starts = Array.from({ length: 12 }, (_, n) =>
        at(all, n).tryStart(at(all, n).spec({ referenceId: `order-${round}`, inputHash: "a" })),
      );
      const results = await Promise.all(starts);
      expect(new Set(results.map((result) => (result.ok ? result.id : result.code))).size).toBe(1);
      expect(results.filter((result) => result.ok && result.created)).toHaveLength(1);
    }
  });

  it("a report or signal that is sent to all servers is recorded once", async () => {
    const all = stages();
    const id = await at(all, 0).start();
    const worker = at(all, 0).worker();
    const run = await worker.claimOne();
    const drafted = worker.draft(run, { entries: [returned("task:a#0"), returned("task:b#0")] });
    const request = { session: worker.session, worker: "w", reports: [drafted] };
    const replies = await Promise.all(all.map((stage) => stage.api.report(request)));
    for (const { results } of replies) expect(results).toMatchObject([{ ok: true, first: 1, tail: 2 }]);
    const signalId = v7();
    const event = { type: "event", name: "approved", data: "1" } as const;
    const signalled = await Promise.all(all.map((stage) => stage.signal(id, event, signalId)));
    expect(codes(signalled)).toEqual(["ok", "ok", "ok"]);
    expect(types(await at(all, 2).entries(id))).toEqual(["returned", "returned", "arrived"]);
  });

  it("servers know the workers of other servers, those that left, and versions without a worker", {
    timeout: 30_000,
  }, async () => {
    const all = stages();
    const [here, there] = [at(all, 0), at(all, 1)];
    const id = await there.start({ versionId: "1.2.0", shardKey: "eu" });
    const unserved = `Queued: no worker serves ${here.name}@1.2.0 in shard eu.`;
    expect((await there.view(id)).explanation).toBe(unserved);
    const worker = here.worker();
    const served = { serves: [{ name: here.name, versionId: "1.2.0" }], shardKeys: ["eu"] };
    const load = { slots: 4, busy: 1 };
    const run = await worker.claimOne({ ...served, load });
    await worker.report(run, { next: { type: "release", reason: "shutdown" } });
    await until(async () => (await worker.listed(there)) !== undefined);
    expect(await worker.listed(there)).toMatchObject({ ...served, load, worker: "worker-1" });
    expect((await there.view(id)).explanation).toBe("Queued: ready for the next free worker.");
    // Heartbeats of a busy worker to another server count too.
    await at(all, 2).api.renew({
      ...signed,
      ...served,
      session: worker.session,
      runs: [],
      load: { slots: 4, busy: 4 },
    });
    await until(async () => (await worker.listed(there))?.load?.busy === 4);
    await worker.leave();
    expect(await worker.listed(here)).toBeUndefined();
    await until(async () => (await worker.listed(there)) === undefined);
    expect((await there.view(id)).explanation).toBe(unserved);
  });

  it("servers remove a dead worker after its time, by the clock of the database", { timeout: 30_000 }, async () => {
    const all = stages();
    const worker = at(all, 0).worker();
    await worker.claim();
    await until(async () => (await worker.listed(at(all, 1))) !== undefined);
    expect(await worker.listed(at(all, 1))).toMatchObject({ worker: "worker-1" });
    const [row] = await (database?.sql(`
      UPDATE aiki.worker SET seen_at = seen_at - 90000, live_until = live_until - 90000
      WHERE session = '${worker.session}'
      RETURNING live_until - seen_at AS patience`) ?? []);
    expect(row).toEqual({ patience: "90000" });
    await until(async () => (await worker.listed(at(all, 1))) === undefined);
  });

  it("a run that is suspended on one server receives an event that arrives on another at the same time", async () => {
    const all = stages();
    await Promise.all(Array.from({ length: 40 }, () => at(all, 0).start()));
    const worker = at(all, 0).worker();
    const held = await worker.claim({ limit: 40 });
    expect(held).toHaveLength(40);
    await Promise.all(
      held.flatMap((run) => [
        worker.suspend(run, [awaits("approved")]),
        at(all, 1).signal(run.id, { type: "event", name: "approved", data: "1" }),
      ]),
    );
    // If the event arrives before the report, the run is not suspended. Its worker then releases it here.
    await worker.leave();
    const again = await claimAll([at(all, 2).worker()], 40);
    expect(again.map(({ id }) => id).sort()).toEqual(held.map(({ id }) => id).sort());
    const recorded = await Promise.all(again.map(({ id }) => at(all, 2).entries(id)));
    for (const entries of recorded) expect(types(entries).sort()).toEqual(["arrived", "received"]);
  });
});
