/** A worker that is stopped past its lease, while another takes over, and then goes on as if nothing happened. */

import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { deedsOf, within } from "./facts.ts";
import type { ProcessFault } from "./fault.ts";
import { violations } from "./invariants.ts";
import { type LedgerEffect, readEffects } from "./ledger.ts";
import { approve, resultOf, startOrder } from "./orders.ts";
import { type FaultPlace, openPlace } from "./place.ts";
import { end, type Running, until } from "./processes.ts";
import type { OrderInput } from "./programs.ts";
import { heartbeatMs } from "./scenario.ts";
import { describeOn, sqlite, topologies } from "./topology.ts";
import type { WorkerOrder } from "./worker-process.ts";

/** Where it stops, and how it hears that the run is not its own any more. */
const lost = /lost .*code=(LEASE_LOST|FENCED)/;
const refused = /refused (FENCED|RUN_FINAL)/;
/** Whether a heartbeat is sent at all depends on which of its clocks the worker looks at first. */
const lostOrRefused = new RegExp(`${lost.source}|${refused.source}`);
const stops: Array<[point: string, hears: RegExp, gated: "reserve" | "thank"]> = [
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

/** On engines that the worker knows nothing of: turned away by its own clock, and by the server. */
const some = ["effect.after", "reporting.record", "reporting.finish"];

describeOn(topologies, "a worker that wakes up after its lease", (topology) => {
  let place: FaultPlace;

  beforeAll(async () => {
    place = await openPlace(topology);
  }, 60_000);
  afterAll(() => place.scene.close());

  const chosen = topology === sqlite ? stops : stops.filter(([point]) => some.includes(point));
  it.concurrent.each(chosen)(
    "at %s is turned away, and the run in other hands is not disturbed",
    async (point, hears, gated) => {
      const { zombie, gate, inOtherHands, finish } = await stopped(place, point, gated);
      await inOtherHands(place.rescuer);
      zombie.signal("SIGCONT");
      await zombie.says(hears);
      writeFileSync(gate, "");
      await finish(1);
      zombie.signal("SIGTERM");
      expect(await zombie.exited).toEqual({ code: 0, signal: null });
    },
    90_000,
  );

  it("inside a task lets its effect happen, under the lower fence by which a service can refuse it", async () => {
    const { scene, rescuer } = place;
    const { zombie, gate, inOtherHands, order } = await stopped(place, "effect.before", "reserve");
    await inOtherHands(rescuer);
    zombie.signal("SIGCONT");
    await zombie.says(lost);
    writeFileSync(gate, "");
    await resultOf(order, scene.deeds);
    const charges = readEffects(scene.ledger).filter(({ runId, task }) => runId === order.id && task === "charge");
    expect(charges.map(({ pid }) => pid)).toEqual([rescuer.pid, zombie.pid]);
    expect(new Set(charges.map(({ key }) => key)).size).toBe(1);
    const [current, ghost] = charges;
    expect(ghost?.fence).toBeLessThan(current?.fence ?? 0);
    await end(zombie);
  }, 90_000);

  it("does not keep the lease of the new holder alive: when that one dies, a third goes on", async () => {
    const { scene, seat, rescuer } = place;
    const { zombie, gate, inOtherHands, finish } = await stopped(place, "renewing", "reserve");
    const second = scene.worker({ url: seat.url, suffixes: [], slots: 1 });
    await second.says(/working/);
    await inOtherHands(second);
    zombie.signal("SIGCONT");
    await zombie.says(lostOrRefused);
    // Awake, it may claim the run anew like anyone; here the third is to have it.
    await end(zombie);
    await end(second);
    await inOtherHands(rescuer);
    writeFileSync(gate, "");
    await finish(2);
  }, 90_000);
});

let scenarios = 0;

/** One order, held by a worker that has stopped itself. */
async function stopped({ scene, seat }: FaultPlace, point: string, gated: "reserve" | "thank") {
  scenarios += 1;
  const suffix = `-${scenarios}`;
  const gate = scene.file(`gate${suffix}`);
  const fault: ProcessFault = { point, nth: 1, signal: "SIGSTOP" };
  const zombie = scene.worker({ url: seat.url, suffixes: [suffix], slots: 1 }, fault);
  const aiki = await scene.client(seat.url);
  const input: OrderInput = { gate, gated, ...(point.startsWith("renew") ? { slowMs: 4 * heartbeatMs } : {}) };
  const order = await startOrder(aiki, scene.deeds, suffix, input);
  await approve(order, scene.deeds);
  await zombie.says(/fault /);
  return {
    zombie,
    gate,
    order,
    /** The other worker serves the program too; done when it stands before the gate. */
    async inOtherHands(other: Running): Promise<void> {
      const takeOver: WorkerOrder = { type: "serve", url: seat.url, ledger: scene.ledger, suffix };
      other.send(takeOver);
      const isThere = ({ runId, task, pid }: LedgerEffect) => runId === order.id && task === gated && pid === other.pid;
      await until(`${gated} after ${point} by another`, () => readEffects(scene.ledger).some(isThere));
    },
    /** The order is done and found sound. */
    async finish(faults: number): Promise<void> {
      await resultOf(order, scene.deeds);
      const mine = new Set([order.id]);
      const facts = within(await scene.facts(deedsOf(scene.deeds, mine, faults)), mine);
      expect(violations(facts)).toEqual([]);
    },
  };
}
