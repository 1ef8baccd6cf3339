/** A worker that is killed at every named point, while another takes over. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { actionsOf, within } from "./facts.ts";
import type { ProcessFault } from "./fault.ts";
import { violations } from "./invariants.ts";
import { approve, type OrderHandle, resultOf, startOrder } from "./orders.ts";
import { openRecoveryScenario, type RecoveryScenario } from "./recovery.ts";
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
/** One point for each phase of a worker, because only the database differs on other backends. */
const some = [
  "claimed:1",
  "effect.after:1",
  "reporting.record:2",
  "reported.suspend:1",
  "reported.finish:1",
  "renewed:1",
];

describeOn(topologies, "a worker that is killed", (topology) => {
  /** All tests share a server and the worker that takes over. The names of their workflows differ. */
  let recovery: RecoveryScenario;

  beforeAll(async () => {
    recovery = await openRecoveryScenario(topology);
  }, 60_000);
  afterAll(() => recovery.scenario.close());

  const chosen = topology === sqlite ? kills : kills.filter(({ point, nth }) => some.includes(`${point}:${nth}`));
  it.concurrent.each(chosen)(
    "a worker that is killed at $point, hit $nth, loses nothing and repeats at most one effect",
    async (fault) => {
      const suffix = `-${fault.point}-${fault.nth}`;
      const { victim, finish } = await begun(recovery, suffix, fault);
      expect((await victim.exited).signal).toBe("SIGKILL");
      takeOver(recovery, suffix);
      expect(await finish()).toEqual([]);
    },
    90_000,
  );
});

/** Starts two orders on a worker that will be killed and that alone serves their workflow. */
async function begun({ scenario, server }: RecoveryScenario, suffix: string, fault: ProcessFault) {
  const victim = scenario.worker({ url: server.url, suffixes: [suffix], slots: 1 }, fault);
  const aiki = await scenario.client(server.url);
  const input = fault.point.startsWith("renew") ? { slowMs: 4 * heartbeatMs } : {};
  const orders: OrderHandle[] = [];
  for (const _ of [1, 2]) {
    const order = await startOrder(aiki, scenario.actions, suffix, input);
    await approve(order, scenario.actions);
    orders.push(order);
  }
  return {
    victim,
    /** Waits until both orders have completed, and returns the violations. */
    async finish(): Promise<string[]> {
      const outputs = await Promise.all(orders.map((order) => resultOf(order, scenario.actions)));
      expect(new Set(outputs.map(({ thanked }) => thanked)).size).toBe(2);
      const mine = new Set(orders.map(({ id }) => id));
      const facts = await scenario.facts(actionsOf(scenario.actions, mine, 1));
      return violations(within(facts, mine));
    },
  };
}

function takeOver({ scenario, server, rescuer }: RecoveryScenario, suffix: string): void {
  const order: WorkerOrder = { type: "serve", url: server.url, ledger: scenario.ledger, suffix };
  rescuer.send(order);
}
