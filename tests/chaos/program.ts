/** Random programs: what one run's handler does, as a value that travels as its input; and what it must come to. */

import type { Prng } from "../simulate/prng.ts";

/** Milliseconds. */
export type ChaosOp =
  /** A task that fails so many times before it succeeds. */
  | { type: "act"; id: number; failures: number; ms: number }
  /** A task that fails for good; the program goes on. */
  | { type: "doom"; id: number }
  | { type: "nap"; id: number; ms: number }
  /** Waits for news, which the user sends: as often as the program asks. */
  | { type: "hear"; id: number }
  /** Waits for a whim, which may or may not come in time. */
  | { type: "patience"; id: number; ms: number }
  | { type: "child"; id: number; program: ChaosProgram }
  | { type: "all"; branches: ChaosOp[][] }
  /** The first of a task, a sleep and a whim; the others are left alone. */
  | { type: "race"; id: number; ms: number };

/** How the whole comes out: `stumble` fails on the first attempt, `last` waits until it is cancelled. */
export type ProgramEnding = "return" | "stumble" | "fail" | "last";

export interface ChaosProgram {
  ops: ChaosOp[];
  ending: ProgramEnding;
}

/** What a handler counts on its way: the same whatever happened to the processes that executed it. */
export interface ProgramTally {
  acts: number;
  dooms: number;
  naps: number;
  /** Numbers of the news heard, sorted. */
  heard: number[];
  choices: number;
  /** Acts of all children. */
  children: number;
}

/** What a completed run of a program returns. */
export interface ChaosOutput {
  tally: ProgramTally;
}

/** The tries that an act has. */
export const tries = 3;

export function noTally(): ProgramTally {
  return { acts: 0, dooms: 0, naps: 0, heard: [], choices: 0, children: 0 };
}

/** What the run of a program must return, reckoned without the engine. */
export function tallyOf({ ops }: ChaosProgram): ProgramTally {
  const tally = noTally();
  for (const op of everyOp(ops)) {
    switch (op.type) {
      case "act":
        tally.acts += 1;
        break;
      case "doom":
        tally.dooms += 1;
        break;
      case "nap":
        tally.naps += 1;
        break;
      case "hear":
        tally.heard.push(tally.heard.length);
        break;
      case "patience":
      case "race":
        tally.choices += 1;
        break;
      case "child":
        tally.children += tallyOf(op.program).acts;
        break;
      default:
        op satisfies never;
    }
  }
  return tally;
}

/** How a run of it ends. */
export function statusOf({ ending }: ChaosProgram): "completed" | "failed" | "cancelled" {
  switch (ending) {
    case "return":
    case "stumble":
      return "completed";
    case "fail":
      return "failed";
    case "last":
      return "cancelled";
    default:
      return ending satisfies never;
  }
}

/** Ids of the tasks that have an effect: those of acts and dooms certainly, those of races perhaps. */
export function effectsOf({ ops }: ChaosProgram): { certain: number[]; possible: number[] } {
  const all = everyOp(ops);
  const ids = (...types: Array<ChaosOp["type"]>) =>
    all.flatMap((op) => (types.includes(op.type) && "id" in op ? [op.id] : []));
  return { certain: ids("act", "doom"), possible: ids("act", "doom", "race") };
}

/** Every op of this run itself, without its children's. */
function everyOp(ops: readonly ChaosOp[]): Array<Exclude<ChaosOp, { type: "all" }>> {
  return ops.flatMap((op) => (op.type === "all" ? op.branches.flatMap(everyOp) : [op]));
}

/** Whether a whim may be sent to some use. */
export function hasChoice(program: ChaosProgram): boolean {
  return tallyOf(program).choices > 0;
}

export function drawProgram(prng: Prng): ChaosProgram {
  let ids = 0;
  const id = () => {
    ids += 1;
    return ids;
  };
  const leaf = (hears: boolean): ChaosOp => {
    const roll = prng.below(100);
    if (roll < 48) return { type: "act", id: id(), failures: prng.pick([0, 0, 0, 1, 2]), ms: drawMs(prng) };
    if (roll < 54) return { type: "doom", id: id() };
    if (roll < 70) return { type: "nap", id: id(), ms: drawMs(prng) };
    if (roll < 84 && hears) return { type: "hear", id: id() };
    if (roll < 92) return { type: "patience", id: id(), ms: drawMs(prng) };
    return { type: "race", id: id(), ms: drawMs(prng) };
  };
  const some = (most: number, hears: boolean): ChaosOp[] =>
    Array.from({ length: prng.between(1, most) }, () => leaf(hears));
  const op = (): ChaosOp => {
    const roll = prng.below(100);
    if (roll < 72) return leaf(true);
    if (roll < 86) return { type: "all", branches: Array.from({ length: prng.between(2, 3) }, () => some(2, true)) };
    return { type: "child", id: id(), program: { ops: some(3, false), ending: "return" } };
  };
  const ops = Array.from({ length: prng.between(1, 6) }, op);
  return { ops, ending: prng.pick(["return", "return", "return", "return", "return", "stumble", "fail", "last"]) };
}

function drawMs(prng: Prng): number {
  return prng.pick([0, 1, 20, 100, 300, 900]);
}
