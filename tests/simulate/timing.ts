/** What may differ between replays of a program, depending on what its non-durable work decides. */

import { has, type Op } from "./program.ts";
import { shapeOf } from "./shapes/list.ts";

export type ReplayOrder =
  /** Every replay receives the same values in the same order. */
  | "kept"
  /** Every call receives the same value, but the order may differ: a lock is taken after non-durable work. */
  | "lock"
  /** Non-durable work alone decides a race, so a replay may make other calls. */
  | "timed";

export function orderOf(ops: readonly Op[]): ReplayOrder {
  if (has(ops, isTimedRace)) return "timed";
  return has(ops, (op) => op.type === "shape" && op.plain > 0 && shapeOf(op.shape).hasLock === true) ? "lock" : "kept";
}

/** Whether calls may be open, or not yet made, when the handler ends. */
export function leavesBehind(ops: readonly Op[]): boolean {
  return has(ops, (op) => {
    if (op.type === "shape") return shapeOf(op.shape).leavesBehind === true;
    return op.type === "join" && op.how !== "allSettled";
  });
}

/** Whether a program contains non-durable work. */
export function isPlain(ops: readonly Op[]): boolean {
  return has(ops, (op) => op.type === "plain" || (op.type === "shape" && op.plain > 0));
}

/** How a list of operations may end. */
interface Ends {
  /** Whether non-durable work stands between the last durable value and the end. */
  isTimed: boolean;
  /** The same for ends by an error. */
  throwsTimed: boolean;
}

function isTimedRace(op: Op): boolean {
  if (op.type === "shape") return op.plain > 0 && shapeOf(op.shape).isTimed === true;
  if (op.type !== "join" || op.branches.length < 2) return false;
  return op.branches.some((branch) => {
    const { isTimed, throwsTimed } = endsOf(branch, false);
    switch (op.how) {
      case "race":
      case "any":
      case "runRace":
      case "runAny":
        return isTimed || throwsTimed;
      case "all":
      case "map":
        return throwsTimed;
      case "allSettled":
        return false;
      default:
        return op.how satisfies never;
    }
  });
}

function endsOf(ops: readonly Op[], from: boolean): Ends {
  const ends: Ends = { isTimed: from, throwsTimed: false };
  for (const op of ops) {
    const next = endOf(op, ends.isTimed);
    ends.isTimed = next.isTimed;
    ends.throwsTimed ||= next.throwsTimed;
  }
  return ends;
}

function endOf(op: Op, from: boolean): Ends {
  switch (op.type) {
    case "plain":
      return { isTimed: true, throwsTimed: false };
    case "task":
    case "step":
    case "sleep":
    case "wait":
    case "child":
      return { isTimed: false, throwsTimed: false };
    case "clock":
    case "random":
    case "uuid":
      return { isTimed: from, throwsTimed: false };
    case "throw":
      return { isTimed: from, throwsTimed: from };
    case "shape":
      return { isTimed: op.plain > 0, throwsTimed: op.plain > 0 && op.shape === "caughtEach" };
    case "attempt": {
      const { isTimed, throwsTimed } = endsOf(op.body, from);
      return { isTimed: isTimed || throwsTimed, throwsTimed: false };
    }
    case "loop":
      return endsOf(Array.from({ length: op.times }, () => op.body).flat(), from);
    case "join":
      return endOfJoin(op, from);
    default:
      return op satisfies never;
  }
}

function endOfJoin({ how, branches }: Extract<Op, { type: "join" }>, from: boolean): Ends {
  const ends = branches.map((branch) => endsOf(branch, from));
  const isTimed = ends.some((end) => end.isTimed);
  const throwsTimed = ends.some((end) => end.throwsTimed);
  if (how === "allSettled") return { isTimed: isTimed || throwsTimed, throwsTimed: false };
  return { isTimed: isTimed || branches.length === 0, throwsTimed };
}
