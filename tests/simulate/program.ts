/** Random programs: what one run's handler does, as a value that travels as its input. */

import type { RetryPolicy } from "@aikirun/lib/protocol";
import type { Prng } from "./prng.ts";

/** What the body of a task or step does. Milliseconds. */
export type Body =
  | { kind: "ok"; ms: number }
  /** Fails on its first tries. */
  | { kind: "flaky"; failures: number; ms: number }
  | { kind: "fatal"; ms: number }
  | { kind: "hang" }
  /** Kills its worker, as long as the world lets it. */
  | { kind: "poison" };

export type Op =
  | { type: "task"; id: number; task: TaskName; body: Body }
  | { type: "step"; id: number; retries: number; body: Body }
  | { type: "sleep"; id: number; ms: number; name: string | null }
  | { type: "wait"; id: number; event: EventName; timeoutMs: number | null }
  | { type: "child"; id: number; program: Program; then: "leave" | "await" | "patience"; timeoutMs: number }
  | { type: "join"; id: number; how: "all" | "race" | "any" | "allSettled"; branches: Op[][] }
  | { type: "attempt"; id: number; body: Op[] }
  /** Throws, in the first attempts of the run. */
  | { type: "throw"; id: number; attempts: number }
  | { type: "clock" | "random" | "uuid"; id: number }
  /** Awaits something that is not durable. Milliseconds; 0: some microtasks. */
  | { type: "plain"; id: number; ms: number };

export interface Program {
  ops: Op[];
  onParentEnd?: "abandon";
  retry?: RetryPolicy;
}

export const taskPolicies = {
  once: { retry: { type: "never" }, timeoutMs: 60_000 },
  brief: { retry: { type: "never" }, timeoutMs: 300 },
  quick: { retry: { type: "fixed", maxAttempts: 3, delayMs: 40 }, timeoutMs: 2_000 },
  slow: { retry: { type: "exponential", maxAttempts: 3, baseDelayMs: 900, factor: 3 }, timeoutMs: 5_000 },
} as const satisfies Record<string, { retry: RetryPolicy; timeoutMs: number }>;

export type TaskName = keyof typeof taskPolicies;
const taskNames: readonly TaskName[] = ["once", "brief", "quick", "slow"];

/** One of them is a name that objects have. */
export const eventNames = ["approved", "constructor"] as const;
export type EventName = (typeof eventNames)[number];

/** Whether it awaits what is not durable for a while: then the order of its calls may differ from replay to replay. */
export function isTimed(ops: readonly Op[]): boolean {
  return ops.some((op) => {
    if (op.type === "join") return op.branches.some(isTimed);
    if (op.type === "attempt") return isTimed(op.body);
    return op.type === "plain" && op.ms > 0;
  });
}

/** Of calls whose addresses are told apart by nothing but a count. */
function countedNames(ops: readonly Op[]): string[] {
  return ops.flatMap((op) => {
    switch (op.type) {
      case "sleep":
        return [`sleep:${op.name ?? ""}`];
      case "wait":
        return [`event:${op.event}`];
      case "join":
        return op.branches.flatMap(countedNames);
      case "attempt":
        return countedNames(op.body);
      default:
        return [];
    }
  });
}

/** How many tries a task or step has. */
export function triesOf(op: Extract<Op, { type: "task" | "step" }>): number {
  if (op.type === "step") return op.retries + 1;
  const { retry } = taskPolicies[op.task];
  return retry.type === "never" ? 1 : retry.maxAttempts;
}

export function timeoutOf(op: Extract<Op, { type: "task" | "step" }>): number {
  return op.type === "step" ? 60_000 : taskPolicies[op.task].timeoutMs;
}

export const stepRetry = (retries: number): RetryPolicy =>
  retries === 0 ? { type: "never" } : { type: "fixed", maxAttempts: retries + 1, delayMs: 150 };

interface Budget {
  ops: number;
  ids: number;
  poison: boolean;
}

export function drawProgram(prng: Prng, mayKill: boolean): Program {
  const budget: Budget = { ops: prng.between(2, 18), ids: 0, poison: mayKill && prng.chance(0.1) };
  const program: Program = { ops: repeatable(drawOps(prng, budget, 0)) };
  if (prng.chance(0.3)) program.retry = { type: "fixed", maxAttempts: 3, delayMs: prng.pick([0, 50, 2_000]) };
  return program;
}

/**
 * The same as code that fits what is recorded of it. Timers decide in which order branches make their calls, so no two
 * calls may be told apart by that order alone, none may decide how a race ends, and a handler may not rest for long.
 */
function repeatable(ops: readonly Op[]): Op[] {
  if (!isTimed(ops)) return [...ops];
  const named = mapOps(ops, (op) => (op.type === "sleep" ? { ...op, name: `nap${op.id}` } : op));
  const names = countedNames(named);
  return new Set(names).size === names.length ? hastened(fair(named), 0).ops : restless(named);
}

function restless(ops: readonly Op[]): Op[] {
  return mapOps(ops, (op) => (op.type === "plain" ? { ...op, ms: 0 } : op));
}

/**
 * Nobody rests in a race: a branch that rests would lose the replay of a race that it has won. Other joins end alike in
 * whatever order their branches do.
 */
function fair(ops: readonly Op[]): Op[] {
  return ops.map((op) => {
    if (op.type === "attempt") return { ...op, body: fair(op.body) };
    if (op.type !== "join") return op;
    return { ...op, branches: op.branches.map(op.how === "race" ? restless : fair) };
  });
}

/** Not of children, which are programs of their own. */
function mapOps(ops: readonly Op[], change: (op: Op) => Op): Op[] {
  return ops.map((op) => {
    if (op.type === "join") return { ...op, branches: op.branches.map((branch) => mapOps(branch, change)) };
    return op.type === "attempt" ? { ...op, body: mapOps(op.body, change) } : change(op);
  });
}

/** Between two durable calls a handler may be at rest for so long; after a second it would seem to have diverged. */
const mostPlainMs = 700;

/** The same with shorter rests where they follow one another; `restMs` is how long the handler has rested before. */
function hastened(ops: readonly Op[], restMs: number): { ops: Op[]; restMs: number } {
  let rest = restMs;
  const changed = ops.map((op): Op => {
    switch (op.type) {
      case "plain": {
        const ms = rest + op.ms > mostPlainMs ? 0 : op.ms;
        rest += ms;
        return { ...op, ms };
      }
      case "attempt": {
        const body = hastened(op.body, rest);
        rest = body.restMs;
        return { ...op, body: body.ops };
      }
      case "join": {
        const branches = op.branches.map((branch) => hastened(branch, rest));
        rest = Math.max(rest, ...branches.map((branch) => branch.restMs));
        return { ...op, branches: branches.map((branch) => branch.ops) };
      }
      case "clock":
      case "random":
      case "uuid":
      case "throw":
        return op;
      default:
        rest = 0;
        return op;
    }
  });
  return { ops: changed, restMs: rest };
}

function drawOps(prng: Prng, budget: Budget, depth: number): Op[] {
  const ops: Op[] = [];
  const most = depth === 0 ? 18 : prng.between(1, 3);
  while (ops.length < most && budget.ops > 0) {
    budget.ops -= 1;
    ops.push(drawOp(prng, budget, depth));
  }
  return ops;
}

function drawOp(prng: Prng, budget: Budget, depth: number): Op {
  const id = budget.ids;
  budget.ids += 1;
  const roll = prng.below(depth < 3 ? 100 : 70);
  if (roll < 26) return { type: "task", id, task: prng.pick(taskNames), body: drawBody(prng, budget) };
  if (roll < 32) return { type: "step", id, retries: prng.below(3), body: drawBody(prng, budget) };
  if (roll < 46) return { type: "sleep", id, ms: drawMs(prng), name: prng.chance(0.4) ? `nap${prng.below(2)}` : null };
  if (roll < 58) {
    return { type: "wait", id, event: prng.pick(eventNames), timeoutMs: prng.chance(0.6) ? drawMs(prng) : null };
  }
  if (roll < 64) return { type: prng.pick(["clock", "random", "uuid"] as const), id };
  if (roll < 67) return { type: "plain", id, ms: prng.pick([0, 0, 30, 700]) };
  if (roll < 70) return { type: "throw", id, attempts: prng.pick([1, 2, 99]) };
  if (roll < 80) return drawChild(prng, id, budget, depth);
  if (roll < 88) return { type: "attempt", id, body: drawOps(prng, budget, depth + 1) };
  const branches = Array.from({ length: prng.between(1, 4) }, () => drawBranch(prng, budget, depth + 1));
  return { type: "join", id, how: prng.pick(["all", "all", "race", "race", "any", "allSettled"] as const), branches };
}

/** A branch may come late to what is recorded of it, so that others meet new calls first. */
function drawBranch(prng: Prng, budget: Budget, depth: number): Op[] {
  const ops = drawOps(prng, budget, depth);
  if (ops.length === 0 || !prng.chance(0.08)) return ops;
  const id = budget.ids;
  budget.ids += 1;
  return [{ type: "plain", id, ms: prng.pick([30, 700]) }, ...ops];
}

function drawChild(prng: Prng, id: number, budget: Budget, depth: number): Op {
  const inner: Budget = { ops: Math.min(budget.ops, prng.between(1, 5)), ids: 0, poison: false };
  budget.ops -= inner.ops;
  const program: Program = { ops: repeatable(drawOps(prng, inner, depth + 2)) };
  if (prng.chance(0.2)) program.onParentEnd = "abandon";
  const then = prng.pick(["leave", "await", "await", "patience"] as const);
  return { type: "child", id, program, then, timeoutMs: drawMs(prng) };
}

function drawBody(prng: Prng, budget: Budget): Body {
  const ms = prng.pick([0, 0, 1, 20, 250, 1_500]);
  if (budget.poison && prng.chance(0.3)) return { kind: "poison" };
  const roll = prng.below(100);
  if (roll < 60) return { kind: "ok", ms };
  if (roll < 85) return { kind: "flaky", failures: prng.between(1, 3), ms };
  return roll < 95 ? { kind: "fatal", ms } : { kind: "hang" };
}

function drawMs(prng: Prng): number {
  return prng.pick([0, 1, 20, 100, 700, 2_500, 10_000]);
}
