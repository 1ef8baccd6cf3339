/** The nemesis does everything that it can, and takes nothing for done that did not do what it was meant to. */

import { expect, it } from "vitest";
import { noActions } from "../end-to-end/facts.ts";
import { prng } from "../simulate/prng.ts";
import type { FaultKind, Victims } from "./faults.ts";
import { nemesis } from "./nemesis.ts";

const victims: Victims = {
  engines: { database: "sqlite:none", postgres: null, redis: null, standby: null, close: async () => {} },
  fleet: {
    members: [],
    proxies: [],
    databaseProxies: [],
    redisProxy: null,
    deaths: [],
    said: () => "",
    latenesses: () => [],
    alarms: () => [],
    close: async () => {},
  },
  harms: [],
  deeds: noActions({}),
};

function kind(name: string, weight: number, run: () => Promise<boolean>): FaultKind {
  return { name, weight, aim: () => ({ to: "nobody", run }) };
}

it("does each at least once, and counts as meant only what took effect while work was in flight", async () => {
  let isBusy = true;
  const kinds: FaultKind[] = [
    kind("frequent", 1_000, async () => true),
    kind("rare", 0, async () => true),
    kind("futile", 0, async () => false),
    kind("failing", 0, () => Promise.reject(new Error("no"))),
    { name: "aimless", weight: 0, aim: () => null },
  ];
  const pace = { least: 1, most: 3, lull: 1 };
  const options = { victims, pace, say: () => {}, isBusy: () => isBusy };
  const made = nemesis({ ...options, kinds, prng: prng("1") });
  await made.run(300);
  const meant = Object.fromEntries([...made.tally].map(([name, count]) => [name, count.meant > 0]));
  expect(meant).toEqual({ frequent: true, rare: true, futile: false, failing: false, aimless: false });
  isBusy = false;
  const idle = nemesis({ ...options, kinds: [kind("rare", 1, async () => true)], prng: prng("1") });
  await idle.run(1);
  expect([...idle.tally.values()]).toEqual([{ done: 1, meant: 0 }]);
});

it("comes back to each that could not be done in its turn", async () => {
  const rare = Array.from({ length: 10 }, (_, n): FaultKind => {
    let isFree = false;
    const aim = () => {
      const strike = isFree ? { to: "nobody", run: async () => true } : null;
      isFree = true;
      return strike;
    };
    return { name: `kind ${n}`, weight: 0, aim };
  });
  const kinds = [kind("frequent", 1_000, async () => true), ...rare];
  const pace = { least: 0, most: 0, lull: 0 };
  const made = nemesis({ kinds, victims, prng: prng("1"), pace, say: () => {}, isBusy: () => true });
  await made.run(500);
  expect([...made.tally].filter(([, { meant }]) => meant === 0)).toEqual([]);
});
