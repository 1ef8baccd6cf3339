/** A server that is killed at every named point: before and after the commit of each operation. */

import { afterAll, beforeAll, expect, it } from "vitest";
import type { ProcessFault } from "./fault.ts";
import { violations } from "./invariants.ts";
import { approve, resultOf, startOrder } from "./orders.ts";
import { end, type Running, run } from "./processes.ts";
import { heartbeatMs, openScenario, type RestartableServer, type Scenario } from "./scenario.ts";
import { describeOn, sqlite, topologies } from "./topology.ts";
import type { WorkerOrder } from "./worker-process.ts";

/** Hosts the workers of all scenarios. It is never killed here. */
let host: Running;

beforeAll(async () => {
  host = run("worker-process.ts", { fault: null, jobs: [] });
  await host.prints(/up/);
});
afterAll(() => end(host));

const stages = ["committing", "committed", "answering"];
const answered = ["start", "claim", "record", "child", "suspend", "finish", "renew", "event"];
const unanswered = ["elapse", "child-result"];
const faults: ProcessFault[] = [
  ...answered.flatMap((kind) => stages.map((stage) => `${kind}.${stage}`)),
  ...unanswered.flatMap((kind) => stages.slice(0, 2).map((stage) => `${kind}.${stage}`)),
  ...["record", "child", "suspend", "finish", "event", "elapse"].map((kind) => `${kind}.written-in-part`),
].flatMap((point) => [1, 2].map((nth) => ({ point, nth, signal: "SIGKILL" as const })));

/** Longer than the restart of a server, except in scenarios that need a heartbeat. Milliseconds. */
const patientHeartbeatMs = 4_000;

/** The points on PostgreSQL: before the commit, after the commit, and before the reply. */
const some = ["start.answering", "claim.committed", "record.committing", "finish.committed", "event.answering"];

describeOn(topologies, "a server that is killed", (topology) => {
  const chosen = topology === sqlite ? faults : faults.filter(({ point, nth }) => some.includes(point) && nth === 1);
  it.concurrent.each(chosen)(
    "a server that is killed at $point, hit $nth, loses and duplicates nothing",
    async (fault) => {
      const scenario = await openScenario(topology);
      const server = await scenario.serve({ fault });
      try {
        await orders(scenario, server, fault);
      } finally {
        const stop: WorkerOrder = { type: "stop", url: server.url };
        if (host.isUp) host.send(stop);
        await scenario.close();
      }
    },
    90_000,
  );
});

async function orders(scenario: Scenario, server: RestartableServer, fault: ProcessFault): Promise<void> {
  const isRenewal = fault.point.startsWith("renew");
  const job = { url: server.url, suffixes: [""], slots: 4 };
  const order: WorkerOrder = {
    type: "work",
    job: scenario.job({ ...job, heartbeatMs: isRenewal ? heartbeatMs : patientHeartbeatMs }),
  };
  host.send(order);
  const victim = server.process;
  const back = victim.exited.then(async (exit) => {
    expect(exit.signal).toBe("SIGKILL");
    await server.restart();
  });
  // Awaited below, unless the test fails before that.
  back.catch(() => {});
  const aiki = await scenario.client(server.url);
  const input = isRenewal ? { slowMs: 3 * heartbeatMs } : {};
  const first = await startOrder(aiki, scenario.actions, "", input);
  // This event arrives before the wait is opened, the event of the other order after it.
  await approve(first, scenario.actions);
  const second = await startOrder(aiki, scenario.actions, "", input);
  await second.waitFor("awaiting_event", { timeout: { seconds: 30 } });
  await approve(second, scenario.actions);
  await Promise.all([resultOf(first, scenario.actions), resultOf(second, scenario.actions)]);
  // Two concurrent orders may reach a point in one transaction, which counts as one hit.
  for (let more = 0; more < 2 && victim.isUp; more += 1) {
    const another = await startOrder(aiki, scenario.actions, "", input);
    await approve(another, scenario.actions);
    await resultOf(another, scenario.actions);
  }
  if (victim.isUp) throw new Error(`The server never reached ${fault.point}:${fault.nth}.`);
  await back;
  // If the lease is longer than the restart, the worker keeps its runs and repeats no effect.
  scenario.actions.faults = isRenewal ? 1 : 0;
  await expectNoViolations(scenario, isRenewal);
  server.process.signal("SIGTERM");
  expect(await server.process.exited).toEqual({ code: 0, signal: null });
  await expectNoViolations(scenario, isRenewal);
}

async function expectNoViolations(scenario: Scenario, mayRecover: boolean): Promise<void> {
  const facts = await scenario.facts();
  expect(violations(facts)).toEqual([]);
  const recovered = facts.entries.filter(({ value }) => value.type === "marked" && value.mark === "recovered");
  if (!mayRecover) expect(recovered).toEqual([]);
}
