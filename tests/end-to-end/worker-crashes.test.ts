/** A worker that is killed, or stopped past its lease, at every named point, while another takes over. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readFacts, within } from "./facts.ts";
import type { Fault } from "./fault.ts";
import { violations } from "./invariants.ts";
import { approve, type OrderHandle, resultOf, startOrder } from "./orders.ts";
import type { Running } from "./processes.ts";
import { heartbeatMs, openScene, type Scene, type Seat } from "./scene.ts";
import type { WorkerOrder } from "./worker-process.ts";

/** All scenarios share a server and the worker that takes over; their programs have names of their own. */
let scene: Scene;
let seat: Seat;
let rescuer: Running;

beforeAll(async () => {
  scene = await openScene();
  seat = await scene.serve();
  rescuer = scene.worker({ url: seat.url, suffixes: [], slots: 100 });
  await rescuer.says(/working/);
}, 60_000);
afterAll(() => scene.close());

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
const kills: Fault[] = points.flatMap((point) => [1, 2].map((nth) => ({ point, nth, signal: "SIGKILL" })));

describe("a worker that is killed", () => {
  it.concurrent.each(kills)(
    "at $point, hit $nth, loses nothing and repeats at most one effect",
    async (fault) => {
      const suffix = `-${fault.point}-${fault.nth}`;
      const { victim, finish } = await begun(suffix, fault);
      expect((await victim.exited).signal).toBe("SIGKILL");
      takeOver(suffix);
      expect(await finish()).toEqual([]);
    },
    90_000,
  );
});

/** The victim alone serves the scenario's programs, and two orders are under way. */
async function begun(suffix: string, fault: Fault) {
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
      const own = <Value>(all: Map<string, Value>) => new Map([...all].filter(([id]) => mine.has(id)));
      const { deeds, path, ledger } = scene;
      const facts = await readFacts(path, ledger, {
        ...deeds,
        started: own(deeds.started),
        outputs: own(deeds.outputs),
        sent: deeds.sent.filter(({ runId }) => mine.has(runId)),
        faults: 1,
      });
      return violations(within(facts, mine));
    },
  };
}

function takeOver(suffix: string): void {
  const order: WorkerOrder = { type: "serve", url: seat.url, ledger: scene.ledger, suffix };
  rescuer.send(order);
}
