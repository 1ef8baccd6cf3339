/** The tasks of a worker process, and what the bodies of its tasks and steps do. */

import { NonRetryableError, type TaskContext } from "@aikirun/lib";
import { type Task, task } from "@aikirun/task";
import { addressIn } from "./address-logger.ts";
import type { Code } from "./code.ts";
import type { Origin } from "./identity.ts";
import type { Ledger } from "./ledger.ts";
import type { Process } from "./process.ts";
import { type Alike, type EffectBody, type TaskName, taskPolicies } from "./program.ts";

/** What bodies use of their process. */
export interface Interpreted {
  ledger: Ledger;
  process: Process;
  /** The code with which this process was deployed. */
  code: Code;
  /** Whether a body of kind `poison` may kill its worker. */
  mayCrash: () => boolean;
  kill: () => void;
}

interface TaskInput {
  /** Absent if the inputs of several calls are equal. */
  path?: string;
  alike: Alike | null;
  body: EffectBody;
}

export type Tasks = Record<Alike["by"], Record<TaskName, Task<TaskInput, string>>>;

/** The name of a task. Tasks that make a key from their input have other names. */
export function nameOf(task: TaskName, by: Alike["by"]): string {
  return by === "key" ? `${task} by key` : task;
}

export function taskInput(path: string, alike: Alike | null, body: EffectBody): TaskInput {
  return alike?.by === "input" ? { alike, body } : { path, alike, body };
}

export function tasksOf(interpreted: Interpreted): Tasks {
  const make = (name: TaskName, by: Alike["by"]): Task<TaskInput, string> => {
    const { retry, timeoutMs } = taskPolicies[name];
    return task({
      name: nameOf(name, by),
      retry,
      timeout: { milliseconds: timeoutMs },
      handler: ({ path, alike, body }: TaskInput, context) =>
        perform(interpreted, { kind: "task", path: path ?? null, name: alike?.name ?? name }, body, context),
      ...(by === "key" ? { key: ({ path, alike }: TaskInput) => alike?.name ?? path ?? "" } : {}),
    });
  };
  const all = (by: Alike["by"]) => ({
    once: make("once", by),
    brief: make("brief", by),
    quick: make("quick", by),
    slow: make("slow", by),
  });
  return { key: all("key"), input: all("input") };
}

/** A body: records its start in the ledger, and ends as its program says. */
export async function perform(
  interpreted: Interpreted,
  origin: Origin,
  body: EffectBody,
  context: TaskContext,
): Promise<string> {
  const { ledger, process } = interpreted;
  const { runId, fence, idempotencyKey } = context;
  const address = addressIn(context.logger) ?? "";
  const attempt = ledger.attemptOf(runId, process);
  const nonce = `${origin.path ?? `${origin.kind}:${origin.name}`}~${ledger.effects.length}`;
  process.world.trace(`${process.name} begins ${nonce} of ${ledger.world.names.of(runId)}, attempt ${context.attempt}`);
  ledger.effect({
    ...origin,
    runId,
    key: idempotencyKey,
    isKeyed: ledger.isKeyed(runId, process),
    address,
    attempt,
    try: context.attempt,
    fence,
    process,
    nonce,
  });
  const ms = "ms" in body ? body.ms : 0;
  if (ms > 0) await after(process, ms);
  switch (body.kind) {
    case "ok":
      return nonce;
    case "flaky":
      if (context.attempt <= body.failures) throw new Error(`${nonce} fails`);
      return nonce;
    case "late":
      if (attempt <= body.attempts) throw new Error(`${nonce} fails`);
      return nonce;
    case "fatal":
      throw new NonRetryableError(`${nonce} fails`);
    case "hang":
      return new Promise(() => {});
    case "poison":
      if (!interpreted.mayCrash()) return nonce;
      interpreted.kill();
      return new Promise(() => {});
    default:
      return body satisfies never;
  }
}

function after(process: Process, ms: number): Promise<void> {
  return new Promise((resolve) => {
    process.env.after(ms, resolve);
  });
}
