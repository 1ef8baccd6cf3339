/**
 * What must hold however many processes were killed, paused or doubled. Each checker answers with one line per
 * violation. Numbers in brackets cite the invariants at the head of the server's core.
 */

import { decode } from "@aikirun/lib";
import type { Entry } from "@aikirun/lib/protocol";
import type { Facts } from "./facts.ts";
import type { Effect } from "./ledger.ts";

export const checkers = {
  /** An acknowledged start is there, once, and ended as it must. */
  started({ started, runs }) {
    return [...started].flatMap(([id, status]) => {
      const found = runs.filter((run) => run.id === id);
      if (found.length !== 1) return [`run ${id} is there ${found.length} times`];
      const actual = found[0]?.state.status;
      return actual === status ? [] : [`run ${id} is ${actual}, not ${status}`];
    });
  },

  /** Everything that began came to an end, and nobody holds what ended. */
  ended({ runs, started }) {
    const ends = ["completed", "failed", "cancelled"];
    return runs
      .filter(({ id, state }) => !ends.includes(state.status) && started.get(id) !== state.status)
      .map(({ id, name, state }) => `run ${id} of ${name} is still ${state.status}`);
  },

  /** The record has no gaps: `seq` is 1, 2, 3, … */
  dense({ runs, entries }) {
    return runs.flatMap(({ id }) => {
      const seqs = of(entries, id).map(({ seq }) => seq);
      return seqs.every((seq, index) => seq === index + 1) ? [] : [`seq of ${id} runs ${seqs.join(" ")}`];
    });
  },

  /** One value per address and attempt, for ever [R3]. */
  oneValue({ entries }) {
    return repeated(entries.map(({ runId, attempt, address }) => `${runId} ${attempt} ${address}`)).map(
      (key) => `recorded twice: ${key}`,
    );
  },

  /** Along the record neither fence nor clock runs backwards, and no fence is above the run's own [R2]. */
  forward({ runs, entries }) {
    return runs.flatMap(({ id, fence }) =>
      of(entries, id).flatMap((entry, index, all) => {
        const before = all[index - 1];
        const isBack = before !== undefined && (entry.fence < before.fence || entry.at < before.at);
        return isBack || entry.fence > fence ? [`${id} goes back at seq ${entry.seq}`] : [];
      }),
    );
  },

  /** Entries and children belong to runs that exist. */
  orphans({ runs, entries }) {
    const known = new Set(runs.map(({ id }) => id));
    const lost = entries.filter(({ runId }) => !known.has(runId)).map(({ runId, seq }) => `entry ${seq} of ${runId}`);
    const alone = runs.filter(({ parent }) => parent !== null && !known.has(parent.id)).map(({ id }) => `child ${id}`);
    return [...lost, ...alone];
  },

  /** What is recorded of a task is what one of its effects returned, recorded under the fence that had the effect. */
  recordedFromEffect({ entries, effects }) {
    return entries.filter(isTaskResult).flatMap((entry) => {
      const nonce = nonceOf(entry);
      const from = effects.find((effect) => effect.nonce === nonce);
      // A retry recalls, as attempt 0, what an earlier run of its chain did.
      if (from !== undefined && entry.attempt === 0) return [];
      if (from?.key !== keyOf(entry)) return [`${keyOf(entry)} was recorded without an effect`];
      return from.fence === entry.fence ? [] : [`${keyOf(entry)} was recorded by another holder`];
    });
  },

  /** An effect happens once, and once more for each fault at most. */
  fewEffects({ effects, faults }) {
    return [...byKey(effects)].flatMap(([key, all]) =>
      all.length <= 1 + faults ? [] : [`${key} happened ${all.length} times for ${faults} faults`],
    );
  },

  /** A repeat carries the same key, and a higher fence than the one before it. */
  fencedRepeats({ effects }) {
    return [...byKey(effects)].flatMap(([key, all]) =>
      all.every(({ fence }, index) => index === 0 || fence > (all[index - 1]?.fence ?? 0))
        ? []
        : [`${key} happened under fences ${all.map(({ fence }) => fence).join(" ")}`],
    );
  },

  /** Once a holder has acted, no earlier holder of the same run acts any more. */
  lateGhosts({ effects }) {
    const highest = new Map<string, number>();
    return effects.flatMap(({ runId, fence, key }) => {
      const before = highest.get(runId) ?? 0;
      highest.set(runId, Math.max(before, fence));
      return fence < before ? [`${key} happened under fence ${fence} after ${before}`] : [];
    });
  },

  /** The key of an effect is that of its run and address: two effects of one task of one run never differ in it. */
  sameKey({ effects }) {
    const keys = new Map<string, string>();
    return effects.flatMap(({ runId, task, key }) => {
      const known = keys.get(`${runId} ${task}`) ?? key;
      keys.set(`${runId} ${task}`, known);
      return known === key && key.startsWith(`${runId}:`) ? [] : [`${task} of ${runId} has keys ${known} and ${key}`];
    });
  },

  /** No timer is early, by the database's clock: a sleep begins no sooner than what the run itself did before it. */
  timers({ entries, sleeps }) {
    return entries.flatMap((entry) => {
      const ms = sleeps[entry.address];
      if (ms === undefined || entry.value.type !== "elapsed" || entry.value.early === true) return [];
      const before = of(entries, entry.runId).filter(({ seq }) => seq < entry.seq);
      const began = before.findLast(isOwnDeed)?.at ?? 0;
      return entry.at - began >= ms ? [] : [`${entry.address} of ${entry.runId} took ${entry.at - began} of ${ms} ms`];
    });
  },

  /** An acknowledged event is recorded once, and no arrival reaches two waits. */
  events({ sent, entries }) {
    const lost = sent.flatMap(({ runId, name, referenceId }) => {
      const address = `arrival:${name}:${referenceId}`;
      const count = of(entries, runId).filter((entry) => entry.address === address).length;
      return count === 1 ? [] : [`event ${referenceId} of ${runId} is there ${count} times`];
    });
    const taken = entries.flatMap(({ runId, value }) =>
      value.type === "received" ? [`${runId} ${value.name} ${value.nth}`] : [],
    );
    return [...lost, ...repeated(taken).map((key) => `taken twice: ${key}`)];
  },

  /** What a client was told is what rests on disk. */
  stable({ outputs, runs }) {
    return [...outputs].flatMap(([id, told]) => {
      const state = runs.find((run) => run.id === id)?.state;
      const kept = state?.status === "completed" ? decode(state.output) : undefined;
      return JSON.stringify(kept) === JSON.stringify(told) ? [] : [`${id} was told as ${JSON.stringify(told)}`];
    });
  },

  /** The file is whole. */
  integrity({ integrity }) {
    return integrity.filter((line) => line !== "ok");
  },
} as const satisfies Record<string, (facts: Facts) => string[]>;

/** Every violation of every invariant, with the invariant's name. */
export function violations(facts: Facts): string[] {
  return Object.entries(checkers).flatMap(([name, check]) => check(facts).map((line) => `${name}: ${line}`));
}

function of(entries: Entry[], runId: string): Entry[] {
  return entries.filter((entry) => entry.runId === runId).sort((left, right) => left.seq - right.seq);
}

function repeated(keys: string[]): string[] {
  return [...new Set(keys.filter((key, index) => keys.indexOf(key) !== index))];
}

function byKey(effects: Effect[]): Map<string, Effect[]> {
  const groups = new Map<string, Effect[]>();
  for (const effect of effects) groups.set(effect.key, [...(groups.get(effect.key) ?? []), effect]);
  return groups;
}

/** Reported by a worker, unlike what arrives meanwhile. */
function isOwnDeed({ worker, value }: Entry): boolean {
  return worker !== undefined || value.type === "started";
}

function isTaskResult({ address, value }: Entry): boolean {
  return address.startsWith("task:") && value.type === "returned";
}

function keyOf({ runId, address }: Entry): string {
  return `${runId}:${address}`;
}

function nonceOf({ value }: Entry): string | null {
  if (value.type !== "returned") return null;
  const output = decode(value.output);
  return typeof output === "object" && output !== null && "nonce" in output ? String(output.nonce) : null;
}
