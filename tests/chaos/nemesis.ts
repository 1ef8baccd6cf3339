/** Injects faults at random. Each fault comes once, in an order that depends on the seed. Then it draws by weight. */

import type { Prng } from "../simulate/prng.ts";
import type { FaultKind, FaultTargets, PlannedFault } from "./faults.ts";

export interface ChaosNemesis {
  /** How often each fault was injected, and how often it took effect while work was in flight. */
  readonly tally: ReadonlyMap<string, { done: number; effective: number }>;
  /** Injects faults for `ms`, and resolves when all faults have ended. */
  run(ms: number): Promise<void>;
}

export interface ChaosNemesisOptions {
  kinds: readonly FaultKind[];
  targets: FaultTargets;
  prng: Prng;
  say: (line: string) => void;
  /** Whether work is in flight. */
  isBusy: () => boolean;
  pace: Pace;
}

export interface Pace {
  /** The range of the time between two faults. */
  leastMs: number;
  mostMs: number;
  /** How long no fault is injected in some turns. */
  pauseMs: number;
}

/** The maximum number of faults at once, so that processes can recover. */
const maxFaults = 3;
/** In every sixth turn all faults are ended, and no fault is injected for a moment. */
const pauseEvery = 6;
/** The probability that a fault that has not yet taken effect is repeated before others. */
const retryChance = 0.4;

export function nemesis({ kinds, targets, prng, say, isBusy, pace }: ChaosNemesisOptions): ChaosNemesis {
  const tally = new Map(kinds.map(({ name }) => [name, { done: 0, effective: 0 }]));
  const first = shuffled(kinds, prng.fork("order"));
  const toRepeat: FaultKind[] = [];
  const inProgress = new Set<Promise<void>>();
  const exclusive = new Set<string>();

  const choose = (): { kind: FaultKind; planned: PlannedFault } | null => {
    const retried = () => (prng.chance(retryChance) ? toRepeat.shift() : undefined);
    const kind = first.shift() ?? retried() ?? weighted(kinds, prng);
    const fork = prng.fork(`${kind.name} ${tally.get(kind.name)?.done}`);
    const planned = exclusive.has(kind.exclusive ?? "") ? null : kind.plan(targets, fork);
    if (planned === null && tally.get(kind.name)?.effective === 0) toRepeat.push(kind);
    return planned === null ? null : { kind, planned };
  };

  const inject = async (kind: FaultKind, planned: PlannedFault): Promise<void> => {
    const counts = tally.get(kind.name) ?? { done: 0, effective: 0 };
    const wasBusy = isBusy();
    say(`${kind.name}: ${planned.to}`);
    counts.done += 1;
    if (kind.exclusive !== undefined) exclusive.add(kind.exclusive);
    const isEffective = await planned.run().catch((thrown: unknown) => {
      // Another fault may prevent this one. If a fault fails every time, the test does not pass.
      say(`${kind.name} failed: ${thrown instanceof Error ? thrown.message : thrown}`);
      return false;
    });
    if (kind.exclusive !== undefined) exclusive.delete(kind.exclusive);
    if (isEffective && wasBusy) counts.effective += 1;
    if (counts.effective === 0) toRepeat.push(kind);
  };

  return {
    tally,
    async run(ms) {
      const endAt = performance.now() + ms;
      for (let turn = 1; performance.now() < endAt; turn += 1) {
        const chosen = choose();
        if (chosen !== null) {
          const fault = inject(chosen.kind, chosen.planned).finally(() => inProgress.delete(fault));
          inProgress.add(fault);
        }
        await wait(prng.between(pace.leastMs, pace.mostMs));
        if (inProgress.size >= maxFaults) await Promise.race(inProgress);
        if (turn % pauseEvery === 0) {
          await Promise.all(inProgress);
          await wait(pace.pauseMs);
        }
      }
      await Promise.all(inProgress);
    },
  };
}

function weighted(kinds: readonly FaultKind[], prng: Prng): FaultKind {
  const total = kinds.reduce((sum, { weight }) => sum + weight, 0);
  let left = prng.next() * total;
  for (const kind of kinds) {
    left -= kind.weight;
    if (left < 0) return kind;
  }
  return prng.pick(kinds);
}

function shuffled<Item>(items: readonly Item[], prng: Prng): Item[] {
  return items
    .map((item) => ({ item, at: prng.next() }))
    .sort((left, right) => left.at - right.at)
    .map(({ item }) => item);
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
