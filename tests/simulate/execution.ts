/** One execution of a handler, as the ledger records it. */

import type { RunId } from "@aikirun/lib/protocol";
import { Points } from "./points.ts";
import type { Process } from "./process.ts";
import type { ReplayOrder } from "./timing.ts";

/** The result of one durable call, as the handler received it. */
export interface Observation {
  /** The path of the call in its program. */
  path: string;
  kind: "task" | "step" | "sleep" | "wait" | "child" | "end" | "clock" | "random" | "uuid";
  saw: string;
  /** The nonce that must be recorded before a new call begins. Null if the result has none. */
  nonce: string | null;
}

/** What is known when an execution starts. */
export interface ExecutionStart {
  runId: RunId;
  attempt: number;
  process: Process;
  /** The version of the code that it executes. */
  code: string;
  order: ReplayOrder;
  /** Whether non-durable work stands between its calls. */
  hasPlain: boolean;
  /** Whether its calls have keys. */
  isKeyed: boolean;
  /** Whether the code changed the order of alike calls, so that one may receive the value of another. */
  isShuffled: boolean;
}

/** A first execution or a replay. */
export interface SimulatedExecution extends ExecutionStart {
  readonly points: Points;
  /** Results of durable calls, in the order in which the handler received them. */
  readonly observations: Observation[];
  /** Results of all calls, by path. */
  readonly byPath: Map<string, Observation>;
  /** Whether it received a value that will never be recorded, because it had lost its run without knowing it. */
  sawUnrecorded: boolean;
}

export function executionOf(begun: ExecutionStart): SimulatedExecution {
  return { ...begun, points: new Points(), observations: [], byPath: new Map(), sawUnrecorded: false };
}

/** Whether the value is returned at once, so that its place in the order has no meaning. */
export function isImmediate({ kind }: Observation): boolean {
  return kind === "clock" || kind === "random" || kind === "uuid";
}

/** Whether the worker itself produces the value, before it is recorded. */
export function isLocal(observation: Observation): boolean {
  return observation.kind === "task" || observation.kind === "step" || isImmediate(observation);
}

/** The results with which every replay of an attempt under the same code must begin. */
export class ConfirmedObservations {
  #observations: readonly Observation[] = [];
  readonly #byPath = new Map<string, Observation>();

  confirm({ observations, byPath }: SimulatedExecution): void {
    if (observations.length > this.#observations.length) this.#observations = [...observations];
    for (const [path, observation] of byPath) this.#byPath.set(path, observation);
  }

  /** The earlier result that the newest observation contradicts. Null if there is none. */
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
