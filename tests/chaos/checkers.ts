/** Invariants of the chaos test, which knows the programs of all runs and the time of every fault. */

import { decode } from "@aikirun/lib/internal";
import type { Facts } from "../end-to-end/facts.ts";
import { type Checkers, checkers as general, grouped, tryOf } from "../end-to-end/invariants.ts";
import { explains, type Harm } from "./harm.ts";
import { type ChaosOutput, type ChaosProgram, effectsOf, statusOf, tallyOf, tries } from "./program.ts";
import type { ChaosReading } from "./users.ts";
import type { ObservedSleep } from "./witness.ts";

export interface ChaosFacts extends Facts {
  harms: readonly Harm[];
  observedSleeps: readonly ObservedSleep[];
  readings: readonly ChaosReading[];
  clientErrors: readonly string[];
  exits: readonly string[];
  loggedErrors: readonly string[];
  /** Completed runs whose replay differs from their journal. */
  replayFailures: readonly string[];
  /** Sessions of servers that are in a transaction although no request is in flight, and sessions above the limit. */
  sessions: readonly string[];
  /** Streams with unread or unacknowledged messages although no run is queued, and streams above their limit. */
  streams: readonly string[];
}

export const chaosCheckers = {
  /** An effect is repeated only after a fault of the worker that executed it first, or in a new attempt of the run. */
  explained({ effects, entries, harms }) {
    const attempts = grouped(
      entries.filter(({ value }) => value.type === "marked" && value.mark === "attempt_failed"),
      ({ runId }) => runId,
    );
    return [...grouped(effects, tryOf)].flatMap(([key, all]) => {
      const inTime = all.toSorted((left, right) => left.at - right.at);
      return inTime.flatMap((effect, index) => {
        const before = inTime[index - 1];
        if (before === undefined) return [];
        const isExplained = harms.some((harm) => explains(harm, before.pid, before.at, effect.at));
        const isNewAttempt = attempts
          .get(effect.runId)
          ?.some(({ at }) => at >= before.at - clockMs && at <= effect.at + clockMs);
        return isExplained || isNewAttempt === true
          ? []
          : [`${key} was repeated after ${effect.at - before.at} ms without a fault`];
      });
    });
  },

  /** Every run ended with the status and the counts that its program predicts. */
  totals({ runs }) {
    return runs.flatMap(({ id, state, input, parent }) => {
      const program = programOf(input);
      const isCancelledChild = parent !== null && state.status === "cancelled";
      if (state.status !== statusOf(program) && !isCancelledChild)
        return [`${id} is ${state.status}, not ${statusOf(program)}`];
      if (state.status !== "completed") return [];
      const [is, expected] = [JSON.stringify(outputOf(state.output).tally), JSON.stringify(tallyOf(program))];
      return is === expected ? [] : [`${id} counted ${is}, not ${expected}`];
    });
  },

  /** Every task of a completed program had an effect, and no other task had one. */
  witnessed({ runs, effects }) {
    const done = grouped(effects, ({ runId }) => runId);
    return runs.flatMap(({ id, state, input }) => {
      const { certain, possible } = effectsOf(programOf(input));
      const tasks = new Set((done.get(id) ?? []).map(({ task }) => task));
      const missing = state.status === "completed" ? certain.filter((op) => !tasks.has(`task-${op}`)) : [];
      const known = new Set(possible.map((op) => `task-${op}`));
      const strange = [...tasks].filter((task) => !known.has(task));
      return [
        ...missing.map((op) => `task-${op} of ${id} never happened`),
        ...strange.map((task) => `${task} of ${id} is not in its program`),
      ];
    });
  },

  /** No task has more attempts than its policy allows. */
  tries({ effects }) {
    return effects.flatMap(({ key, attempt }) =>
      attempt <= tries ? [] : [`${key} had attempt ${attempt} of ${tries}`],
    );
  },

  /** No handler slept for less than the requested time. */
  observedSleeps({ observedSleeps }) {
    return [...grouped(observedSleeps, ({ runId, sleep }) => `nap ${sleep} of ${runId}`)].flatMap(([name, all]) => {
      const [begun, ended] = [first(all, "begun"), first(all, "ended")];
      if (begun === undefined || ended === undefined) return begun === undefined ? [`${name} has no start`] : [];
      return ended.at - begun.at >= begun.ms ? [] : [`${name} took ${ended.at - begun.at} of ${begun.ms} ms`];
    });
  },

  /** Every client receives the same result of a run, which is the stored one. */
  oneReading({ readings, runs }) {
    const states = new Map(runs.map(({ id, state }) => [id, state]));
    return readings.flatMap(({ runId, result }) => {
      const state = states.get(runId);
      const stored = state?.status === "completed" ? JSON.stringify(decode(state.output)) : state?.status;
      return stored === result ? [] : [`${runId} is ${stored}, but a client received ${result}`];
    });
  },

  /** Clients receive no error except those that say to retry. */
  clientErrors: ({ clientErrors }) => [...clientErrors],

  /** No process exits by itself, and a process that receives SIGTERM exits with 0. */
  exits: ({ exits }) => [...exits],

  /** No process logs an error that no fault explains. */
  loggedErrors: ({ loggedErrors }) => [...loggedErrors],

  /** The replay of a completed run returns the recorded result and makes no new call. */
  replayFailures: ({ replayFailures }) => [...replayFailures],

  /** No session of the database is left in a transaction or holds a lock. */
  sessions: ({ sessions }) => [...sessions],

  /** Streams are read, acknowledged and bounded. */
  streams: ({ streams }) => [...streams],
} as const satisfies Checkers<ChaosFacts>;

/** The invariants that hold at any moment, also during faults. */
export function alwaysCheckers(): Checkers<ChaosFacts> {
  const { started: _1, ended: _2, childrenEnded: _3, integrity: _4, repeatsPerFault: _5, ...always } = general;
  const { tries, observedSleeps } = chaosCheckers;
  return { ...always, tries, observedSleeps };
}

/** How much the clock of the database may differ from that of a process. Milliseconds. */
const clockMs = 5;

function first(observedSleeps: readonly ObservedSleep[], phase: ObservedSleep["phase"]): ObservedSleep | undefined {
  return observedSleeps.filter((sleep) => sleep.phase === phase).sort((left, right) => left.at - right.at)[0];
}

function programOf(input: string | null): ChaosProgram {
  return JSON.parse(input ?? "null");
}

function outputOf(output: string | undefined): ChaosOutput {
  return JSON.parse(output ?? "null");
}
