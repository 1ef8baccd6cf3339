/** What only the server's process and its file must bear: kill and restart, a pause, rivals, a full disk. */

import { type Api, type ClaimRequest, limits } from "@aikirun/lib/protocol";
import { v7 } from "uuid";
import { afterEach, beforeEach, expect, it } from "vitest";
import { signed } from "../suites/actors.ts";
import { violations } from "./invariants.ts";
import { readEffects } from "./ledger.ts";
import { approve, resultOf, startable, startOrder } from "./orders.ts";
import { run, until } from "./processes.ts";
import { openScenario, type Scenario } from "./scenario.ts";
import type { ServerOrder, ServerProcessConfig } from "./server-process.ts";
import { describeOn, networked, sqlite, type Topology, topologies } from "./topology.ts";

let scene: Scenario;

function openOn(topology: Topology): void {
  beforeEach(async () => {
    scene = await openScenario(topology);
  });
  afterEach(() => scene.close());
}

/** A worker by hand: the lease of one run, claimed and confirmed. Milliseconds. */
const leaseMs = 1_000;

async function held(api: Api, name: string) {
  const session = v7();
  const request: ClaimRequest = {
    claimId: v7(),
    session,
    worker: "by-hand",
    serves: [{ name, versionId: "1.0.0" }],
    shardKeys: [],
    limit: 1,
    leaseMs,
    waitMs: 10_000,
  };
  const [claimed] = (await api.claim(request)).runs;
  if (claimed === undefined) throw new Error("There was nothing to claim.");
  const { id: runId, fence } = claimed;
  const renew = async () => (await api.renew({ ...signed, session, leaseMs, runs: [{ runId, fence }] })).results[0];
  expect(await renew()).toMatchObject({ ok: true });
  return { runId, fence, renew };
}

describeOn([sqlite], "the first lease of a server's uptime", (topology) => {
  openOn(topology);

  it("takes no run from a worker whose lease ended while the server was away", async () => {
    const seat = await scene.serve();
    const aiki = await scene.client(seat.url);
    await startOrder(aiki, scene.deeds, "");
    const lease = await held(aiki.api, startable("").order.name);
    const endsAt = Date.now() + leaseMs;
    seat.process.signal("SIGKILL");
    await seat.process.exited;
    await until("the lease is over", () => Date.now() > endsAt);
    await seat.restart();
    expect(await lease.renew()).toMatchObject({ ok: true });
    const { entries } = await scene.facts();
    expect(entries).toEqual([]);
  }, 60_000);

  it("is granted once: a worker that stays away loses its run after it", async () => {
    const seat = await scene.serve();
    const aiki = await scene.client(seat.url);
    await startOrder(aiki, scene.deeds, "");
    const { runId, fence } = await held(aiki.api, startable("").order.name);
    seat.process.signal("SIGKILL");
    await seat.process.exited;
    const awayUntil = Date.now();
    await seat.restart();
    const order = aiki.runs.get(runId);
    await order.waitFor("queued", { timeout: { seconds: 20 } });
    const [entry] = (await scene.facts()).entries;
    expect(entry).toMatchObject({ fence, value: { type: "marked", mark: "recovered", crashes: 1, confirmed: true } });
    expect((entry?.at ?? 0) - awayUntil).toBeGreaterThanOrEqual(leaseMs);
  }, 60_000);
});

describeOn(topologies, "a server that is killed again and again under load", (topology) => {
  openOn(topology);

  it("loses no order, and doubles none", async () => {
    const seat = await scene.serve();
    scene.worker({ url: seat.url, suffixes: [""], slots: 8, heartbeatMs: 4_000 });
    const aiki = await scene.client(seat.url);
    for (let life = 0; life < 3; life += 1) {
      const orders = await Promise.all([1, 2, 3, 4].map(() => startOrder(aiki, scene.deeds, "")));
      seat.process.signal("SIGKILL");
      await seat.restart();
      await Promise.all(orders.map((order) => approve(order, scene.deeds)));
      await Promise.all(orders.map((order) => resultOf(order, scene.deeds)));
    }
    expect(violations(await scene.facts())).toEqual([]);
    expect(scene.deeds.outputs.size).toBe(12);
  }, 90_000);

  it("that is stopped past every lease and goes on doubles at most what was under way", async () => {
    const seat = await scene.serve();
    const worker = scene.worker({ url: seat.url, suffixes: [""], slots: 2 });
    await worker.says(/working/);
    const aiki = await scene.client(seat.url);
    const order = await startOrder(aiki, scene.deeds, "", { slowMs: 3_000 });
    await until("the worker is inside the task", () => readEffects(scene.ledger).length > 0);
    seat.process.signal("SIGSTOP");
    await worker.says(/lost .*code=LEASE_LOST/);
    seat.process.signal("SIGCONT");
    await approve(order, scene.deeds);
    await resultOf(order, scene.deeds);
    scene.deeds.faults = 1;
    expect(violations(await scene.facts())).toEqual([]);
  }, 60_000);
});

describeOn(networked, "three servers", (topology) => {
  openOn(topology);

  it("killed in turn lose nothing: what one began is told to a second and asked of a third", async () => {
    const seats = [await scene.serve(), await scene.serve(), await scene.serve()];
    const clients = await Promise.all(seats.map(({ url }) => scene.client(url)));
    for (const { url } of seats) scene.worker({ url, suffixes: [""], slots: 4, heartbeatMs: 4_000 });
    const { order } = startable("");
    for (const seat of seats) {
      const begun = await Promise.all(clients.map((aiki) => startOrder(aiki, scene.deeds, "")));
      seat.process.signal("SIGKILL");
      const back = seat.restart();
      const elsewhere = (id: string, index: number) => clients[index % 3]?.runs.get(id, order);
      for (const [index, { id }] of begun.entries()) {
        const [second, third] = [elsewhere(id, index + 1), elsewhere(id, index + 2)];
        if (second === undefined || third === undefined) throw new Error("There are three clients.");
        await approve(second, scene.deeds);
        await resultOf(third, scene.deeds);
      }
      await back;
    }
    expect(violations(await scene.facts())).toEqual([]);
    expect(scene.deeds.outputs.size).toBe(9);
  }, 90_000);
});

describeOn([sqlite], "one file", (topology) => {
  openOn(topology);

  it("has one server: of three at once one listens, the others name it and end", async () => {
    const config: ServerProcessConfig = { ...scene.ground, port: 0, settings: {}, fault: null };
    const rivals = [1, 2, 3].map(() => scene.stopAtClose(run("server-process.ts", config)));
    await until("two have given up", () => rivals.filter(({ isUp }) => !isUp).length === 2);
    const [winner] = rivals.filter(({ isUp }) => isUp);
    await winner?.says(/listening/);
    for (const loser of rivals.filter(({ isUp }) => !isUp)) {
      expect((await loser.exited).code).toBe(1);
      expect(loser.output).toMatch(/DATABASE_LOCKED/);
    }
    const late = scene.stopAtClose(run("server-process.ts", config));
    expect((await late.exited).code).toBe(1);
    expect(late.output).toContain(`process ${winner?.pid} on `);
    winner?.signal("SIGKILL");
    await winner?.exited;
    await scene.stopAtClose(run("server-process.ts", config)).says(/listening/);
  }, 60_000);

  it("that cannot grow: starts are refused with 503 and counted for nothing, reads work, and all goes on", async () => {
    const seat = await scene.serve();
    const grow = async (most: ServerOrder["most"]) => {
      const order: ServerOrder = { type: "pages", most };
      seat.process.send(order);
      await seat.process.says(new RegExp(`pages ${most}`));
    };
    const aiki = await scene.client(seat.url);
    const order = await startOrder(aiki, scene.deeds, "");
    await grow("now");
    const input = JSON.stringify("x".repeat(200_000));
    const spec = { id: v7(), name: "order", versionId: "1.0.0", input };
    const post = () =>
      fetch(`${seat.url}/v1/start`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ runs: [spec] }),
      });
    const refused = await post();
    expect({ status: refused.status, retry: refused.headers.get("retry-after") }).toEqual({ status: 503, retry: "1" });
    expect(await order.status()).toBe("queued");
    expect(await aiki.runs.list()).toMatchObject({ runs: [{ id: order.id }] });
    await grow(limits.requestBytes);
    expect((await post()).status).toBe(200);
    scene.deeds.started.set(spec.id, "cancelled");
    await aiki.runs.get(spec.id).cancel();
    scene.worker({ url: seat.url, suffixes: [""] });
    await approve(order, scene.deeds);
    await resultOf(order, scene.deeds);
    expect(violations(await scene.facts())).toEqual([]);
  }, 60_000);
});
