/** A worker that is killed, or stopped past its lease, at every named point, while another takes over. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { deedsOf, within } from "./facts.ts";
import type { ProcessFault } from "./fault.ts";
import { violations } from "./invariants.ts";
import { approve, type OrderHandle, resultOf, startOrder } from "./orders.ts";
import { type FaultPlace, openPlace } from "./place.ts";
import { heartbeatMs } from "./scenario.ts";
import { describeOn, sqlite, topologies } from "./topology.ts";
import type { WorkerOrder } from "./worker-process.ts";

const kinds = ["record", "child", "suspend", "finish"];
const points = [
  "claimed",
  "handler",
  "effect.before",
  "effect.after",
  ...kinds.flatMap((kind) => [`reporting.${kind}`, `reported.${kind}`]),
  "renewing",
  "renewed",
];
const kills: ProcessFault[] = points.flatMap((point) => [1, 2].map((nth) => ({ point, nth, signal: "SIGKILL" })));
/** One for each place in a worker's life: what differs on other engines is not the worker. */
const some = [
  "claimed:1",
  "effect.after:1",
  "reporting.record:2",
  "reported.suspend:1",
  "reported.finish:1",
  "renewed:1",
];

describeOn(topologies, "a worker that is killed", (topology) => {
  /** All scenarios share a server and the worker that takes over; their programs have names of their own. */
  let place: FaultPlace;

  beforeAll(async () => {
    place = await openPlace(topology);
  }, 60_000);
  afterAll(() => place.scene.close());

  const chosen = topology === sqlite ? kills : kills.filter(({ point, nth }) => some.includes(`${point}:${nth}`));
  it.concurrent.each(chosen)(
    "at $point, hit $nth, loses nothing and repeats at most one effect",
    async (fault) => {
      const suffix = `-${fault.point}-${fault.nth}`;
      const { victim, finish } = await begun(place, suffix, fault);
      expect((await victim.exited).signal).toBe("SIGKILL");
      takeOver(place, suffix);
      expect(await finish()).toEqual([]);
    },
    90_000,
  );
});

/** The victim alone serves the scenario's programs, and two orders are under way. */
async function begun({ scene, seat }: FaultPlace, suffix: string, fault: ProcessFault) {
  const victim = scene.worker({ url: seat.url, suffixes: [suffix], slots: 1 }, fault);
  const aiki = await scene.client(seat.url);
  const input = fault.point.startsWith("renew") ? { slowMs: 4 * heartbeatMs } : {};
  const orders: OrderHandle[] = [];
  for (const _ of [1, 2]) {
    const order = await startOrder(aiki, scene.deeds, suffix, input);
    await approve(order, scene.deeds);
    orders.push(order);
  }
  return {
    victim,
    /** Violations once both orders are done. */
    async finish(): Promise<string[]> {
      const outputs = await Promise.all(orders.map((order) => resultOf(order, scene.deeds)));
      expect(new Set(outputs.map(({ thanked }) => thanked)).size).toBe(2);
      const mine = new Set(orders.map(({ id }) => id));
      const facts = await scene.facts(deedsOf(scene.deeds, mine, 1));
      return violations(within(facts, mine));
    },
  };
}

function takeOver({ scene, seat, rescuer }: FaultPlace, suffix: string): void {
  const order: WorkerOrder = { type: "serve", url: seat.url, ledger: scene.ledger, suffix };
  rescuer.send(order);
}
