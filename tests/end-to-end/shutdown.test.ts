/** Graceful ends: SIGTERM in the middle of runs, before a server is there, twice, and cut short by SIGKILL. */

import { writeFileSync } from "node:fs";
import type { Entry, RunId } from "@aikirun/lib/protocol";
import { afterEach, beforeEach, expect, it } from "vitest";
import { violations } from "./invariants.ts";
import { type LedgerEffect, readEffects } from "./ledger.ts";
import { approve, resultOf, startOrder } from "./orders.ts";
import { type Running, until } from "./processes.ts";
import { heartbeatMs, openScenario, type RestartableServer, type Scenario } from "./scenario.ts";
import { describeOn, sqlite, type Topology, topologies } from "./topology.ts";

/** Nobody waits for the end of such a lease within a test: 90 s. */
const longHeartbeatMs = 30_000;
/** `gracefulShutdownTimeoutMs` of the worker processes, and what a busy machine may add. */
const exitMs = 2_000 + 2_000;

let scene: Scenario;
let seat: RestartableServer;

/** For each engine, before each test of it. */
function openOn(topology: Topology): void {
  beforeEach(async () => {
    scene = await openScenario(topology);
    seat = await scene.serve();
  }, 60_000);
  afterEach(() => scene.close());
}

const clean = { code: 0, signal: null };

describeOn(topologies, "a worker that is asked to end", (topology) => {
  openOn(topology);

  it("hands back a run that it cannot finish, so that another goes on within a second", async () => {
    const gate = scene.file("gate");
    const first = scene.worker({ url: seat.url, suffixes: [""], slots: 1, heartbeatMs: longHeartbeatMs });
    const aiki = await scene.client(seat.url);
    const order = await startOrder(aiki, scene.deeds, "", { gate, gated: "reserve" });
    await approve(order, scene.deeds);
    await until("the first is inside the task", () => effectOf("reserve", first));
    const second = scene.worker({ url: seat.url, suffixes: [""], slots: 1, heartbeatMs: longHeartbeatMs });
    await second.says(/working/);

    const askedAt = Date.now();
    first.signal("SIGTERM");
    expect(await first.exited).toEqual(clean);
    const endedAt = Date.now();
    expect(endedAt - askedAt).toBeLessThan(exitMs);
    const repeated = await until("the second does it again", () => effectOf("reserve", second));
    expect(repeated.at - endedAt).toBeLessThan(1_000);
    writeFileSync(gate, "");
    await resultOf(order, scene.deeds);
    await expectSound(1);
    expect(await marksOf(order.id)).toEqual([]);
  }, 60_000);

  it("lets a task come to its end and records it, and another goes on after it", async () => {
    const first = scene.worker({ url: seat.url, suffixes: [""], slots: 1, heartbeatMs: longHeartbeatMs });
    const aiki = await scene.client(seat.url);
    const order = await startOrder(aiki, scene.deeds, "", { slowMs: 700 });
    await approve(order, scene.deeds);
    await until("the first is inside the task", () => effectOf("charge", first));
    first.signal("SIGTERM");
    expect(await first.exited).toEqual(clean);
    scene.worker({ url: seat.url, suffixes: [""], slots: 1 });
    await resultOf(order, scene.deeds);
    await expectSound(0);
    expect(await marksOf(order.id)).toEqual([]);
  }, 60_000);
});

describeOn([sqlite], "a worker that is asked to end", (topology) => {
  openOn(topology);

  it("ends while it still tries to reach a server", async () => {
    const first = scene.worker({ url: "http://localhost:9", suffixes: [""] });
    await first.says(/up/);
    first.signal("SIGTERM");
    expect(await first.exited).toEqual(clean);
  }, 60_000);

  it("ends at any moment of its start", async () => {
    const workers = [0, 1, 2, 3].map(() => scene.worker({ url: seat.url, suffixes: [""] }));
    // Each a little later than the one before: around its first words, and around its first request.
    await Promise.all(
      workers.map(async (worker, index) => {
        await worker.says(index % 2 === 0 ? /up/ : /working/);
        setTimeout(() => worker.signal("SIGTERM"), 5 * index);
        expect(await worker.exited).toEqual(clean);
      }),
    );
  }, 60_000);

  it("ends the same when it is asked twice", async () => {
    const gate = scene.file("gate");
    const first = scene.worker({ url: seat.url, suffixes: [""], slots: 1, heartbeatMs: longHeartbeatMs });
    const aiki = await scene.client(seat.url);
    const order = await startOrder(aiki, scene.deeds, "", { gate, gated: "reserve" });
    await until("it is inside the task", () => effectOf("reserve", first));
    first.signal("SIGTERM");
    first.signal("SIGTERM");
    expect(await first.exited).toEqual(clean);
    expect(await order.status()).toBe("queued");
  }, 60_000);

  it.each(["reporting.release", "reported.release"])(
    "and is killed at %s loses nothing",
    async (point) => {
      const gate = scene.file("gate");
      const fault = { point, nth: 1, signal: "SIGKILL" as const };
      const first = scene.worker({ url: seat.url, suffixes: [""], slots: 1 }, fault);
      const aiki = await scene.client(seat.url);
      const order = await startOrder(aiki, scene.deeds, "", { gate, gated: "reserve" });
      await approve(order, scene.deeds);
      await until("it is inside the task", () => effectOf("reserve", first));
      first.signal("SIGTERM");
      expect((await first.exited).signal).toBe("SIGKILL");
      scene.worker({ url: seat.url, suffixes: [""], slots: 1 });
      writeFileSync(gate, "");
      await resultOf(order, scene.deeds);
      await expectSound(1);
    },
    60_000,
  );
});

describeOn(topologies, "a server that is asked to end", (topology) => {
  openOn(topology);

  it("ends while workers wait for runs, and they go on with the next one", async () => {
    const worker = scene.worker({ url: seat.url, suffixes: [""], heartbeatMs: 10 * heartbeatMs });
    await worker.says(/working/);
    const aiki = await scene.client(seat.url);
    const order = await startOrder(aiki, scene.deeds, "");
    await order.waitFor("awaiting_event", { timeout: { seconds: 30 } });
    seat.process.signal("SIGTERM");
    expect(await seat.process.exited).toEqual(clean);
    await seat.restart();
    await approve(order, scene.deeds);
    await resultOf(order, scene.deeds);
    await expectSound(0);
  }, 60_000);
});

function effectOf(task: string, { pid }: Running): LedgerEffect | undefined {
  return readEffects(scene.ledger).find((effect) => effect.task === task && effect.pid === pid);
}

async function expectSound(faults: number): Promise<void> {
  scene.deeds.faults = faults;
  expect(violations(await scene.facts())).toEqual([]);
}

/** Nothing exceptional: no recovery, no crash was counted. */
async function marksOf(runId: RunId): Promise<Entry[]> {
  const { entries } = await scene.facts();
  return entries.filter((entry) => entry.runId === runId && entry.value.type === "marked");
}
