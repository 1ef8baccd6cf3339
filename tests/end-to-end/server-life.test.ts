/** A server process and its file: kill and restart, a pause, several servers on one file, a full disk. */

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

let scenario: Scenario;

function openOn(topology: Topology): void {
  beforeEach(async () => {
    scenario = await openScenario(topology);
  });
  afterEach(() => scenario.close());
}

/** The lease of a run that the test itself claims and confirms. Milliseconds. */
const leaseMs = 1_000;

async function claimRun(api: Api, name: string) {
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

  it("a restarted server takes no run from a worker whose lease expired while the server was down", async () => {
    const server = await scenario.serve();
    const aiki = await scenario.client(server.url);
    await startOrder(aiki, scenario.actions, "");
    const lease = await claimRun(aiki.api, startable("").order.name);
    const endsAt = Date.now() + leaseMs;
    server.process.signal("SIGKILL");
    await server.process.exited;
    await until("the lease has expired", () => Date.now() > endsAt);
    await server.restart();
    expect(await lease.renew()).toMatchObject({ ok: true });
    const { entries } = await scenario.facts();
    expect(entries).toEqual([]);
  }, 60_000);

  it("a worker that does not return loses its run one lease after the server has restarted", async () => {
    const server = await scenario.serve();
    const aiki = await scenario.client(server.url);
    await startOrder(aiki, scenario.actions, "");
    const { runId, fence } = await claimRun(aiki.api, startable("").order.name);
    server.process.signal("SIGKILL");
    await server.process.exited;
    const restartedAt = Date.now();
    await server.restart();
    const order = aiki.runs.get(runId);
    await order.waitFor("queued", { timeout: { seconds: 20 } });
    const [entry] = (await scenario.facts()).entries;
    expect(entry).toMatchObject({ fence, value: { type: "marked", mark: "recovered", crashes: 1, confirmed: true } });
    expect((entry?.at ?? 0) - restartedAt).toBeGreaterThanOrEqual(leaseMs);
  }, 60_000);
});

describeOn(topologies, "a server that is killed again and again under load", (topology) => {
  openOn(topology);

  it("a server that is killed repeatedly under load loses and duplicates no order", async () => {
    const server = await scenario.serve();
    scenario.worker({ url: server.url, suffixes: [""], slots: 8, heartbeatMs: 4_000 });
    const aiki = await scenario.client(server.url);
    for (let life = 0; life < 3; life += 1) {
      const orders = await Promise.all([1, 2, 3, 4].map(() => startOrder(aiki, scenario.actions, "")));
      server.process.signal("SIGKILL");
      await server.restart();
      await Promise.all(orders.map((order) => approve(order, scenario.actions)));
      await Promise.all(orders.map((order) => resultOf(order, scenario.actions)));
    }
    expect(violations(await scenario.facts())).toEqual([]);
    expect(scenario.actions.outputs.size).toBe(12);
  }, 90_000);

  it("a server that is stopped until all leases expire repeats at most the effects in progress", async () => {
    const server = await scenario.serve();
    const worker = scenario.worker({ url: server.url, suffixes: [""], slots: 2 });
    await worker.prints(/working/);
    const aiki = await scenario.client(server.url);
    const order = await startOrder(aiki, scenario.actions, "", { slowMs: 3_000 });
    await until("the worker is inside the task", () => readEffects(scenario.ledger).length > 0);
    server.process.signal("SIGSTOP");
    await worker.prints(/lost .*code=LEASE_LOST/);
    server.process.signal("SIGCONT");
    await approve(order, scenario.actions);
    await resultOf(order, scenario.actions);
    scenario.actions.faults = 1;
    expect(violations(await scenario.facts())).toEqual([]);
  }, 60_000);
});

describeOn(networked, "three servers", (topology) => {
  openOn(topology);

  it("servers that are killed in turn lose no run that is started, signalled and read on several", async () => {
    const servers = [await scenario.serve(), await scenario.serve(), await scenario.serve()];
    const clients = await Promise.all(servers.map(({ url }) => scenario.client(url)));
    for (const { url } of servers) scenario.worker({ url, suffixes: [""], slots: 4, heartbeatMs: 4_000 });
    const { order } = startable("");
    for (const server of servers) {
      const orders = await Promise.all(clients.map((aiki) => startOrder(aiki, scenario.actions, "")));
      server.process.signal("SIGKILL");
      const back = server.restart();
      const handleAt = (id: string, index: number) => clients[index % 3]?.runs.get(id, order);
      for (const [index, { id }] of orders.entries()) {
        const [second, third] = [handleAt(id, index + 1), handleAt(id, index + 2)];
        if (second === undefined || third === undefined) throw new Error("There are three clients.");
        await approve(second, scenario.actions);
        await resultOf(third, scenario.actions);
      }
      await back;
    }
    expect(violations(await scenario.facts())).toEqual([]);
    expect(scenario.actions.outputs.size).toBe(9);
  }, 90_000);
});

describeOn([sqlite], "one file", (topology) => {
  openOn(topology);

  it("one of three servers that open the same file listens, the others name its process and exit", async () => {
    const config: ServerProcessConfig = { ...scenario.backend, port: 0, settings: {}, fault: null };
    const rivals = [1, 2, 3].map(() => scenario.stopAtClose(run("server-process.ts", config)));
    await until("two servers have exited", () => rivals.filter(({ isUp }) => !isUp).length === 2);
    const [winner] = rivals.filter(({ isUp }) => isUp);
    await winner?.prints(/listening/);
    for (const loser of rivals.filter(({ isUp }) => !isUp)) {
      expect((await loser.exited).code).toBe(1);
      expect(loser.output).toMatch(/DATABASE_LOCKED/);
    }
    const late = scenario.stopAtClose(run("server-process.ts", config));
    expect((await late.exited).code).toBe(1);
    expect(late.output).toContain(`process ${winner?.pid} on `);
    winner?.signal("SIGKILL");
    await winner?.exited;
    await scenario.stopAtClose(run("server-process.ts", config)).prints(/listening/);
  }, 60_000);

  it("a server whose disk is full refuses starts with 503 and still reads, until there is space", async () => {
    const server = await scenario.serve();
    const grow = async (most: ServerOrder["most"]) => {
      const order: ServerOrder = { type: "pages", most };
      server.process.send(order);
      await server.process.prints(new RegExp(`pages ${most}`));
    };
    const aiki = await scenario.client(server.url);
    const order = await startOrder(aiki, scenario.actions, "");
    await grow("now");
    const input = JSON.stringify("x".repeat(200_000));
    const spec = { id: v7(), name: "order", versionId: "1.0.0", input };
    const post = () =>
      fetch(`${server.url}/v1/start`, {
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
    scenario.actions.started.set(spec.id, "cancelled");
    await aiki.runs.get(spec.id).cancel();
    scenario.worker({ url: server.url, suffixes: [""] });
    await approve(order, scenario.actions);
    await resultOf(order, scenario.actions);
    expect(violations(await scenario.facts())).toEqual([]);
  }, 60_000);
});
