/** What must hold besides the invariants when programs are known and every harm is written down. */

import { decode } from "@aikirun/lib/internal";
import type { Facts } from "../end-to-end/facts.ts";
import { type Checkers, checkers as general, grouped, tryOf } from "../end-to-end/invariants.ts";
import { type Harm, touches } from "./harm.ts";
import { type ChaosOutput, type ChaosProgram, effectsOf, statusOf, tallyOf, tries } from "./program.ts";
import type { ChaosReading } from "./users.ts";
import type { Nap } from "./witness.ts";

export interface ChaosFacts extends Facts {
  harms: readonly Harm[];
  naps: readonly Nap[];
  readings: readonly ChaosReading[];
  surprises: readonly string[];
  deaths: readonly string[];
  alarms: readonly string[];
  /** Completed runs that do not repeat. */
  misfits: readonly string[];
  /** Sessions of servers that are inside a transaction though nobody asks for anything, and those above their limit. */
  sessions: readonly string[];
  /** Streams that hold more than they should though nobody asks for anything. */
  streams: readonly string[];
}

export const chaosCheckers = {
  /** An effect is repeated because of a harm that its first doer bore, or in a new attempt of the run. */
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
        const isHarmed = harms.some((harm) => touches(harm, before.pid, before.at, effect.at));
        const isAnew = attempts
          .get(effect.runId)
          ?.some(({ at }) => at >= before.at - clockMs && at <= effect.at + clockMs);
        return isHarmed || isAnew === true
          ? []
          : [`${key} was repeated after ${effect.at - before.at} ms, and nothing was wrong`];
      });
    });
  },

  /** Every run of a program ended as its program says, with the counts that its program says. */
  totals({ runs }) {
    return runs.flatMap(({ id, state, input, parent }) => {
      const program = programOf(input);
      const isFollower = parent !== null && state.status === "cancelled";
      if (state.status !== statusOf(program) && !isFollower)
        return [`${id} is ${state.status}, not ${statusOf(program)}`];
      if (state.status !== "completed") return [];
      const [is, must] = [JSON.stringify(outputOf(state.output).tally), JSON.stringify(tallyOf(program))];
      return is === must ? [] : [`${id} counted ${is}, not ${must}`];
    });
  },

  /** Every task of a completed program had an effect, and no task that is not its program's. */
  witnessed({ runs, effects }) {
    const done = grouped(effects, ({ runId }) => runId);
    return runs.flatMap(({ id, state, input }) => {
      const { certain, possible } = effectsOf(programOf(input));
      const tasks = new Set((done.get(id) ?? []).map(({ task }) => task));
      const missing = state.status === "completed" ? certain.filter((op) => !tasks.has(`act-${op}`)) : [];
      const known = new Set(possible.map((op) => `act-${op}`));
      const strange = [...tasks].filter((task) => !known.has(task));
      return [
        ...missing.map((op) => `act-${op} of ${id} never happened`),
        ...strange.map((task) => `${task} of ${id} is not in its program`),
      ];
    });
  },

  /** No task is tried more often than its policy allows. */
  tries({ effects }) {
    return effects.flatMap(({ key, attempt }) =>
      attempt <= tries ? [] : [`${key} was tried for the ${attempt}th time`],
    );
  },

  /** No handler slept less than it asked for. */
  naps({ naps }) {
    return [...grouped(naps, ({ runId, nap }) => `nap ${nap} of ${runId}`)].flatMap(([name, all]) => {
      const [asked, woke] = [first(all, "asked"), first(all, "woke")];
      if (asked === undefined || woke === undefined) return asked === undefined ? [`${name} was never begun`] : [];
      return woke.at - asked.at >= asked.ms ? [] : [`${name} took ${woke.at - asked.at} of ${asked.ms} ms`];
    });
  },

  /** Whoever asks how a run ended is told the same, and what rests on disk. */
  oneReading({ readings, runs }) {
    const states = new Map(runs.map(({ id, state }) => [id, state]));
    return readings.flatMap(({ runId, said }) => {
      const state = states.get(runId);
      const kept = state?.status === "completed" ? JSON.stringify(decode(state.output)) : state?.status;
      return kept === said ? [] : [`${runId} is ${kept}, and somebody was told ${said}`];
    });
  },

  /** Users are told what they understand. */
  surprises: ({ surprises }) => [...surprises],

  /** No process ends that nobody ended, and who is asked to ends well. */
  deaths: ({ deaths }) => [...deaths],

  /** No process says that something is wrong with it. */
  alarms: ({ alarms }) => [...alarms],

  /** Executed once more, a completed run comes to the same and wants nothing new. */
  misfits: ({ misfits }) => [...misfits],

  /** Sessions of the database are clean. */
  sessions: ({ sessions }) => [...sessions],

  /** Streams are drained, and bounded. */
  streams: ({ streams }) => [...streams],
} as const satisfies Checkers<ChaosFacts>;

/** Those of both kinds that hold at any moment, whatever is under way. */
export function alwaysCheckers(): Checkers<ChaosFacts> {
  const { started: _1, ended: _2, childrenEnded: _3, integrity: _4, repeatsPerFault: _5, ...always } = general;
  const { tries, naps } = chaosCheckers;
  return { ...always, tries, naps };
}

/** The database's clock, cut to milliseconds, against that of a process. */
const clockMs = 5;

function first(naps: readonly Nap[], phase: Nap["phase"]): Nap | undefined {
  return naps.filter((nap) => nap.phase === phase).sort((left, right) => left.at - right.at)[0];
}

function programOf(input: string | null): ChaosProgram {
  return JSON.parse(input ?? "null");
}

function outputOf(output: string | undefined): ChaosOutput {
  return JSON.parse(output ?? "null");
}
