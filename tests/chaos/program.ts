/** Random programs: the operations of a handler, sent as its input, and the expected result. */

import type { Prng } from "../simulate/prng.ts";

/** Milliseconds. */
export type ChaosOp =
  /** A task that fails `failures` times before it succeeds. */
  | { type: "task"; id: number; failures: number; ms: number }
  /** A task whose attempts all fail. The program continues. */
  | { type: "failingTask"; id: number }
  | { type: "sleep"; id: number; ms: number }
  /** Waits for an event `message`, of which the user sends as many as the program has. */
  | { type: "message"; id: number }
  /** Waits with a timeout for an event `optional`, which the user may send. */
  | { type: "timedEvent"; id: number; ms: number }
  | { type: "child"; id: number; program: ChaosProgram }
  | { type: "all"; branches: ChaosOp[][] }
  /** A race of a task, a sleep and an event `optional`. */
  | { type: "race"; id: number; ms: number };

/** How the run ends: `retry` fails in the first attempt, `cancel` waits until it is cancelled. */
export type ProgramEnding = "return" | "retry" | "fail" | "cancel";

export interface ChaosProgram {
  ops: ChaosOp[];
  ending: ProgramEnding;
}

/** The operations that a handler has executed: the same after every fault. */
export interface ProgramTally {
  tasks: number;
  failedTasks: number;
  sleeps: number;
  /** The numbers of the received messages, sorted. */
  messages: number[];
  races: number;
  /** The tasks of all children. */
  children: number;
}

/** What a completed run of a program returns. */
export interface ChaosOutput {
  tally: ProgramTally;
}

/** The maximum attempts of a task. */
export const tries = 3;

export function noTally(): ProgramTally {
  return { tasks: 0, failedTasks: 0, sleeps: 0, messages: [], races: 0, children: 0 };
}

/** The expected result of a program, computed without the engine. */
export function tallyOf({ ops }: ChaosProgram): ProgramTally {
  const tally = noTally();
  for (const op of everyOp(ops)) {
    switch (op.type) {
      case "task":
        tally.tasks += 1;
        break;
      case "failingTask":
        tally.failedTasks += 1;
        break;
      case "sleep":
        tally.sleeps += 1;
        break;
      case "message":
        tally.messages.push(tally.messages.length);
        break;
      case "timedEvent":
      case "race":
        tally.races += 1;
        break;
      case "child":
        tally.children += tallyOf(op.program).tasks;
        break;
      default:
        op satisfies never;
    }
  }
  return tally;
}

/** The expected final status of a program. */
export function statusOf({ ending }: ChaosProgram): "completed" | "failed" | "cancelled" {
  switch (ending) {
    case "return":
    case "retry":
      return "completed";
    case "fail":
      return "failed";
    case "cancel":
      return "cancelled";
    default:
      return ending satisfies never;
  }
}

/** The ids of the tasks that certainly have an effect, and of those that may have one, which include races. */
export function effectsOf({ ops }: ChaosProgram): { certain: number[]; possible: number[] } {
  const all = everyOp(ops);
  const ids = (...types: Array<ChaosOp["type"]>) =>
    all.flatMap((op) => (types.includes(op.type) && "id" in op ? [op.id] : []));
  return { certain: ids("task", "failingTask"), possible: ids("task", "failingTask", "race") };
}

/** Every operation of the run itself, without those of its children. */
function everyOp(ops: readonly ChaosOp[]): Array<Exclude<ChaosOp, { type: "all" }>> {
  return ops.flatMap((op) => (op.type === "all" ? op.branches.flatMap(everyOp) : [op]));
}

/** Whether the program waits for an event `optional`. */
export function hasChoice(program: ChaosProgram): boolean {
  return tallyOf(program).races > 0;
}

export function drawProgram(prng: Prng): ChaosProgram {
  let ids = 0;
  const id = () => {
    ids += 1;
    return ids;
  };
  const leaf = (withMessages: boolean): ChaosOp => {
    const roll = prng.below(100);
    if (roll < 48) return { type: "task", id: id(), failures: prng.pick([0, 0, 0, 1, 2]), ms: drawMs(prng) };
    if (roll < 54) return { type: "failingTask", id: id() };
    if (roll < 70) return { type: "sleep", id: id(), ms: drawMs(prng) };
    if (roll < 84 && withMessages) return { type: "message", id: id() };
    if (roll < 92) return { type: "timedEvent", id: id(), ms: drawMs(prng) };
    return { type: "race", id: id(), ms: drawMs(prng) };
  };
  const some = (most: number, withMessages: boolean): ChaosOp[] =>
    Array.from({ length: prng.between(1, most) }, () => leaf(withMessages));
  const op = (): ChaosOp => {
    const roll = prng.below(100);
    if (roll < 72) return leaf(true);
    if (roll < 86) return { type: "all", branches: Array.from({ length: prng.between(2, 3) }, () => some(2, true)) };
    return { type: "child", id: id(), program: { ops: some(3, false), ending: "return" } };
  };
  const ops = Array.from({ length: prng.between(1, 6) }, op);
  return { ops, ending: prng.pick(["return", "return", "return", "return", "return", "retry", "fail", "cancel"]) };
}

function drawMs(prng: Prng): number {
  return prng.pick([0, 1, 20, 100, 300, 900]);
}
