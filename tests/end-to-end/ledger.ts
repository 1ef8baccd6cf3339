/** What happened in the world, kept apart from the database: a line per effect, durable before the task returns. */

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";

/** One effect of one task. */
export interface LedgerEffect {
  runId: string;
  key: string;
  task: string;
  attempt: number;
  fence: number;
  pid: number;
  /** Different for every effect; the task returns it, so that a recorded value names the effect that it came from. */
  nonce: string;
  /** Epoch milliseconds. */
  at: number;
}

/** One `write` in append mode, so that processes that write at once never mix their lines. */
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
