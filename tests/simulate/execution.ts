/** One call of a handler, as the ledger follows it. */

import type { RunId } from "@aikirun/lib/protocol";
import { Points } from "./points.ts";
import type { Process } from "./process.ts";
import type { ReplayOrder } from "./timing.ts";

/** What one durable call came to, as the handler saw it. */
export interface Observation {
  /** Of the call in its program. */
  path: string;
  kind: "task" | "step" | "sleep" | "wait" | "child" | "end" | "clock" | "random" | "uuid";
  saw: string;
  /** What must be recorded before anything new begins; null where that is not known from outside. */
  nonce: string | null;
}

/** What an execution executes. */
export interface Begun {
  runId: RunId;
  attempt: number;
  process: Process;
  /** The code that it executes, as a version of its program. */
  code: string;
  order: ReplayOrder;
  /** Plain work stands between its calls. */
  hasPlain: boolean;
  /** Its calls have keys. */
  isKeyed: boolean;
  /** Alike calls of this code may have changed places, so that one gets what was recorded for another. */
  isShuffled: boolean;
}

/** A replay, or a first execution. */
export interface SimulatedExecution extends Begun {
  readonly points: Points;
  /** Of durable calls, in the order in which they were answered. */
  readonly observations: Observation[];
  /** Of all calls, by path. */
  readonly byPath: Map<string, Observation>;
  /** It saw what nobody will record, since it had lost its run and did not know that yet. */
  isAstray: boolean;
}

export function executionOf(begun: Begun): SimulatedExecution {
  return { ...begun, points: new Points(), observations: [], byPath: new Map(), isAstray: false };
}

/** Answered as the call is made, so that its place among others says nothing. */
export function isImmediate({ kind }: Observation): boolean {
  return kind === "clock" || kind === "random" || kind === "uuid";
}

/** What a worker comes to by itself, before anybody else knows. */
export function isLocal(observation: Observation): boolean {
  return observation.kind === "task" || observation.kind === "step" || isImmediate(observation);
}

/** What every replay of one attempt of a run under one code begins with. */
export class Firm {
  #observations: readonly Observation[] = [];
  readonly #byPath = new Map<string, Observation>();

  harden({ observations, byPath }: SimulatedExecution): void {
    if (observations.length > this.#observations.length) this.#observations = [...observations];
    for (const [path, observation] of byPath) this.#byPath.set(path, observation);
  }

  /** What was seen before in place of the newest observation; null when that is the same. */
  contradiction({ order, observations, isShuffled }: SimulatedExecution, observation: Observation): Observation | null {
    if (isShuffled) return null;
    const isBody = observation.kind === "task" || observation.kind === "step";
    const same = order === "timed" && !isBody ? undefined : this.#byPath.get(observation.path);
    if (same !== undefined && same.saw !== observation.saw) return same;
    if (order !== "kept" || isImmediate(observation)) return null;
    const before = this.#observations[observations.length - 1];
    return before === undefined || before.path === observation.path ? null : before;
  }
}
