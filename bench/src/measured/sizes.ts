/** How much of each workload. `quick` shows that the bench works; only `full` is worth a claim. */

export interface Sizes {
  runs: number;
  /** Runs before those that are timed: a server that has just begun is not what is asked about. */
  warmUp: number;
  /** Runs after which memory is measured. */
  remembered: number;
  singles: number;
  fans: number;
  history: number[];
  replayed: number;
  sleepers: number[];
  asleep: number;
  /** Finished and queued runs behind which others are claimed. */
  backlog: { finished: number; queued: number };
  yardstickMs: number;
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
  yardstickMs: 2_000,
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
  yardstickMs: 300,
};

export const sizes: Readonly<Record<string, Sizes>> = { full, quick };
