/**
 * The invariants that hold however many processes are killed, stopped or duplicated. Each checker returns one line
 * for each violation. Numbers in brackets refer to the invariants in the head comment of the server's core.
 */

import { decode, resultAddress } from "@aikirun/lib/internal";
import type { Entry, RunId } from "@aikirun/lib/protocol";
import { isFinal } from "../../packages/server/src/core/draft.ts";
import type { WholeRun } from "../../packages/server/src/core/run.ts";
import type { Facts } from "./facts.ts";
import type { LedgerEffect } from "./ledger.ts";

export const checkers = {
  /** Each acknowledged start is stored once, and its run ended with the expected status. */
  started({ started, runs }) {
    const found = grouped(runs, ({ id }) => id);
    return [...started].flatMap(([id, status]) => {
      const [run, ...others] = found.get(id) ?? [];
      if (run === undefined || others.length > 0) return [`run ${id} exists ${found.get(id)?.length ?? 0} times`];
      return run.state.status === status ? [] : [`run ${id} is ${run.state.status}, not ${status}`];
    });
  },

  /** Every run has ended, except those that the test expects to be stalled. */
  ended({ runs, started }) {
    return runs
      .filter(({ id, state }) => !isFinal(state) && started.get(id) !== state.status)
      .map(({ id, name, state }) => `run ${id} of ${name} is still ${state.status}`);
  },

  /** A run that has ended waits for nothing and has no timer. */
  endedRunsIdle({ runs }) {
    return runs
      .filter(({ state, waits, dueAt }) => isFinal(state) && (waits.length > 0 || dueAt !== null))
      .map(
        ({ id, state, dueAt, waits }) => `${state.status} run ${id} has ${waits.length} waits and is due at ${dueAt}`,
      );
  },

  /** Each reference id has one run. */
  references({ runs }) {
    const keys = runs.flatMap(({ namespace, name, referenceId }) =>
      referenceId === null ? [] : [`${namespace} ${name} ${referenceId}`],
    );
    return repeated(keys).map((key) => `two runs have the reference ${key}`);
  },

  /** A journal has no gap: `seq` is 1, 2, 3, … */
  noGaps({ entries }) {
    return [...journals(entries)].flatMap(([id, journal]) => {
      const seqs = journal.map(({ seq }) => seq);
      return seqs.every((seq, index) => seq === index + 1) ? [] : [`seq of ${id} runs ${seqs.join(" ")}`];
    });
  },

  /** Each address has at most one value in an attempt [R3]. */
  oneValue({ entries }) {
    return repeated(entries.map(({ runId, attempt, address }) => `${runId} ${attempt} ${address}`)).map(
      (key) => `recorded twice: ${key}`,
    );
  },

  /** Along a journal neither fence nor time decreases, and no fence is above that of the run [R2]. */
  monotonic({ runs, entries }) {
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

  /** A child is one run. Its parent has recorded how it ended, unless the parent ended first. */
  children({ runs, entries }) {
    const parents = new Map(runs.map((run) => [run.id, run]));
    const received = new Set(entries.map(({ runId, address }) => `${runId} ${address}`));
    const of = runs.flatMap(({ parent }) => (parent === null ? [] : [`${parent.id} ${parent.address}`]));
    const missing = runs.flatMap((child) => {
      const parent = parents.get(child.parent?.id ?? "");
      if (parent === undefined || child.parent === null || !isFinal(child.state) || isFinal(parent.state)) return [];
      const address = resultAddress(child.parent.address);
      return received.has(`${parent.id} ${address}`) ? [] : [`${parent.id} has no entry for the end of ${child.id}`];
    });
    return [...repeated(of).map((key) => `two runs are the child ${key}`), ...missing];
  },

  /** No child continues after its parent failed or was cancelled. */
  childrenEnded({ runs }) {
    const parents = new Map(runs.map((run) => [run.id, run]));
    return runs.flatMap(({ id, parent, options, state }) => {
      const above = parents.get(parent?.id ?? "")?.state.status;
      const isLost = above === "failed" || above === "cancelled";
      return isLost && options.onParentEnd === undefined && !isFinal(state)
        ? [`${id} outlives its ${above} parent`]
        : [];
    });
  },

  /** No run waits for an event that it has already received [R6]. */
  wakeUps({ runs }) {
    return runs.filter(isWaiting).flatMap(({ id, waits, events }) =>
      waits.flatMap(({ type, name = "" }) => {
        const { arrived, taken } = events.get(name) ?? { arrived: 0, taken: 0 };
        return type === "event" && arrived > taken ? [`${id} waits for ${name}, which has arrived`] : [];
      }),
    );
  },

  /** A recorded task result was returned by one of its effects, and was recorded under the fence of that effect. */
  recordedFromEffect({ entries, effects }) {
    const byNonce = new Map(effects.map((effect) => [effect.nonce, effect]));
    return entries.filter(isTaskResult).flatMap((entry) => {
      const from = byNonce.get(nonceOf(entry) ?? "");
      // A retried run reuses the results of an earlier run, as attempt 0.
      if (from !== undefined && entry.attempt === 0) return [];
      if (from?.key !== keyOf(entry)) return [`${keyOf(entry)} was recorded without an effect`];
      return from.fence === entry.fence ? [] : [`${keyOf(entry)} was recorded by another holder`];
    });
  },

  /** An effect happens once, and at most once more for each fault. */
  repeatsPerFault({ effects, faults }) {
    return [...grouped(effects, tryOf)].flatMap(([key, all]) =>
      all.length <= 1 + faults ? [] : [`${key} happened ${all.length} times for ${faults} faults`],
    );
  },

  /** A repeated effect has the same key, and a higher fence than the previous one. */
  fencedRepeats({ effects, stops }) {
    const late = lateEffects(effects, stops);
    return [...grouped(effects, tryOf)].flatMap(([key, all]) => {
      const fences = all.map(({ fence }) => fence);
      const inOrder = all.filter((effect) => !late.has(effect));
      const rises = inOrder.every(({ fence }, index) => index === 0 || fence > (inOrder[index - 1]?.fence ?? 0));
      return rises && new Set(fences).size === all.length ? [] : [`${key} happened under fences ${fences.join(" ")}`];
    });
  },

  /** After a holder has acted, no former holder acts, unless it was stopped just before the effect. */
  formerHolders({ effects, stops }) {
    const highest = new Map<string, number>();
    const late = lateEffects(effects, stops);
    return effects.flatMap((effect) => {
      const { runId, fence, key } = effect;
      const before = highest.get(runId) ?? 0;
      highest.set(runId, Math.max(before, fence));
      return fence < before && !late.has(effect) ? [`${key} happened under fence ${fence} after ${before}`] : [];
    });
  },

  /** A fence has one holder: one process executed the effects under it, and one worker recorded their results [R4]. */
  oneHolder({ effects, entries }) {
    const actors = effects.map(({ runId, fence, pid }) => ({ held: `${runId} under fence ${fence}`, by: String(pid) }));
    const writers = entries.flatMap(({ runId, fence, worker, attempt }) =>
      worker === undefined || attempt === 0 ? [] : [{ held: `${runId} under fence ${fence}`, by: worker }],
    );
    return [actors, writers].flatMap((deeds) =>
      [...grouped(deeds, ({ held }) => held)].flatMap(([held, all]) => {
        const holders = new Set(all.map(({ by }) => by));
        return holders.size === 1 ? [] : [`${held} was held by ${[...holders].join(" and ")}`];
      }),
    );
  },

  /** The key of an effect consists of its run and address. Repeats of one effect have the same key. */
  sameKey({ effects }) {
    const keys = new Map<string, string>();
    return effects.flatMap(({ runId, task, key }) => {
      const known = keys.get(`${runId} ${task}`) ?? key;
      keys.set(`${runId} ${task}`, known);
      return known === key && key.startsWith(`${runId}:`) ? [] : [`${task} of ${runId} has keys ${known} and ${key}`];
    });
  },

  /** No timer fires early by the clock of the database. A sleep begins after the previous entry of the run. */
  timers({ entries, sleeps }) {
    const all = journals(entries);
    return entries.flatMap((entry) => {
      const ms = sleeps[entry.address];
      if (ms === undefined || entry.value.type !== "elapsed" || entry.value.early === true) return [];
      const before = (all.get(entry.runId) ?? []).filter(({ seq }) => seq < entry.seq);
      const began = before.findLast(isReported)?.at ?? 0;
      return entry.at - began >= ms ? [] : [`${entry.address} of ${entry.runId} took ${entry.at - began} of ${ms} ms`];
    });
  },

  /** An acknowledged event is recorded once, and is delivered to at most one wait. */
  events({ sent, entries }) {
    const arrived = grouped(
      entries.filter(({ value }) => value.type === "arrived"),
      ({ runId, address }) => `${runId} ${address}`,
    );
    const lost = sent.flatMap(({ runId, name, referenceId }) => {
      const count = arrived.get(`${runId} arrival:${name}:${referenceId}`)?.length ?? 0;
      return count === 1 ? [] : [`event ${referenceId} of ${runId} is recorded ${count} times`];
    });
    const taken = entries.flatMap(({ runId, value }) =>
      value.type === "received" ? [`${runId} ${value.name} ${value.nth}`] : [],
    );
    return [...lost, ...repeated(taken).map((key) => `taken twice: ${key}`)];
  },

  /** The output that a client received is the stored output. */
  sameOutput({ outputs, runs }) {
    const states = new Map(runs.map(({ id, state }) => [id, state]));
    return [...outputs].flatMap(([id, received]) => {
      const state = states.get(id);
      const kept = state?.status === "completed" ? decode(state.output) : undefined;
      return JSON.stringify(kept) === JSON.stringify(received)
        ? []
        : [`${id} was sent to a client as ${JSON.stringify(received)}`];
    });
  },

  /** The files of the database are intact. */
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

/** Entries by run, in the order of the journal. */
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

/** The key of one attempt of an effect. */
export function tryOf({ key, attempt }: LedgerEffect): string {
  return attempt === 1 ? key : `${key} (try ${attempt})`;
}

/**
 * The effects whose process was stopped just before them and had not yet detected it. A process reads the clock just
 * before it writes. If an earlier line of the ledger has a time after the stop, the process was stopped in between.
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

/** Within this time after SIGCONT a process detects that it was stopped. Milliseconds. */
const noticeMs = 500;

/** Whether a worker reported the entry. Otherwise the server added it. */
function isReported({ worker, value }: Entry): boolean {
  return worker !== undefined || value.type === "started";
}

function isWaiting({ state }: WholeRun): boolean {
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
