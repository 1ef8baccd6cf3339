import { setTimeout as pause } from "node:timers/promises";
import type { TaskContext } from "@aikirun/lib";

/** A task's body begins: sent to the process that tells the story. */
export interface ReportedEffect {
  task: string;
  attempt: number;
  idempotencyKey: string;
}

/** Stands for an effect on the outside world that takes a while. */
export async function work(task: string, { attempt, idempotencyKey, signal }: TaskContext, ms: number): Promise<void> {
  const effect: ReportedEffect = { task, attempt, idempotencyKey };
  process.send?.(effect);
  await pause(ms, undefined, { signal });
}

export function isEffect(message: unknown): message is ReportedEffect {
  return typeof message === "object" && message !== null && "task" in message && "idempotencyKey" in message;
}
