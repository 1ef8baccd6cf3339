/** A worker that is stopped until its lease has expired and another has taken over, and then continues. */

import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { actionsOf, within } from "./facts.ts";
import type { ProcessFault } from "./fault.ts";
import { violations } from "./invariants.ts";
import { type LedgerEffect, readEffects } from "./ledger.ts";
import { approve, resultOf, startOrder } from "./orders.ts";
import { end, type Running, until } from "./processes.ts";
import type { OrderInput } from "./programs.ts";
import { openRecoveryScenario, type RecoveryScenario } from "./recovery.ts";
import { heartbeatMs } from "./scenario.ts";
import { describeOn, sqlite, topologies } from "./topology.ts";
import type { WorkerOrder } from "./worker-process.ts";

/** The point at which it stops, and its output when it learns that it has lost the run. */
const lost = /lost .*code=(LEASE_LOST|FENCED)/;
const refused = /refused (FENCED|RUN_FINAL)/;
/** The worker may detect the expired lease by its own clock before or after it sends a heartbeat. */
const lostOrRefused = new RegExp(`${lost.source}|${refused.source}`);
const stops: Array<[point: string, expectedOutput: RegExp, gated: "reserve" | "thank"]> = [
  ["claimed", lost, "reserve"],
  ["handler", lost, "reserve"],
  ["effect.after", lost, "reserve"],
  ["reporting.record", refused, "reserve"],
  ["reported.record", lost, "reserve"],
  ["renewing", lostOrRefused, "reserve"],
  ["renewed", lost, "reserve"],
  ["reporting.child", refused, "thank"],
  ["reported.child", lost, "thank"],
  ["reporting.suspend", refused, "thank"],
  ["reporting.finish", refused, "thank"],
];

/** The points on PostgreSQL: refused by the worker's own clock, and by the server. */
const some = ["effect.after", "reporting.record", "reporting.finish"];

describeOn(topologies, "a worker that continues after its lease has expired", (topology) => {
  let recovery: RecoveryScenario;

  beforeAll(async () => {
    recovery = await openRecoveryScenario(topology);
  }, 60_000);
  afterAll(() => recovery.scenario.close());

  const chosen = topology === sqlite ? stops : stops.filter(([point]) => some.includes(point));
  it.concurrent.each(chosen)(
    "a worker that was stopped at %s until its lease expired is refused, and does not disturb the new holder",
    async (point, expectedOutput, gated) => {
      const { zombie, gate, takeOverBy, finish } = await stopped(recovery, point, gated);
      await takeOverBy(recovery.rescuer);
      zombie.signal("SIGCONT");
      await zombie.prints(expectedOutput);
      writeFileSync(gate, "");
      await finish(1);
      zombie.signal("SIGTERM");
      expect(await zombie.exited).toEqual({ code: 0, signal: null });
    },
    90_000,
  );

  it("an effect of a worker with an expired lease has a lower fence, by which a service can refuse it", async () => {
    const { scenario, rescuer } = recovery;
    const { zombie, gate, takeOverBy, order } = await stopped(recovery, "effect.before", "reserve");
    await takeOverBy(rescuer);
    zombie.signal("SIGCONT");
    await zombie.prints(lost);
    writeFileSync(gate, "");
    await resultOf(order, scenario.actions);
    const charges = readEffects(scenario.ledger).filter(({ runId, task }) => runId === order.id && task === "charge");
    expect(charges.map(({ pid }) => pid)).toEqual([rescuer.pid, zombie.pid]);
    expect(new Set(charges.map(({ key }) => key)).size).toBe(1);
    const [current, former] = charges;
    expect(former?.fence).toBeLessThan(current?.fence ?? 0);
    await end(zombie);
  }, 90_000);

  it("a heartbeat of a former holder does not extend the lease of the new holder", async () => {
    const { scenario, server, rescuer } = recovery;
    const { zombie, gate, takeOverBy, finish } = await stopped(recovery, "renewing", "reserve");
    const second = scenario.worker({ url: server.url, suffixes: [], slots: 1 });
    await second.prints(/working/);
    await takeOverBy(second);
    zombie.signal("SIGCONT");
    await zombie.prints(lostOrRefused);
    // The former holder could claim the run again, but here the third worker must get it.
    await end(zombie);
    await end(second);
    await takeOverBy(rescuer);
    writeFileSync(gate, "");
    await finish(2);
  }, 90_000);
});

let scenarios = 0;

/** Starts an order on a worker that stops itself at the point. */
async function stopped({ scenario, server }: RecoveryScenario, point: string, gated: "reserve" | "thank") {
  scenarios += 1;
  const suffix = `-${scenarios}`;
  const gate = scenario.file(`gate${suffix}`);
  const fault: ProcessFault = { point, nth: 1, signal: "SIGSTOP" };
  const zombie = scenario.worker({ url: server.url, suffixes: [suffix], slots: 1 }, fault);
  const aiki = await scenario.client(server.url);
  const input: OrderInput = { gate, gated, ...(point.startsWith("renew") ? { slowMs: 4 * heartbeatMs } : {}) };
  const order = await startOrder(aiki, scenario.actions, suffix, input);
  await approve(order, scenario.actions);
  await zombie.prints(/fault /);
  return {
    zombie,
    gate,
    order,
    /** Lets the other worker serve the workflow. Resolves when it waits at the gate. */
    async takeOverBy(other: Running): Promise<void> {
      const takeOver: WorkerOrder = { type: "serve", url: server.url, ledger: scenario.ledger, suffix };
      other.send(takeOver);
      const isThere = ({ runId, task, pid }: LedgerEffect) => runId === order.id && task === gated && pid === other.pid;
      await until(`${gated} after ${point} by another`, () => readEffects(scenario.ledger).some(isThere));
    },
    /** Waits until the order has completed, and checks the invariants. */
    async finish(faults: number): Promise<void> {
      await resultOf(order, scenario.actions);
      const mine = new Set([order.id]);
      const facts = within(await scenario.facts(actionsOf(scenario.actions, mine, faults)), mine);
      expect(violations(facts)).toEqual([]);
    },
  };
}
