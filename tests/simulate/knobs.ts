/** The parameters that a seed determines: sizes, delays, and which faults are enabled (each is on or off at random). */

import type { Prng } from "./prng.ts";

export interface Knobs {
  servers: number;
  workers: number;
  runs: number;
  /** Only messages are lost or delayed, and leases are longer. No worker may lose a run, and no effect repeats. */
  isGentle: boolean;
  /** How long users act and faults are injected. Milliseconds. */
  chaosMs: number;
  heartbeatIntervalMs: number;
  slots: number;
  gracefulShutdownTimeoutMs: number;
  polling: boolean;
  /** Whether workers have a `buildId`. Without it, a replay cannot know whether the code has changed. */
  namesBuild: boolean;
  settings: { redeliverMs: number; maxRedeliverMs: number; maxCrashes: number };
  /** Whether code that adds keys has another build id. */
  keysAreBuilds: boolean;
  network: NetworkKnobs;
  disk: DiskKnobs;
  /** Mean milliseconds between two faults of a kind. Null if it is disabled. */
  faults: Record<SimulatedFault, number | null>;
}

export interface NetworkKnobs {
  delayMs: number;
  /** Probabilities, per call. */
  dropRequest: number;
  loseReply: number;
  duplicate: number;
  /** Whether claims are duplicated too. A late duplicate takes runs that no worker executes. */
  duplicatesClaims: boolean;
  /** A message that takes much longer than others, so that later ones arrive first. */
  slowMessage: number;
}

export interface DiskKnobs {
  /** Probabilities, per transaction. */
  failBefore: number;
  failAfter: number;
  failRead: number;
  /** Of other events between two statements. */
  interleave: number;
  delayMs: number;
}

export const faults = [
  "killWorker",
  "stopWorker",
  "pauseWorker",
  "killServer",
  "closeServer",
  "pauseServer",
  "jumpClock",
  "cutNetwork",
] as const;

export type SimulatedFault = (typeof faults)[number];

export function drawKnobs(prng: Prng): Knobs {
  const isGentle = prng.chance(0.15);
  const isCalm = isGentle || prng.chance(0.1);
  const rate = (probability: number, from: number, to: number) =>
    !isCalm && prng.chance(probability) ? prng.magnitude(from, to) : null;
  const odds = (probability: number, most: number) => (!isCalm && prng.chance(probability) ? prng.next() * most : 0);
  const wireOdds = (most: number) => (isGentle && prng.chance(0.7) ? prng.next() * most : 0);
  const chaosMs = prng.pick([5_000, 20_000, 60_000, 120_000]);
  const redeliverMs = prng.magnitude(100, 10_000);
  const delayMs = prng.pick([0, 2, 20, 100]);
  return {
    servers: prng.chance(0.65) ? 2 : 1,
    workers: prng.between(2, 4),
    runs: prng.between(2, 7),
    chaosMs,
    isGentle,
    heartbeatIntervalMs: isGentle ? 60_000 : prng.magnitude(Math.max(50, 5 * delayMs), 20_000),
    slots: prng.pick([1, 2, 5, 20]),
    gracefulShutdownTimeoutMs: prng.pick([0, 100, 5_000]),
    polling: prng.chance(0.3),
    namesBuild: prng.chance(0.8),
    keysAreBuilds: prng.chance(0.3),
    settings: {
      redeliverMs,
      maxRedeliverMs: redeliverMs * prng.pick([1, 4, 30]),
      maxCrashes: prng.pick([1, 2, 5]),
    },
    network: {
      delayMs,
      dropRequest: odds(0.4, 0.15),
      loseReply: odds(0.5, 0.2) + wireOdds(0.2),
      duplicate: odds(0.4, 0.15) + wireOdds(0.15),
      duplicatesClaims: !isGentle,
      slowMessage: odds(0.3, 0.1),
    },
    disk: {
      failBefore: odds(0.3, 0.08),
      failAfter: odds(0.3, 0.08),
      failRead: odds(0.2, 0.03),
      interleave: prng.chance(0.5) ? prng.next() * 0.5 : 0,
      delayMs: prng.pick([0, 0, 1, 10]),
    },
    faults: {
      killWorker: rate(0.5, chaosMs / 12, chaosMs / 2),
      stopWorker: rate(0.4, chaosMs / 15, chaosMs / 2),
      pauseWorker: rate(0.4, chaosMs / 12, chaosMs / 2),
      killServer: rate(0.3, chaosMs / 8, chaosMs / 2),
      closeServer: rate(0.2, chaosMs / 8, chaosMs / 2),
      pauseServer: rate(0.2, chaosMs / 8, chaosMs / 2),
      jumpClock: rate(0.2, chaosMs / 6, chaosMs),
      cutNetwork: rate(0.2, chaosMs / 6, chaosMs),
    },
  };
}
