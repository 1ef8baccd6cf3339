/** A server that is killed while clients pause, resume, wake, cancel and retry a run. */

import { afterAll, beforeAll, expect, it } from "vitest";
import type { ProcessFault } from "./fault.ts";
import { violations } from "./invariants.ts";
import { startable } from "./orders.ts";
import { end, type Running, run, until } from "./processes.ts";
import { openScenario, type RestartableServer, type Scenario } from "./scenario.ts";
import { describeOn, sqlite, topologies } from "./topology.ts";
import type { WorkerOrder } from "./worker-process.ts";

let host: Running;

beforeAll(async () => {
  host = run("worker-process.ts", { fault: null, jobs: [] });
  await host.prints(/up/);
});
afterAll(() => end(host));

/** The names of each request and of its mark in the journal. */
const actions: Array<[request: string, mark: string]> = [
  ["pause", "paused"],
  ["resume", "resumed"],
  ["wake", "woken"],
  ["cancel", "cancelled"],
];
const faults: ProcessFault[] = [
  ...actions.flatMap(([request, mark]) => [
    `${mark}.written-in-part`,
    `${mark}.committing`,
    `${mark}.committed`,
    `${request}.answering`,
  ]),
  "retry.writing",
  "retry.committing",
  "retry.committed",
  "retry.answering",
].map((point) => ({ point, nth: 1, signal: "SIGKILL" }));

const some = ["paused.committing", "resume.answering", "cancelled.committed", "retry.committed"];

describeOn(topologies, "a server that is killed during a signal or retry", (topology) => {
  const chosen = topology === sqlite ? faults : faults.filter(({ point }) => some.includes(point));
  it.concurrent.each(chosen)(
    "a server that is killed at $point has applied the request once after its restart",
    async (fault) => {
      const scenario = await openScenario(topology);
      const server = await scenario.serve({ fault });
      try {
        await commands(scenario, server, fault);
      } finally {
        const stop: WorkerOrder = { type: "stop", url: server.url };
        if (host.isUp) host.send(stop);
        await scenario.close();
      }
    },
    90_000,
  );
});

async function commands(scenario: Scenario, server: RestartableServer, fault: ProcessFault): Promise<void> {
  const job = scenario.job({ url: server.url, suffixes: [""], slots: 4, heartbeatMs: 4_000 });
  const order: WorkerOrder = { type: "work", job };
  host.send(order);
  const victim = server.process;
  const back = victim.exited.then(() => server.restart());
  const { long } = startable("");
  // Awaited below, unless the test fails before that.
  back.catch(() => {});
  const aiki = await scenario.client(server.url);
  const patience = { timeout: { seconds: 30 } };

  const first = await long.start(aiki);
  await first.waitFor("sleeping", patience);
  await first.pause();
  expect(await first.status()).toBe("paused");
  await first.resume();
  expect(await first.status()).toBe("sleeping");
  await first.wake();
  await first.waitFor("awaiting_child_workflow", patience);
  await first.cancel("enough");
  expect(await first.status()).toBe("cancelled");

  const second = await first.retry();
  const [child] = await until("the second run has a child", async () => {
    const { runs } = await aiki.runs.list({ parentId: second.id });
    return runs.length === 1 && runs;
  });
  const shipment = aiki.runs.get(child?.id ?? "");
  await shipment.waitFor("sleeping", patience);
  await shipment.wake();
  scenario.actions.started.set(first.id, "cancelled").set(second.id, "completed");
  scenario.actions.outputs.set(second.id, await second.result());

  if (victim.isUp) throw new Error(`The server never reached ${fault.point}:${fault.nth}.`);
  await back;
  const facts = await scenario.facts();
  expect(violations(facts)).toEqual([]);
  // The payment of the first run is reused, and each command was executed once.
  expect(facts.effects.map(({ task }) => task)).toEqual(["charge", "label"]);
  const marks = facts.entries.flatMap(({ runId, value }) =>
    value.type === "marked" && runId === first.id ? [value.mark] : [],
  );
  expect(marks).toEqual(["pause_requested", "paused", "resumed", "woken", "cancelled"]);
}
