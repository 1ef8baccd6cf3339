/** A server that is killed at every named point: before and after the commit of everything it does. */

import { afterAll, beforeAll, expect, it } from "vitest";
import type { ProcessFault } from "./fault.ts";
import { violations } from "./invariants.ts";
import { approve, resultOf, startOrder } from "./orders.ts";
import { end, type Running, run } from "./processes.ts";
import { heartbeatMs, openScenario, type RestartableServer, type Scenario } from "./scenario.ts";
import { describeOn, sqlite, topologies } from "./topology.ts";
import type { WorkerOrder } from "./worker-process.ts";

/** Executes for all scenarios: it is never the victim here. */
let host: Running;

beforeAll(async () => {
  host = run("worker-process.ts", { fault: null, jobs: [] });
  await host.says(/up/);
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

/** Long enough that a server is back within it, but for those that need a heartbeat to come. Milliseconds. */
const patientHeartbeatMs = 4_000;

/** On a database of its own, a process: before it is told to commit, after it has, and when the answer is lost. */
const some = ["start.answering", "claim.committed", "record.committing", "finish.committed", "event.answering"];

describeOn(topologies, "a server that is killed", (topology) => {
  const chosen = topology === sqlite ? faults : faults.filter(({ point, nth }) => some.includes(point) && nth === 1);
  it.concurrent.each(chosen)(
    "at $point, hit $nth, loses nothing and doubles nothing",
    async (fault) => {
      const scene = await openScenario(topology);
      const seat = await scene.serve({ fault });
      try {
        await orders(scene, seat, fault);
      } finally {
        const rest: WorkerOrder = { type: "rest", url: seat.url };
        if (host.isUp) host.send(rest);
        await scene.close();
      }
    },
    90_000,
  );
});

async function orders(scene: Scenario, seat: RestartableServer, fault: ProcessFault): Promise<void> {
  const isRenewal = fault.point.startsWith("renew");
  const job = { url: seat.url, suffixes: [""], slots: 4 };
  const order: WorkerOrder = {
    type: "work",
    job: scene.job({ ...job, heartbeatMs: isRenewal ? heartbeatMs : patientHeartbeatMs }),
  };
  host.send(order);
  const victim = seat.process;
  const back = victim.exited.then(async (exit) => {
    expect(exit.signal).toBe("SIGKILL");
    await seat.restart();
  });
  // Awaited below, unless something else fails before.
  back.catch(() => {});
  const aiki = await scene.client(seat.url);
  const input = isRenewal ? { slowMs: 3 * heartbeatMs } : {};
  const first = await startOrder(aiki, scene.deeds, "", input);
  // Buffered before the wait; the other order's event meets an open wait.
  await approve(first, scene.deeds);
  const second = await startOrder(aiki, scene.deeds, "", input);
  await second.waitFor("awaiting_event", { timeout: { seconds: 30 } });
  await approve(second, scene.deeds);
  await Promise.all([resultOf(first, scene.deeds), resultOf(second, scene.deeds)]);
  // Two orders at once may come to a point in one transaction, which is one hit.
  for (let more = 0; more < 2 && victim.isUp; more += 1) {
    const another = await startOrder(aiki, scene.deeds, "", input);
    await approve(another, scene.deeds);
    await resultOf(another, scene.deeds);
  }
  if (victim.isUp) throw new Error(`The server never came to ${fault.point}:${fault.nth}.`);
  await back;
  // A worker whose lease outlives the restart goes on: no lease is taken from it, and not one effect is repeated.
  scene.deeds.faults = isRenewal ? 1 : 0;
  await expectSound(scene, isRenewal);
  seat.process.signal("SIGTERM");
  expect(await seat.process.exited).toEqual({ code: 0, signal: null });
  await expectSound(scene, isRenewal);
}

async function expectSound(scene: Scenario, mayRecover: boolean): Promise<void> {
  const facts = await scene.facts();
  expect(violations(facts)).toEqual([]);
  const recovered = facts.entries.filter(({ value }) => value.type === "marked" && value.mark === "recovered");
  if (!mayRecover) expect(recovered).toEqual([]);
}
