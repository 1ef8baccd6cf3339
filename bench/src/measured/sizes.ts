/** The size of each workload. `quick` only tests the benchmark. Only figures of `full` are meaningful. */

import type { Backlog } from "./backlog.ts";
import type { Listed } from "./listed.ts";

export interface Sizes {
  runs: number;
  /** Runs before the measured ones, to warm up the processes. */
  warmUp: number;
  /** The number of runs after which memory is measured. */
  remembered: number;
  singles: number;
  fans: number;
  history: number[];
  replayed: number;
  sleepers: number[];
  asleep: number;
  /** The number of other runs during the measurement of claims. */
  backlog: Backlog;
  listed: Listed;
  yardstickMs: number;
  /** The time limit of one measurement. */
  patienceMs: number;
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
  yardstickMs: 2_000,
  patienceMs: 1_800_000,
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
  yardstickMs: 300,
  patienceMs: 120_000,
};

export const sizes: Readonly<Record<string, Sizes>> = { full, quick };
