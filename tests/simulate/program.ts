/** Programs: the operations of a handler, sent as the input of its run. */

import type { RetryPolicy } from "@aikirun/lib/protocol";
import type { ShapeName } from "./shapes/list.ts";

/** What the body of a task or step does. Milliseconds. */
export type EffectBody =
  | { kind: "ok"; ms: number }
  /** Fails in its first attempts. */
  | { kind: "flaky"; failures: number; ms: number }
  /** Fails in the first attempts of its run. */
  | { kind: "late"; attempts: number; ms: number }
  | { kind: "fatal"; ms: number }
  | { kind: "hang" }
  /** Kills its worker until faults end. */
  | { kind: "poison" };

/** Why tasks are alike: the task makes the same key from their inputs, or their inputs are equal. */
export type Alike = { by: "key" | "input"; name: string };

export type Op =
  | { type: "task"; id: number; task: TaskName; body: EffectBody; alike: Alike | null }
  | { type: "step"; id: number; name: string; retries: number; body: EffectBody }
  | { type: "sleep"; id: number; ms: number; name: string | null }
  | { type: "wait"; id: number; event: EventName; timeoutMs: number | null }
  /** If `alike` is set, it replaces the part of the input that distinguishes the child from others. */
  | { type: "child"; id: number; program: Program; alike: string | null; then: ChildThen; timeoutMs: number }
  | { type: "join"; id: number; how: Join; branches: Op[][] }
  | { type: "attempt"; id: number; body: Op[] }
  | { type: "loop"; id: number; times: number; body: Op[] }
  /** Throws, in the first attempts of the run. */
  | { type: "throw"; id: number; attempts: number }
  | { type: "clock" | "random" | "uuid"; id: number }
  /** Awaits non-durable work, which takes a different time on each replay. */
  | { type: "plain"; id: number }
  /** Ordinary code. `plain` is the probability of non-durable work at each possible place. */
  | { type: "shape"; id: number; shape: ShapeName; plain: number };

type ChildThen = "leave" | "await" | "timed";
/** `runRace` and `runAny` are methods of the run, which withdraw the losers. */
export type Join = "all" | "race" | "any" | "allSettled" | "map" | "runRace" | "runAny";
export type BodyOp = Extract<Op, { type: "task" | "step" }>;

export interface Program {
  ops: Op[];
  /** Every call has its path as key, so no call may be refused as ambiguous. */
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

/** `constructor` is also a property of every object. */
export const eventNames = ["approved", "constructor"] as const;
export type EventName = (typeof eventNames)[number];

/** The maximum attempts of a task or step. */
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

/** The lists of operations within an operation. */
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

/** Whether the program contains such an operation, at any depth. Programs of children are not searched. */
export function has(ops: readonly Op[], is: (op: Op) => boolean): boolean {
  return ops.some((op) => is(op) || within(op).some((inner) => has(inner, is)));
}
