/** The sleeps as handlers saw them: one line when each begins and ends, kept apart from the database. */

import { appendFileSync, existsSync, readFileSync } from "node:fs";

export interface ObservedSleep {
  runId: string;
  /** The id of the operation in the program. */
  sleep: number;
  ms: number;
  phase: "begun" | "ended";
  /** Epoch milliseconds. */
  at: number;
}

/** Uses one `write` in append mode, so that a written line survives the process. */
export function recordSleep(path: string, sleep: ObservedSleep): void {
  appendFileSync(path, `${JSON.stringify(sleep)}\n`);
}

export function readSleeps(path: string): ObservedSleep[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line): ObservedSleep => JSON.parse(line));
}
