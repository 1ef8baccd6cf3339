import type { RunStatus } from "@aikirun/lib/protocol";

/** Counts of what is moved. */
export interface Tally {
  /** How many runs. */
  runs: number;
  /** Runs by status. */
  statuses: Partial<Record<RunStatus, number>>;
  /** The number of entries of all runs. */
  entries: number;
}

export function emptyTally(): Tally {
  return { runs: 0, statuses: {}, entries: 0 };
}

export function isNothing(tally: Tally): boolean {
  return tally.runs === 0;
}

/** `3 runs (2 completed, 1 sleeping) with 7 entries`. */
export function described({ runs, statuses, entries }: Tally): string {
  const each = Object.entries(statuses).map(([status, count]) => `${count} ${status}`);
  const inStatuses = each.length === 0 ? "" : ` (${each.join(", ")})`;
  return `${counted(runs, "run", "runs")}${inStatuses} with ${counted(entries, "entry", "entries")}`;
}

function counted(amount: number, one: string, many: string): string {
  return `${amount} ${amount === 1 ? one : many}`;
}
