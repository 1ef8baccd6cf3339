/** One seed: a world is hurt while everybody works, heals, and must come to rest with every promise kept. */

import type { ReportReply, ReportRequest } from "@aikirun/lib/protocol";
import type { Run } from "../../packages/server/src/core/run.ts";
import type { Storage } from "../../packages/server/src/storage/storage.ts";
import { audit } from "./audit.ts";
import type { Circumstances } from "./circumstances.ts";
import { checkEnd } from "./end.ts";
import { factRules } from "./facts.ts";
import { Fleet } from "./fleet.ts";
import { drawKnobs, type Knobs } from "./knobs.ts";
import { Ledger } from "./ledger.ts";
import { Mirror } from "./mirror.ts";
import { Nemesis } from "./nemesis.ts";
import { Network } from "./network.ts";
import { prng } from "./prng.ts";
import { Holders, isLoss, isOver, rowRules } from "./rules.ts";
import { type Stalled, Stalls } from "./stalls.ts";
import { Tender } from "./tender.ts";
import { Users } from "./users.ts";
import { World } from "./world.ts";

/** Opens an empty storage that reads this clock, and what disposes of it once it is closed. */
export type OpenStorage = (clock: { now(): number }) => Promise<{ storage: Storage; dispose: () => Promise<void> }>;

export interface SimulationOutcome {
  seed: number;
  /** Empty when every promise was kept. */
  violations: string[];
  digest: string;
  knobs: Knobs;
  lines: string[];
  steps: number;
  runs: number;
  effects: number;
  commits: number;
  inflicted: ReadonlyMap<string, number>;
  /** Runs that stopped because of their code, as often as they did. */
  stalled: readonly Stalled[];
  /** Runs that were refused as ambiguous though every call has a key. */
  refusedAgain: number;
  /** Effects that were done again after a refusal, though their results were recorded. */
  redone: number;
  /** How often a call was given what another one could claim as well, before the code had come to both. */
  mistakes: number;
}

/** How long a healed world may take to come to rest. Virtual milliseconds. */
const restMs = 4 * 60 * 60_000;
/** How often somebody looks after what waits for people. Virtual milliseconds. */
const tendMs = 2_000;
/** A world that takes so many steps goes round in circles. */
const maxSteps = 600_000;

export async function simulate(seed: number, open: OpenStorage): Promise<SimulationOutcome> {
  const world = new World(prng(`seed ${seed}`));
  const knobs = drawKnobs(world.prng.fork("knobs"));
  const database = { skew: 0 };
  const clock = { now: () => world.now + database.skew };
  const { storage, dispose } = await open(clock);
  const mirror = new Mirror();
  mirror.now = clock.now;
  const ledger = new Ledger(world, mirror);
  const network = new Network(world, knobs.network);
  const fleet = new Fleet({ world, knobs, storage, mirror, ledger, network });
  const users = new Users({ world, fleet, ledger, knobs });
  const nemesis = new Nemesis({ world, knobs, fleet, network, mirror, ledger, database });
  const around: Circumstances = {
    world,
    mirror,
    ledger,
    maxCrashes: knobs.settings.maxCrashes,
    isGentle: knobs.isGentle,
    releases: network.releases,
    leaving: network.leaving,
    cancelled: users.cancelled,
    misfits: nemesis.misfits,
    hasDeployed: () => nemesis.hasDeployed,
    hasOtherCode: () => fleet.code.build > 0,
  };
  const stalls = new Stalls(around);
  const losses = judge(around, stalls);
  network.onReported = (request, reply) => repeats(world, mirror, request, reply);
  users.begin();
  nemesis.begin();

  const isBroken = () => world.violations.length > 0 || world.steps > maxSteps;
  await world.run(world.now + knobs.chaosMs, isBroken);
  nemesis.heal();
  const tender = new Tender({ world, users, nemesis, fleet, mirror, ledger });
  const until = world.now + restMs;
  const isDone = () => isBroken() || (users.isIdle && [...mirror.runs.values()].every(isOver));
  // What is still on its way may begin something anew.
  do {
    while (world.now < until && !isDone()) {
      tender.tend();
      await world.run(world.now + tendMs, isDone);
    }
    if (!isBroken()) await world.run(world.now + 5_000, isBroken);
  } while (world.now < until && !isDone());
  if (!isBroken()) await audit({ world, mirror, ledger, code: fleet.code });
  if (!isBroken()) await during(world, checkEnd({ world, mirror, ledger, users, nemesis, storage, losses }));
  if (world.steps > maxSteps) world.violate("LIVENESS", `${maxSteps} steps, and no end`);
  await during(world, storage.close());
  world.end();
  await dispose();
  return {
    seed,
    violations: world.violations,
    digest: world.digest,
    knobs,
    lines: world.lastLines,
    steps: world.steps,
    runs: mirror.runs.size,
    effects: ledger.effects.length,
    commits: mirror.commits,
    inflicted: nemesis.inflicted,
    stalled: stalls.all,
    refusedAgain: tender.refusedAgain.size,
    redone: ledger.redone,
    mistakes: ledger.identity.mistakes,
  };
}

/** Lets the world go on while something waits for storage, which a transaction of the world may hold. */
async function during(world: World, work: Promise<void>): Promise<void> {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  await world.run(world.now + 60_000, () => isDone);
  await done;
}

/** Has every commit judged; returns how often each run was lost by its holder. */
function judge(around: Circumstances, stalls: Stalls): Map<string, number> {
  const holders = new Holders();
  const losses = new Map<string, number>();
  around.mirror.onCommit(rowRules(around, holders, stalls));
  around.mirror.onCommit(factRules(around, holders));
  around.mirror.onCommit(({ changes }) => {
    for (const change of changes) {
      const { id }: Run = change.after;
      if (isLoss(change)) losses.set(id, (losses.get(id) ?? 0) + 1);
    }
  });
  return losses;
}

/** The report that a run took last is answered as it was when it comes again. */
function repeats(world: World, mirror: Mirror, { reports }: ReportRequest, { results }: ReportReply): void {
  for (const [index, { runId, fence, reportId }] of reports.entries()) {
    const last = mirror.runs.get(runId)?.reported;
    const result = results[index];
    if (last?.fence === fence && last.reportId === reportId && result?.ok === false) {
      world.violate(
        "REPEAT",
        `${world.names.of(runId)} took report ${reportId} under fence ${fence}, and then: ${result.code}`,
      );
    }
  }
}
