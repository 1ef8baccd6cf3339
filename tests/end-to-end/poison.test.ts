/** Code that crashes or blocks every process that executes it. */

import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { violations } from "./invariants.ts";
import { approve, resultOf, startable, startOrder } from "./orders.ts";
import { end, type Running, until } from "./processes.ts";
import type { Poison } from "./programs.ts";
import { openScenario, type RestartableServer, type Scenario } from "./scenario.ts";

const maxCrashes = 1;
/** Runs that a crashed worker held are executed one at a time, each for a third of a lease. Milliseconds. */
const heartbeatMs = 500;

describe("a run that crashes its worker", () => {
  const poisons: Array<[what: string, kind: Poison]> = [
    ["blocks the event loop for ever", "spin"],
    ["ends the process", "exit"],
    ["throws from a timer", "throw"],
  ];
  it.concurrent.each(poisons)(
    "a run that %s is stalled after few crashes, other runs complete, and it completes after a fix and a retry",
    async (_, kind) => {
      const scenario = await openScenario();
      try {
        await survived(scenario, kind);
      } finally {
        await scenario.close();
      }
    },
    90_000,
  );
});

async function survived(scenario: Scenario, kind: Poison): Promise<void> {
  const server = await scenario.serve({ settings: { maxCrashes } });
  const aiki = await scenario.client(server.url);
  const orders = [];
  for (const _ of [1, 2, 3]) orders.push(await startOrder(aiki, scenario.actions, ""));
  const job = { url: server.url, suffixes: [""], slots: 4, heartbeatMs };
  const cure = scenario.file("cure");
  const poisoned = await startable("").poison.start(aiki, { kind, cure });
  const crashed = await supervise(
    () => scenario.worker(job),
    () => poisoned.status(),
    kind,
  );

  expect(await poisoned.view()).toMatchObject({
    status: "stalled",
    stall: { reason: "crash_loop", crashes: maxCrashes + 1 },
  });
  // The first lease may end before anything proved that its claim arrived; then it is not counted.
  expect(crashed).toBeLessThanOrEqual(maxCrashes + 2);
  scenario.actions.faults = crashed;
  scenario.worker(job);
  for (const order of orders) {
    await approve(order, scenario.actions);
    await resultOf(order, scenario.actions);
  }
  writeFileSync(cure, "");
  const saved = await poisoned.retry();
  expect(saved.id).toBe(poisoned.id);
  scenario.actions.started.set(saved.id, "completed");
  scenario.actions.outputs.set(saved.id, await saved.result());
  expect(violations(await scenario.facts())).toEqual([]);
}

/** Restarts the worker until the run is stalled, like a supervisor. Returns how many workers crashed. */
async function supervise(startWorker: () => Running, status: () => Promise<string>, kind: Poison): Promise<number> {
  for (let crashed = 0; crashed < 10; crashed += 1) {
    const worker = startWorker();
    const taken = await Promise.race([
      worker.prints(new RegExp(`poison ${kind}`)).then(() => true),
      until("the run is stalled", async () => (await status()) === "stalled").then(() => false),
    ]);
    if (!taken) {
      await end(worker);
      return crashed;
    }
    // A process whose event loop is blocked does not exit by itself, so the supervisor kills it.
    if (kind === "spin") await until("the lease is lost", async () => (await status()) !== "running");
    if (kind === "spin") worker.signal("SIGKILL");
    await worker.exited;
    await until("the run is not running", async () => (await status()) !== "running");
  }
  throw new Error("The run is not stalled after ten crashes.");
}

describe("a task that never settles", () => {
  let scenario: Scenario;
  let server: RestartableServer;

  beforeEach(async () => {
    scenario = await openScenario();
    server = await scenario.serve();
  });
  afterEach(() => scenario.close());

  it("a task that never settles times out, is retried, and frees its slot", async () => {
    scenario.worker({ url: server.url, suffixes: [""], slots: 1 });
    const aiki = await scenario.client(server.url);
    const hanging = await startable("").hang.start(aiki);
    const order = await startOrder(aiki, scenario.actions, "");
    await approve(order, scenario.actions);
    expect(await hanging.result()).toBe(2);
    scenario.actions.started.set(hanging.id, "completed");
    await resultOf(order, scenario.actions);
    const facts = await scenario.facts();
    const failures = facts.entries.flatMap(({ value }) => (value.type === "retrying" ? [value.error.name] : []));
    expect(failures).toEqual(["TaskTimeoutError"]);
  }, 60_000);
});
