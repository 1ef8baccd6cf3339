/** What handlers themselves saw of their sleeps: a line each time one begins or ends, kept apart from the database. */

import { appendFileSync, existsSync, readFileSync } from "node:fs";

export interface Nap {
  runId: string;
  /** The op's id in the run's program. */
  nap: number;
  ms: number;
  phase: "asked" | "woke";
  /** Epoch milliseconds. */
  at: number;
}

/** One `write` in append mode; what it took outlives the process. */
export function recordNap(path: string, nap: Nap): void {
  appendFileSync(path, `${JSON.stringify(nap)}\n`);
}

export function readNaps(path: string): Nap[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line): Nap => JSON.parse(line));
}
