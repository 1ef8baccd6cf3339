import { setTimeout as pause } from "node:timers/promises";
import type { TaskContext } from "@aikirun/lib";

/** Sent to the main process when the body of a task begins. */
export interface ReportedEffect {
  task: string;
  attempt: number;
  idempotencyKey: string;
}

/** Simulates an external effect that takes some time. */
export async function work(task: string, { attempt, idempotencyKey, signal }: TaskContext, ms: number): Promise<void> {
  const effect: ReportedEffect = { task, attempt, idempotencyKey };
  process.send?.(effect);
  await pause(ms, undefined, { signal });
}

export function isEffect(message: unknown): message is ReportedEffect {
  return typeof message === "object" && message !== null && "task" in message && "idempotencyKey" in message;
}
