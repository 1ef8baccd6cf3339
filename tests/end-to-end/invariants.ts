/**
 * What must hold however many processes were killed, paused or doubled. Each checker answers with one line per
 * violation. Numbers in brackets cite the invariants at the head of the server's core.
 */

import { decode, resultAddress } from "@aikirun/lib/internal";
import type { Entry, RunId } from "@aikirun/lib/protocol";
import { isFinal } from "../../packages/server/src/core/draft.ts";
import type { WholeRun } from "../../packages/server/src/core/run.ts";
import type { Facts } from "./facts.ts";
import type { LedgerEffect } from "./ledger.ts";

export const checkers = {
  /** An acknowledged start is there, once, and ended as it must. */
  started({ started, runs }) {
    const found = grouped(runs, ({ id }) => id);
    return [...started].flatMap(([id, status]) => {
      const [run, ...others] = found.get(id) ?? [];
      if (run === undefined || others.length > 0) return [`run ${id} is there ${found.get(id)?.length ?? 0} times`];
      return run.state.status === status ? [] : [`run ${id} is ${run.state.status}, not ${status}`];
    });
  },

  /** Everything that began came to an end, and nobody holds what ended. */
  ended({ runs, started }) {
    return runs
      .filter(({ id, state }) => !isFinal(state) && started.get(id) !== state.status)
      .map(({ id, name, state }) => `run ${id} of ${name} is still ${state.status}`);
  },

  /** What ended waits for nothing, and no clock looks at it. */
  atRest({ runs }) {
    return runs
      .filter(({ state, waits, dueAt }) => isFinal(state) && (waits.length > 0 || dueAt !== null))
      .map(
        ({ id, state, dueAt, waits }) => `${state.status} run ${id} has ${waits.length} waits and is due at ${dueAt}`,
      );
  },

  /** One run per reference. */
  references({ runs }) {
    const keys = runs.flatMap(({ namespace, name, referenceId }) =>
      referenceId === null ? [] : [`${namespace} ${name} ${referenceId}`],
    );
    return repeated(keys).map((key) => `two runs have the reference ${key}`);
  },

  /** The record has no gaps: `seq` is 1, 2, 3, … */
  dense({ entries }) {
    return [...journals(entries)].flatMap(([id, journal]) => {
      const seqs = journal.map(({ seq }) => seq);
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
    const all = journals(entries);
    return runs.flatMap(({ id, fence }) =>
      (all.get(id) ?? []).flatMap((entry, index, journal) => {
        const before = journal[index - 1];
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

  /** A child is one run, and its parent, unless it ended first, knows how it ended. */
  children({ runs, entries }) {
    const parents = new Map(runs.map((run) => [run.id, run]));
    const told = new Set(entries.map(({ runId, address }) => `${runId} ${address}`));
    const of = runs.flatMap(({ parent }) => (parent === null ? [] : [`${parent.id} ${parent.address}`]));
    const untold = runs.flatMap((child) => {
      const parent = parents.get(child.parent?.id ?? "");
      if (parent === undefined || child.parent === null || !isFinal(child.state) || isFinal(parent.state)) return [];
      const address = resultAddress(child.parent.address);
      return told.has(`${parent.id} ${address}`) ? [] : [`${parent.id} was not told that ${child.id} ended`];
    });
    return [...repeated(of).map((key) => `two runs are the child ${key}`), ...untold];
  },

  /** The children of what failed or was cancelled ended with it. */
  survivors({ runs }) {
    const parents = new Map(runs.map((run) => [run.id, run]));
    return runs.flatMap(({ id, parent, options, state }) => {
      const above = parents.get(parent?.id ?? "")?.state.status;
      const isLost = above === "failed" || above === "cancelled";
      return isLost && options.onParentEnd === undefined && !isFinal(state)
        ? [`${id} outlives its ${above} parent`]
        : [];
    });
  },

  /** Nobody waits for an event that is there [R6]. */
  wakeUps({ runs }) {
    return runs.filter(isParked).flatMap(({ id, waits, events }) =>
      waits.flatMap(({ type, name = "" }) => {
        const { arrived, taken } = events.get(name) ?? { arrived: 0, taken: 0 };
        return type === "event" && arrived > taken ? [`${id} waits for ${name}, which is there`] : [];
      }),
    );
  },

  /** What is recorded of a task is what one of its effects returned, recorded under the fence that had the effect. */
  recordedFromEffect({ entries, effects }) {
    const byNonce = new Map(effects.map((effect) => [effect.nonce, effect]));
    return entries.filter(isTaskResult).flatMap((entry) => {
      const from = byNonce.get(nonceOf(entry) ?? "");
      // A retry reuses, as attempt 0, what an earlier run of its chain did.
      if (from !== undefined && entry.attempt === 0) return [];
      if (from?.key !== keyOf(entry)) return [`${keyOf(entry)} was recorded without an effect`];
      return from.fence === entry.fence ? [] : [`${keyOf(entry)} was recorded by another holder`];
    });
  },

  /** An effect happens once, and once more for each fault at most. */
  fewEffects({ effects, faults }) {
    return [...grouped(effects, tryOf)].flatMap(([key, all]) =>
      all.length <= 1 + faults ? [] : [`${key} happened ${all.length} times for ${faults} faults`],
    );
  },

  /** A repeat carries the same key, and a higher fence than the one before it. */
  fencedRepeats({ effects, stops }) {
    const late = lateEffects(effects, stops);
    return [...grouped(effects, tryOf)].flatMap(([key, all]) => {
      const fences = all.map(({ fence }) => fence);
      const inOrder = all.filter((effect) => !late.has(effect));
      const rises = inOrder.every(({ fence }, index) => index === 0 || fence > (inOrder[index - 1]?.fence ?? 0));
      return rises && new Set(fences).size === all.length ? [] : [`${key} happened under fences ${fences.join(" ")}`];
    });
  },

  /** Once a holder has acted, no earlier one acts any more, but for one that was stopped on its way to the effect. */
  lateGhosts({ effects, stops }) {
    const highest = new Map<string, number>();
    const late = lateEffects(effects, stops);
    return effects.flatMap((effect) => {
      const { runId, fence, key } = effect;
      const before = highest.get(runId) ?? 0;
      highest.set(runId, Math.max(before, fence));
      return fence < before && !late.has(effect) ? [`${key} happened under fence ${fence} after ${before}`] : [];
    });
  },

  /** A fence has one holder: what happened under it was done by one process, and recorded by one worker [R4]. */
  oneHolder({ effects, entries }) {
    const doers = effects.map(({ runId, fence, pid }) => ({ held: `${runId} under fence ${fence}`, by: String(pid) }));
    const writers = entries.flatMap(({ runId, fence, worker, attempt }) =>
      worker === undefined || attempt === 0 ? [] : [{ held: `${runId} under fence ${fence}`, by: worker }],
    );
    return [doers, writers].flatMap((deeds) =>
      [...grouped(deeds, ({ held }) => held)].flatMap(([held, all]) => {
        const holders = new Set(all.map(({ by }) => by));
        return holders.size === 1 ? [] : [`${held} was in the hands of ${[...holders].join(" and ")}`];
      }),
    );
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
    const all = journals(entries);
    return entries.flatMap((entry) => {
      const ms = sleeps[entry.address];
      if (ms === undefined || entry.value.type !== "elapsed" || entry.value.early === true) return [];
      const before = (all.get(entry.runId) ?? []).filter(({ seq }) => seq < entry.seq);
      const began = before.findLast(isOwnDeed)?.at ?? 0;
      return entry.at - began >= ms ? [] : [`${entry.address} of ${entry.runId} took ${entry.at - began} of ${ms} ms`];
    });
  },

  /** An acknowledged event is recorded once, and no arrival reaches two waits. */
  events({ sent, entries }) {
    const arrived = grouped(
      entries.filter(({ value }) => value.type === "arrived"),
      ({ runId, address }) => `${runId} ${address}`,
    );
    const lost = sent.flatMap(({ runId, name, referenceId }) => {
      const count = arrived.get(`${runId} arrival:${name}:${referenceId}`)?.length ?? 0;
      return count === 1 ? [] : [`event ${referenceId} of ${runId} is there ${count} times`];
    });
    const taken = entries.flatMap(({ runId, value }) =>
      value.type === "received" ? [`${runId} ${value.name} ${value.nth}`] : [],
    );
    return [...lost, ...repeated(taken).map((key) => `taken twice: ${key}`)];
  },

  /** What a client was told is what rests on disk. */
  stable({ outputs, runs }) {
    const states = new Map(runs.map(({ id, state }) => [id, state]));
    return [...outputs].flatMap(([id, told]) => {
      const state = states.get(id);
      const kept = state?.status === "completed" ? decode(state.output) : undefined;
      return JSON.stringify(kept) === JSON.stringify(told) ? [] : [`${id} was told as ${JSON.stringify(told)}`];
    });
  },

  /** The files are whole. */
  integrity({ integrity }) {
    return integrity.filter((line) => line !== "ok");
  },
} as const satisfies Checkers<Facts>;

export type Checkers<Known> = Record<string, (facts: Known) => string[]>;

/** Every violation of every invariant, with the invariant's name. */
export function violations(facts: Facts): string[] {
  return found(checkers, facts);
}

export function found<Known>(all: Checkers<Known>, facts: Known): string[] {
  return Object.entries(all).flatMap(([name, check]) => check(facts).map((line) => `${name}: ${line}`));
}

/** Entries by run, in the order of the record. */
export function journals(entries: readonly Entry[]): Map<RunId, Entry[]> {
  const all = grouped(entries, ({ runId }) => runId);
  for (const journal of all.values()) journal.sort((left, right) => left.seq - right.seq);
  return all;
}

export function grouped<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

function repeated(keys: readonly string[]): string[] {
  return [...grouped(keys, (key) => key)].flatMap(([key, all]) => (all.length > 1 ? [key] : []));
}

/** One try of one effect. */
export function tryOf({ key, attempt }: LedgerEffect): string {
  return attempt === 1 ? key : `${key} (try ${attempt})`;
}

/**
 * Effects, in the order in which they were written, whose process was stopped on the way to them, and had to notice:
 * until then it goes on where it stood. A process reads the clock just before it writes; that it was stopped in between
 * shows in a line before its own that was begun after the stop.
 */
function lateEffects(effects: readonly LedgerEffect[], stops: Facts["stops"]): Set<LedgerEffect> {
  let writtenAt = 0;
  return new Set(
    effects.filter(({ pid, at }) => {
      writtenAt = Math.max(writtenAt, at);
      return stops.some((stop) => stop.pid === pid && writtenAt >= stop.from && at <= stop.until + noticeMs);
    }),
  );
}

/** In which a process that goes on looks at its clock. Milliseconds. */
const noticeMs = 500;

/** Reported by a worker, unlike what arrives meanwhile. */
function isOwnDeed({ worker, value }: Entry): boolean {
  return worker !== undefined || value.type === "started";
}

function isParked({ state }: WholeRun): boolean {
  return !isFinal(state) && state.status !== "paused" && state.status !== "stalled";
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
