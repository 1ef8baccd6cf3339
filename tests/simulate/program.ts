/** Programs: what one run's handler does, as a value that travels as its input. */

import type { RetryPolicy } from "@aikirun/lib/protocol";
import type { ShapeName } from "./shapes/list.ts";

/** What the body of a task or step does. Milliseconds. */
export type EffectBody =
  | { kind: "ok"; ms: number }
  /** Fails on its first tries. */
  | { kind: "flaky"; failures: number; ms: number }
  /** Fails in the first attempts of its run. */
  | { kind: "late"; attempts: number; ms: number }
  | { kind: "fatal"; ms: number }
  | { kind: "hang" }
  /** Kills its worker, as long as the world lets it. */
  | { kind: "poison" };

/** What makes tasks alike: a key that the task makes of its input, or inputs that are equal altogether. */
export type Alike = { by: "key" | "input"; name: string };

export type Op =
  | { type: "task"; id: number; task: TaskName; body: EffectBody; alike: Alike | null }
  | { type: "step"; id: number; name: string; retries: number; body: EffectBody }
  | { type: "sleep"; id: number; ms: number; name: string | null }
  | { type: "wait"; id: number; event: EventName; timeoutMs: number | null }
  /** `alike` stands in the child's input in place of what tells it from other children. */
  | { type: "child"; id: number; program: Program; alike: string | null; then: ChildThen; timeoutMs: number }
  | { type: "join"; id: number; how: Join; branches: Op[][] }
  | { type: "attempt"; id: number; body: Op[] }
  | { type: "loop"; id: number; times: number; body: Op[] }
  /** Throws, in the first attempts of the run. */
  | { type: "throw"; id: number; attempts: number }
  | { type: "clock" | "random" | "uuid"; id: number }
  /** Awaits something that is not durable, for a time that is different on each replay. */
  | { type: "plain"; id: number }
  /** Ordinary code; `plain` is how likely plain work is at each place that has room for it. */
  | { type: "shape"; id: number; shape: ShapeName; plain: number };

type ChildThen = "leave" | "await" | "patience";
/** `runRace` and `runAny` are the run's own: they give up who loses. */
export type Join = "all" | "race" | "any" | "allSettled" | "map" | "runRace" | "runAny";
export type BodyOp = Extract<Op, { type: "task" | "step" }>;

export interface Program {
  ops: Op[];
  /** Every call has a key, made of its path: nothing may be refused as ambiguous. */
  isKeyed: boolean;
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
export const taskNames: readonly TaskName[] = ["once", "brief", "quick", "slow"];

/** One of them is a name that objects have. */
export const eventNames = ["approved", "constructor"] as const;
export type EventName = (typeof eventNames)[number];

/** How many tries a task or step has. */
export function triesOf(op: BodyOp): number {
  if (op.type === "step") return op.retries + 1;
  const { retry } = taskPolicies[op.task];
  return retry.type === "never" ? 1 : retry.maxAttempts;
}

export function timeoutOf(op: BodyOp): number {
  return op.type === "step" ? 60_000 : taskPolicies[op.task].timeoutMs;
}

export const stepRetry = (retries: number): RetryPolicy =>
  retries === 0 ? { type: "never" } : { type: "fixed", maxAttempts: retries + 1, delayMs: 150 };

/** The lists of calls that stand within one. */
function within(op: Op): readonly Op[][] {
  switch (op.type) {
    case "join":
      return op.branches;
    case "attempt":
    case "loop":
      return [op.body];
    default:
      return [];
  }
}

/** Whether an op of a program, at any depth but for its children's programs, is of this kind. */
export function has(ops: readonly Op[], is: (op: Op) => boolean): boolean {
  return ops.some((op) => is(op) || within(op).some((inner) => has(inner, is)));
}
