/** Chooses what to do to whom, and when. Every fault comes once, in an order of the seed's; then by weight. */

import type { Prng } from "../simulate/prng.ts";
import type { FaultKind, Strike, Victims } from "./faults.ts";

export interface ChaosNemesis {
  /** How often each fault was done, and how often it did what it was meant to while work was in flight. */
  readonly tally: ReadonlyMap<string, { done: number; meant: number }>;
  /** Hurts until the time is over, and resolves when everything is healed. */
  run(ms: number): Promise<void>;
}

export interface ChaosNemesisOptions {
  kinds: readonly FaultKind[];
  victims: Victims;
  prng: Prng;
  say: (line: string) => void;
  /** Whether work is in flight. */
  isBusy: () => boolean;
  pace: Pace;
}

/** Milliseconds. */
export interface Pace {
  /** Between one fault and the next. */
  least: number;
  most: number;
  /** How long what is healed is left alone, every few faults. */
  lull: number;
}

/** At most so many faults at once: what is hurt also has to come to itself. */
const most = 3;
/** One in so many turns lets everything heal, and leaves it alone for a while. */
const lullEvery = 6;
/** How often a fault that did not yet do what it was meant to comes before others. */
const haste = 0.4;

export function nemesis({ kinds, victims, prng, say, isBusy, pace }: ChaosNemesisOptions): ChaosNemesis {
  const tally = new Map(kinds.map(({ name }) => [name, { done: 0, meant: 0 }]));
  const first = shuffled(kinds, prng.fork("order"));
  const again: FaultKind[] = [];
  const underWay = new Set<Promise<void>>();
  const alone = new Set<string>();

  const choose = (): { kind: FaultKind; strike: Strike } | null => {
    const missed = () => (prng.chance(haste) ? again.shift() : undefined);
    const kind = first.shift() ?? missed() ?? weighted(kinds, prng);
    const fork = prng.fork(`${kind.name} ${tally.get(kind.name)?.done}`);
    const strike = alone.has(kind.alone ?? "") ? null : kind.aim(victims, fork);
    if (strike === null && tally.get(kind.name)?.meant === 0) again.push(kind);
    return strike === null ? null : { kind, strike };
  };

  const inflict = async (kind: FaultKind, strike: Strike): Promise<void> => {
    const counts = tally.get(kind.name) ?? { done: 0, meant: 0 };
    const wasBusy = isBusy();
    say(`${kind.name}: ${strike.to}`);
    counts.done += 1;
    if (kind.alone !== undefined) alone.add(kind.alone);
    const isMeant = await strike.run().catch((thrown: unknown) => {
      // Another fault may be in the way of this one; a fault that fails every time leaves the run void.
      say(`${kind.name} came to nothing: ${thrown instanceof Error ? thrown.message : thrown}`);
      return false;
    });
    if (kind.alone !== undefined) alone.delete(kind.alone);
    if (isMeant && wasBusy) counts.meant += 1;
    if (counts.meant === 0) again.push(kind);
  };

  return {
    tally,
    async run(ms) {
      const endAt = performance.now() + ms;
      for (let turn = 1; performance.now() < endAt; turn += 1) {
        const chosen = choose();
        if (chosen !== null) {
          const fault = inflict(chosen.kind, chosen.strike).finally(() => underWay.delete(fault));
          underWay.add(fault);
        }
        await wait(prng.between(pace.least, pace.most));
        if (underWay.size >= most) await Promise.race(underWay);
        if (turn % lullEvery === 0) {
          await Promise.all(underWay);
          await wait(pace.lull);
        }
      }
      await Promise.all(underWay);
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
