/** Draws programs at random. */

import type { Prng } from "./prng.ts";
import { type Alike, type EffectBody, eventNames, type Join, type Op, type Program, taskNames } from "./program.ts";
import { shapeNames } from "./shapes/list.ts";

/** The probabilities of the parts of a program. */
interface ProgramStyle {
  /** Of non-durable work before a call. */
  plain: number;
  /** Of a name, key or input that other calls also have. */
  alike: number;
  isKeyed: boolean;
}

interface DrawBudget {
  ops: number;
  ids: number;
  poison: boolean;
  style: ProgramStyle;
}

export function drawProgram(prng: Prng, mayKill: boolean): Program {
  const style: ProgramStyle = {
    plain: prng.pick([0, 0.1, 0.3, 0.6]),
    alike: prng.pick([0, 0.5, 0.9]),
    isKeyed: prng.chance(0.2),
  };
  const budget: DrawBudget = { ops: prng.between(2, 18), ids: 0, poison: mayKill && prng.chance(0.1), style };
  const program: Program = { ops: drawOps(prng, budget, 0), isKeyed: style.isKeyed };
  if (prng.chance(0.3)) program.retry = { type: "fixed", maxAttempts: 3, delayMs: prng.pick([0, 50, 2_000]) };
  return program;
}

function drawOps(prng: Prng, budget: DrawBudget, depth: number): Op[] {
  const ops: Op[] = [];
  const most = depth === 0 ? 18 : prng.between(1, 3);
  for (let count = 0; count < most && budget.ops > 0; count++) {
    budget.ops -= 1;
    if (prng.chance(budget.style.plain)) ops.push({ type: "plain", id: nextId(budget) });
    ops.push(drawOp(prng, budget, depth));
  }
  if (prng.chance(budget.style.plain / 2)) ops.push({ type: "plain", id: nextId(budget) });
  return ops;
}

function nextId(budget: DrawBudget): number {
  const id = budget.ids;
  budget.ids += 1;
  return id;
}

function drawOp(prng: Prng, budget: DrawBudget, depth: number): Op {
  const roll = prng.below(depth < 3 ? 100 : 62);
  if (roll < 46) return drawBodied(prng, budget, roll < 18);
  if (roll < 70) return drawLeaf(prng, budget, roll);
  const id = nextId(budget);
  if (roll < 76) {
    budget.ops -= 2;
    return { type: "shape", id, shape: prng.pick(shapeNames), plain: budget.style.plain };
  }
  if (roll < 83) return drawChild(prng, id, budget, depth);
  if (roll < 88) return { type: "attempt", id, body: drawOps(prng, budget, depth + 1) };
  if (roll < 91) return { type: "loop", id, times: prng.between(2, 3), body: drawOps(prng, budget, depth + 2) };
  return drawJoin(prng, id, budget, depth);
}

function drawBodied(prng: Prng, budget: DrawBudget, isTask: boolean): Op {
  const id = nextId(budget);
  const isAlike = prng.chance(budget.style.alike);
  if (!isTask) {
    const name = isAlike ? prng.pick(["save", "log"]) : `step${id}`;
    return { type: "step", id, name, retries: prng.below(3), body: drawBody(prng, budget) };
  }
  const task = isAlike ? prng.pick(["once", "quick"] as const) : prng.pick(taskNames);
  if (!isAlike) return { type: "task", id, task, alike: null, body: drawBody(prng, budget) };
  const alike: Alike = { by: prng.pick(["key", "key", "input"] as const), name: prng.pick(["a", "b"]) };
  // Calls with equal inputs have equal bodies.
  const body: EffectBody =
    alike.by === "key"
      ? drawBody(prng, budget)
      : alike.name === "a"
        ? { kind: "ok", ms: 20 }
        : { kind: "flaky", failures: 1, ms: 1 };
  return { type: "task", id, task, alike, body };
}

function drawLeaf(prng: Prng, budget: DrawBudget, roll: number): Op {
  const id = nextId(budget);
  if (roll < 54) {
    const isNamed = prng.chance(0.4) || !prng.chance(budget.style.alike);
    const name = prng.chance(budget.style.alike) ? `nap${prng.below(2)}` : `nap${id}`;
    return { type: "sleep", id, ms: drawMs(prng), name: isNamed ? name : null };
  }
  if (roll < 62) {
    return { type: "wait", id, event: prng.pick(eventNames), timeoutMs: prng.chance(0.6) ? drawMs(prng) : null };
  }
  if (roll < 66) return { type: prng.pick(["clock", "random", "uuid"] as const), id };
  if (roll < 68) return { type: "plain", id };
  return { type: "throw", id, attempts: prng.pick([1, 2, 99]) };
}

const joins: readonly Join[] = ["all", "all", "map", "race", "any", "runRace", "runRace", "runAny", "allSettled"];

function drawJoin(prng: Prng, id: number, budget: DrawBudget, depth: number): Op {
  const how = prng.pick(joins);
  const isRace = /race|any/i.test(how);
  const branches = Array.from({ length: prng.between(1, 4) }, () => {
    const ops = drawOps(prng, budget, depth + 1);
    // In most races, durable calls decide which branch wins.
    return isRace && prng.chance(0.9) ? durablyEnding(ops) : ops;
  });
  return { type: "join", id, how, branches };
}

/** The same operations, with non-durable work only directly before a durable call. */
function durablyEnding(ops: readonly Op[]): Op[] {
  return ops.flatMap((op, index): Op[] => {
    const next = ops[index + 1]?.type ?? "plain";
    const isFollowed = next === "task" || next === "step" || next === "sleep" || next === "wait";
    if (op.type === "plain" && !isFollowed) return [];
    if (op.type === "shape") return [{ ...op, plain: 0 }];
    if (op.type === "join") return [{ ...op, branches: op.branches.map(durablyEnding) }];
    if (op.type === "attempt" || op.type === "loop") return [{ ...op, body: durablyEnding(op.body) }];
    return [op];
  });
}

function drawChild(prng: Prng, id: number, budget: DrawBudget, depth: number): Op {
  const { style } = budget;
  const inner: DrawBudget = { ops: Math.min(budget.ops, prng.between(1, 5)), ids: 0, poison: false, style };
  budget.ops -= inner.ops;
  const isAlike = prng.chance(style.alike);
  const ops: Op[] = isAlike ? alikeChild : drawOps(prng, inner, depth + 2);
  const program: Program = { ops, isKeyed: style.isKeyed };
  if (!isAlike && prng.chance(0.2)) program.onParentEnd = "abandon";
  const then = prng.pick(["leave", "await", "await", "timed"] as const);
  return { type: "child", id, program, alike: isAlike ? "c" : null, then, timeoutMs: drawMs(prng) };
}

/** The program of children with equal inputs. */
const alikeChild: Op[] = [
  { type: "sleep", id: 0, ms: 20, name: null },
  { type: "step", id: 1, name: "save", retries: 0, body: { kind: "ok", ms: 20 } },
];

function drawBody(prng: Prng, budget: DrawBudget): EffectBody {
  const ms = prng.pick([0, 0, 1, 20, 250, 1_500]);
  if (budget.poison && prng.chance(0.3)) return { kind: "poison" };
  const roll = prng.below(100);
  if (roll < 60) return { kind: "ok", ms };
  if (roll < 80) return { kind: "flaky", failures: prng.between(1, 3), ms };
  if (roll < 88) return { kind: "late", attempts: prng.between(1, 2), ms };
  return roll < 96 ? { kind: "fatal", ms } : { kind: "hang" };
}

function drawMs(prng: Prng): number {
  return prng.pick([0, 1, 20, 100, 700, 2_500, 10_000]);
}
