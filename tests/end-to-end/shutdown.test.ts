/** Graceful shutdown: SIGTERM during runs, before a server is reachable, twice, and interrupted by SIGKILL. */

import { writeFileSync } from "node:fs";
import type { Entry, RunId } from "@aikirun/lib/protocol";
import { afterEach, beforeEach, expect, it } from "vitest";
import { violations } from "./invariants.ts";
import { type LedgerEffect, readEffects } from "./ledger.ts";
import { approve, resultOf, startOrder } from "./orders.ts";
import { type Running, until } from "./processes.ts";
import { heartbeatMs, openScenario, type RestartableServer, type Scenario } from "./scenario.ts";
import { describeOn, sqlite, type Topology, topologies } from "./topology.ts";

/** Gives leases of 90 s, which do not expire within a test. */
const longHeartbeatMs = 30_000;
/** `gracefulShutdownTimeoutMs` of the worker processes plus an allowance for a busy machine. */
const exitMs = 2_000 + 2_000;

let scenario: Scenario;
let server: RestartableServer;

/** Opens a scenario with a server before each test. */
function openOn(topology: Topology): void {
  beforeEach(async () => {
    scenario = await openScenario(topology);
    server = await scenario.serve();
  }, 60_000);
  afterEach(() => scenario.close());
}

const cleanExit = { code: 0, signal: null };

describeOn(topologies, "a worker that receives SIGTERM", (topology) => {
  openOn(topology);

  it("a stopping worker releases an unfinished run, and another continues it within a second", async () => {
    const gate = scenario.file("gate");
    const first = scenario.worker({ url: server.url, suffixes: [""], slots: 1, heartbeatMs: longHeartbeatMs });
    const aiki = await scenario.client(server.url);
    const order = await startOrder(aiki, scenario.actions, "", { gate, gated: "reserve" });
    await approve(order, scenario.actions);
    await until("the first worker is inside the task", () => effectOf("reserve", first));
    const second = scenario.worker({ url: server.url, suffixes: [""], slots: 1, heartbeatMs: longHeartbeatMs });
    await second.prints(/working/);

    const askedAt = Date.now();
    first.signal("SIGTERM");
    expect(await first.exited).toEqual(cleanExit);
    const endedAt = Date.now();
    expect(endedAt - askedAt).toBeLessThan(exitMs);
    const repeated = await until("the second worker repeats the task", () => effectOf("reserve", second));
    expect(repeated.at - endedAt).toBeLessThan(1_000);
    writeFileSync(gate, "");
    await resultOf(order, scenario.actions);
    await expectNoViolations(1);
    expect(await marksOf(order.id)).toEqual([]);
  }, 60_000);

  it("a stopping worker finishes and records its task, and another continues after it", async () => {
    const first = scenario.worker({ url: server.url, suffixes: [""], slots: 1, heartbeatMs: longHeartbeatMs });
    const aiki = await scenario.client(server.url);
    const order = await startOrder(aiki, scenario.actions, "", { slowMs: 700 });
    await approve(order, scenario.actions);
    await until("the first worker is inside the task", () => effectOf("charge", first));
    first.signal("SIGTERM");
    expect(await first.exited).toEqual(cleanExit);
    scenario.worker({ url: server.url, suffixes: [""], slots: 1 });
    await resultOf(order, scenario.actions);
    await expectNoViolations(0);
    expect(await marksOf(order.id)).toEqual([]);
  }, 60_000);
});

describeOn([sqlite], "a worker that receives SIGTERM", (topology) => {
  openOn(topology);

  it("a worker exits on SIGTERM while it cannot reach a server", async () => {
    const first = scenario.worker({ url: "http://localhost:9", suffixes: [""] });
    await first.prints(/up/);
    first.signal("SIGTERM");
    expect(await first.exited).toEqual(cleanExit);
  }, 60_000);

  it("a worker exits on SIGTERM at any moment of its start", async () => {
    const workers = [0, 1, 2, 3].map(() => scenario.worker({ url: server.url, suffixes: [""] }));
    // Each worker receives the signal a little later: around its first output, or around its first request.
    await Promise.all(
      workers.map(async (worker, index) => {
        await worker.prints(index % 2 === 0 ? /up/ : /working/);
        setTimeout(() => worker.signal("SIGTERM"), 5 * index);
        expect(await worker.exited).toEqual(cleanExit);
      }),
    );
  }, 60_000);

  it("a worker that receives SIGTERM twice stops as after one", async () => {
    const gate = scenario.file("gate");
    const first = scenario.worker({ url: server.url, suffixes: [""], slots: 1, heartbeatMs: longHeartbeatMs });
    const aiki = await scenario.client(server.url);
    const order = await startOrder(aiki, scenario.actions, "", { gate, gated: "reserve" });
    await until("the worker is inside the task", () => effectOf("reserve", first));
    first.signal("SIGTERM");
    first.signal("SIGTERM");
    expect(await first.exited).toEqual(cleanExit);
    expect(await order.status()).toBe("queued");
  }, 60_000);

  it.each(["reporting.release", "reported.release"])(
    "a stopping worker that is killed at %s loses nothing",
    async (point) => {
      const gate = scenario.file("gate");
      const fault = { point, nth: 1, signal: "SIGKILL" as const };
      const first = scenario.worker({ url: server.url, suffixes: [""], slots: 1 }, fault);
      const aiki = await scenario.client(server.url);
      const order = await startOrder(aiki, scenario.actions, "", { gate, gated: "reserve" });
      await approve(order, scenario.actions);
      await until("the worker is inside the task", () => effectOf("reserve", first));
      first.signal("SIGTERM");
      expect((await first.exited).signal).toBe("SIGKILL");
      scenario.worker({ url: server.url, suffixes: [""], slots: 1 });
      writeFileSync(gate, "");
      await resultOf(order, scenario.actions);
      await expectNoViolations(1);
    },
    60_000,
  );
});

describeOn(topologies, "a server that receives SIGTERM", (topology) => {
  openOn(topology);

  it("a server exits on SIGTERM while workers wait for runs, and they continue with its successor", async () => {
    const worker = scenario.worker({ url: server.url, suffixes: [""], heartbeatMs: 10 * heartbeatMs });
    await worker.prints(/working/);
    const aiki = await scenario.client(server.url);
    const order = await startOrder(aiki, scenario.actions, "");
    await order.waitFor("awaiting_event", { timeout: { seconds: 30 } });
    server.process.signal("SIGTERM");
    expect(await server.process.exited).toEqual(cleanExit);
    await server.restart();
    await approve(order, scenario.actions);
    await resultOf(order, scenario.actions);
    await expectNoViolations(0);
  }, 60_000);
});

function effectOf(task: string, { pid }: Running): LedgerEffect | undefined {
  return readEffects(scenario.ledger).find((effect) => effect.task === task && effect.pid === pid);
}

async function expectNoViolations(faults: number): Promise<void> {
  scenario.actions.faults = faults;
  expect(violations(await scenario.facts())).toEqual([]);
}

/** The marks of a run, such as a recovery or a counted crash. */
async function marksOf(runId: RunId): Promise<Entry[]> {
  const { entries } = await scenario.facts();
  return entries.filter((entry) => entry.runId === runId && entry.value.type === "marked");
}
