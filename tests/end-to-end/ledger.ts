/** The effects of tasks, kept apart from the database: one line each, durable before the task returns. */

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";

/** One effect of one task. */
export interface LedgerEffect {
  runId: string;
  key: string;
  task: string;
  attempt: number;
  fence: number;
  pid: number;
  /** Unique for each effect. The task returns it, so that a recorded value identifies its effect. */
  nonce: string;
  /** Epoch milliseconds. */
  at: number;
}

/** Uses one `write` in append mode, so that the lines of concurrent processes are not mixed. */
export function recordEffect(path: string, effect: LedgerEffect): void {
  const file = openSync(path, "a");
  try {
    writeSync(file, `${JSON.stringify(effect)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

export function readEffects(path: string): LedgerEffect[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line): LedgerEffect => JSON.parse(line));
}
