/** The size of each workload. `quick` only tests the benchmark. Only figures of `full` are meaningful. */

import type { Backlog } from "./backlog.ts";
import type { Listed } from "./listed.ts";

export interface Sizes {
  /** W1: the number of measured runs. */
  runs: number;
  /** W1: the number of runs before the measured ones, which warm up the processes. */
  warmUp: number;
  /** W6: the number of runs after which memory is measured. */
  remembered: number;
  /** W2 and W7: the number of measured runs, or of measured claims. */
  singles: number;
  /** W3: the number of measured runs. */
  fans: number;
  /** W4: the numbers of steps of the measured runs. */
  history: number[];
  /** W4: the number of steps of the replayed run. */
  replayed: number;
  /** W5: how many runs sleep at the same time. */
  sleepers: number[];
  /** W6: how many runs sleep while memory is measured. */
  asleep: number;

  /** W7: the numbers of other runs in the database while claims are measured. */
  backlog: Backlog;
  /** W8: the runs in the database, and the measured pages. */
  listed: Listed;
  /** How long one measurement of the baseline takes. */
  baselineMs: number;
  /** The time limit of one measurement. */
  timeoutMs: number;
}

const full: Sizes = {
  runs: 10_000,
  warmUp: 500,
  remembered: 2_000,
  singles: 200,
  fans: 20,
  history: [500, 1_000, 5_000],
  replayed: 10_000,
  sleepers: [100, 1_000],
  asleep: 1_000_000,
  backlog: { finished: 1_000_000, queued: 100_000 },
  listed: { runs: 1_000_000, rarity: 5_000, pages: 300 },
  baselineMs: 2_000,
  timeoutMs: 1_800_000,
};

const quick: Sizes = {
  runs: 400,
  warmUp: 50,
  remembered: 400,
  singles: 50,
  fans: 5,
  history: [200, 1_000],
  replayed: 2_000,
  sleepers: [100],
  asleep: 10_000,
  backlog: { finished: 5_000, queued: 1_000 },
  listed: { runs: 20_000, rarity: 1_000, pages: 10 },
  baselineMs: 300,
  timeoutMs: 120_000,
};

export const sizes: Readonly<Record<string, Sizes>> = { full, quick };
