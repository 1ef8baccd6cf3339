/** A server that is killed while people pause, resume, wake, cancel and retry a run. */

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
  await host.says(/up/);
});
afterAll(() => end(host));

/** What the request is called, and what is recorded of it. */
const deeds: Array<[request: string, mark: string]> = [
  ["pause", "paused"],
  ["resume", "resumed"],
  ["wake", "woken"],
  ["cancel", "cancelled"],
];
const faults: ProcessFault[] = [
  ...deeds.flatMap(([request, mark]) => [
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

describeOn(topologies, "a server that is killed while it is told what to do", (topology) => {
  const chosen = topology === sqlite ? faults : faults.filter(({ point }) => some.includes(point));
  it.concurrent.each(chosen)(
    "at $point has done it once when it is back",
    async (fault) => {
      const scene = await openScenario(topology);
      const seat = await scene.serve({ fault });
      try {
        await commands(scene, seat, fault);
      } finally {
        const rest: WorkerOrder = { type: "rest", url: seat.url };
        if (host.isUp) host.send(rest);
        await scene.close();
      }
    },
    90_000,
  );
});

async function commands(scene: Scenario, seat: RestartableServer, fault: ProcessFault): Promise<void> {
  const job = scene.job({ url: seat.url, suffixes: [""], slots: 4, heartbeatMs: 4_000 });
  const order: WorkerOrder = { type: "work", job };
  host.send(order);
  const victim = seat.process;
  const back = victim.exited.then(() => seat.restart());
  const { long } = startable("");
  // Awaited below, unless something else fails before.
  back.catch(() => {});
  const aiki = await scene.client(seat.url);
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
  scene.deeds.started.set(first.id, "cancelled").set(second.id, "completed");
  scene.deeds.outputs.set(second.id, await second.result());

  if (victim.isUp) throw new Error(`The server never came to ${fault.point}:${fault.nth}.`);
  await back;
  const facts = await scene.facts();
  expect(violations(facts)).toEqual([]);
  // What the first run had paid is reused, not paid again; each command was carried out once.
  expect(facts.effects.map(({ task }) => task)).toEqual(["charge", "label"]);
  const marks = facts.entries.flatMap(({ runId, value }) =>
    value.type === "marked" && runId === first.id ? [value.mark] : [],
  );
  expect(marks).toEqual(["pause_requested", "paused", "resumed", "woken", "cancelled"]);
}
