/** The nemesis injects every fault, and counts only the faults that took effect. */

import { expect, it } from "vitest";
import { noActions } from "../end-to-end/facts.ts";
import { prng } from "../simulate/prng.ts";
import type { FaultKind, FaultTargets } from "./faults.ts";
import { nemesis } from "./nemesis.ts";

const targets: FaultTargets = {
  engines: { database: "sqlite:none", postgres: null, redis: null, standby: null, close: async () => {} },
  fleet: {
    members: [],
    proxies: [],
    databaseProxies: [],
    redisProxy: null,
    exits: [],
    output: () => "",
    pauses: () => [],
    loggedErrors: () => [],
    close: async () => {},
  },
  harms: [],
  actions: noActions({}),
};

function kind(name: string, weight: number, run: () => Promise<boolean>): FaultKind {
  return { name, weight, plan: () => ({ to: "none", run }) };
}

it("the nemesis injects each fault once, and counts only those that took effect while work was in flight", async () => {
  let isBusy = true;
  const kinds: FaultKind[] = [
    kind("frequent", 1_000, async () => true),
    kind("rare", 0, async () => true),
    kind("ineffective", 0, async () => false),
    kind("failing", 0, () => Promise.reject(new Error("no"))),
    { name: "untargeted", weight: 0, plan: () => null },
  ];
  const pace = { leastMs: 1, mostMs: 3, pauseMs: 1 };
  const options = { targets, pace, say: () => {}, isBusy: () => isBusy };
  const made = nemesis({ ...options, kinds, prng: prng("1") });
  await made.run(300);
  const effective = Object.fromEntries([...made.tally].map(([name, count]) => [name, count.effective > 0]));
  expect(effective).toEqual({ frequent: true, rare: true, ineffective: false, failing: false, untargeted: false });
  isBusy = false;
  const idle = nemesis({ ...options, kinds: [kind("rare", 1, async () => true)], prng: prng("1") });
  await idle.run(1);
  expect([...idle.tally.values()]).toEqual([{ done: 1, effective: 0 }]);
});

it("the nemesis repeats a fault that had no target in its turn", async () => {
  const rare = Array.from({ length: 10 }, (_, n): FaultKind => {
    let isFree = false;
    const aim = () => {
      const strike = isFree ? { to: "none", run: async () => true } : null;
      isFree = true;
      return strike;
    };
    return { name: `kind ${n}`, weight: 0, plan: aim };
  });
  const kinds = [kind("frequent", 1_000, async () => true), ...rare];
  const pace = { leastMs: 0, mostMs: 0, pauseMs: 0 };
  const made = nemesis({ kinds, targets: targets, prng: prng("1"), pace, say: () => {}, isBusy: () => true });
  await made.run(500);
  expect([...made.tally].filter(([, { effective }]) => effective === 0)).toEqual([]);
});
