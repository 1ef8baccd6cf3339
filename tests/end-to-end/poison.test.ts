/** Code that brings down, or seizes up, every process that executes it. */

import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { violations } from "./invariants.ts";
import { approve, resultOf, startable, startOrder } from "./orders.ts";
import { end, type Running, until } from "./processes.ts";
import type { Poison } from "./programs.ts";
import { openScenario, type RestartableServer, type Scenario } from "./scenario.ts";

const maxCrashes = 1;
/** Runs that were executing when a worker fell take turns, each for a third of a lease: 500 ms here. Milliseconds. */
const heartbeatMs = 500;

describe("a run that", () => {
  const poisons: Array<[what: string, kind: Poison]> = [
    ["loops for ever without giving way", "spin"],
    ["ends the process", "exit"],
    ["throws from a timer", "throw"],
  ];
  it.concurrent.each(poisons)(
    "%s is stopped after a bounded number of crashes, other runs complete, and a cure and retry save it",
    async (_, kind) => {
      const scene = await openScenario();
      try {
        await survived(scene, kind);
      } finally {
        await scene.close();
      }
    },
    90_000,
  );
});

async function survived(scene: Scenario, kind: Poison): Promise<void> {
  const seat = await scene.serve({ settings: { maxCrashes } });
  const aiki = await scene.client(seat.url);
  const orders = [];
  for (const _ of [1, 2, 3]) orders.push(await startOrder(aiki, scene.deeds, ""));
  const job = { url: seat.url, suffixes: [""], slots: 4, heartbeatMs };
  const cure = scene.file("cure");
  const poisoned = await startable("").poison.start(aiki, { kind, cure });
  const crashed = await supervise(
    () => scene.worker(job),
    () => poisoned.status(),
    kind,
  );

  expect(await poisoned.view()).toMatchObject({
    status: "stalled",
    stall: { reason: "crash_loop", crashes: maxCrashes + 1 },
  });
  // The first lease may end before anything proved that its claim arrived; then it is not counted.
  expect(crashed).toBeLessThanOrEqual(maxCrashes + 2);
  scene.deeds.faults = crashed;
  scene.worker(job);
  for (const order of orders) {
    await approve(order, scene.deeds);
    await resultOf(order, scene.deeds);
  }
  writeFileSync(cure, "");
  const saved = await poisoned.retry();
  expect(saved.id).toBe(poisoned.id);
  scene.deeds.started.set(saved.id, "completed");
  scene.deeds.outputs.set(saved.id, await saved.result());
  expect(violations(await scene.facts())).toEqual([]);
}

/** Starts one worker after the other until the run is stalled, as a supervisor would; returns how many crashed. */
async function supervise(hire: () => Running, status: () => Promise<string>, kind: Poison): Promise<number> {
  for (let crashed = 0; crashed < 10; crashed += 1) {
    const worker = hire();
    const taken = await Promise.race([
      worker.says(new RegExp(`poison ${kind}`)).then(() => true),
      until("the run is stalled", async () => (await status()) === "stalled").then(() => false),
    ]);
    if (!taken) {
      await end(worker);
      return crashed;
    }
    // A process that spins hears nothing: it lives until others have its runs, and a supervisor kills it.
    if (kind === "spin") await until("the lease is lost", async () => (await status()) !== "running");
    if (kind === "spin") worker.signal("SIGKILL");
    await worker.exited;
    await until("the run is free", async () => (await status()) !== "running");
  }
  throw new Error("The run is not stalled after ten crashes.");
}

describe("a task that never settles", () => {
  let scene: Scenario;
  let seat: RestartableServer;

  beforeEach(async () => {
    scene = await openScenario();
    seat = await scene.serve();
  });
  afterEach(() => scene.close());

  it("is timed out, tried again, and frees its slot", async () => {
    scene.worker({ url: seat.url, suffixes: [""], slots: 1 });
    const aiki = await scene.client(seat.url);
    const hanging = await startable("").hang.start(aiki);
    const order = await startOrder(aiki, scene.deeds, "");
    await approve(order, scene.deeds);
    expect(await hanging.result()).toBe(2);
    scene.deeds.started.set(hanging.id, "completed");
    await resultOf(order, scene.deeds);
    const facts = await scene.facts();
    const failures = facts.entries.flatMap(({ value }) => (value.type === "retrying" ? [value.error.name] : []));
    expect(failures).toEqual(["TaskTimeoutError"]);
  }, 60_000);
});
