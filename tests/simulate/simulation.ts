/** Simulates one seed: faults during work, then recovery. All runs must end without a violation. */

import type { ReportReply, ReportRequest } from "@aikirun/lib/protocol";
import type { Run } from "../../packages/server/src/core/run.ts";
import type { Storage } from "../../packages/server/src/storage/storage.ts";
import { audit } from "./audit.ts";
import { checkEnd } from "./end.ts";
import { entryRules } from "./facts.ts";
import { Fleet } from "./fleet.ts";
import { drawKnobs, type Knobs } from "./knobs.ts";
import { Ledger } from "./ledger.ts";
import { Mirror } from "./mirror.ts";
import { Nemesis } from "./nemesis.ts";
import { Network } from "./network.ts";
import { Operator } from "./operator.ts";
import { prng } from "./prng.ts";
import type { RuleContext } from "./rule-context.ts";
import { Holders, isLoss, isOver, rowRules } from "./rules.ts";
import { type Stalled, Stalls } from "./stalls.ts";
import { Users } from "./users.ts";
import { World } from "./world.ts";

/** Opens an empty storage that reads this clock. `dispose` removes its files after it is closed. */
export type OpenStorage = (clock: { now(): number }) => Promise<{ storage: Storage; dispose: () => Promise<void> }>;

export interface SimulationOutcome {
  seed: number;
  /** Empty if the seed passed. */
  violations: string[];
  digest: string;
  knobs: Knobs;
  lines: string[];
  steps: number;
  runs: number;
  effects: number;
  commits: number;
  injected: ReadonlyMap<string, number>;
  /** Runs that stalled because of their code: one item for each time. */
  stalled: readonly Stalled[];
  /** The number of runs that were refused as ambiguous although every call has a key. */
  refusedAgain: number;
  /** How many effects were repeated, after a refusal or in a later attempt, although their results were recorded. */
  repeats: number;
  /** How often a call received a value that might belong to another call that the code had not yet made. */
  mistakes: number;
}

/** How long runs may take to end after all faults have ended. Virtual milliseconds. */
const settleMs = 4 * 60 * 60_000;
/** How often the operator acts after faults have ended. Virtual milliseconds. */
const operateMs = 2_000;
/** A simulation with more steps than this is considered an endless loop. */
const maxSteps = 2_000_000;

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
  const context: RuleContext = {
    world,
    mirror,
    ledger,
    maxCrashes: knobs.settings.maxCrashes,
    isGentle: knobs.isGentle,
    releases: network.releases,
    leaving: network.leaving,
    cancelled: users.cancelled,
    incompatible: nemesis.incompatible,
    hasDeployed: () => nemesis.hasDeployed,
    hasOtherCode: () => fleet.code.build > 0,
  };
  const stalls = new Stalls(context);
  const losses = registerRules(context, stalls);
  network.onReported = (request, reply) => checkRepeatedReport(world, mirror, request, reply);
  users.begin();
  nemesis.begin();

  const isBroken = () => world.violations.length > 0 || world.steps > maxSteps;
  await world.run(world.now + knobs.chaosMs, isBroken);
  nemesis.endFaults();
  const operator = new Operator({ world, users, nemesis, fleet, mirror, ledger });
  const until = world.now + settleMs;
  const isDone = () => isBroken() || (users.isIdle && [...mirror.runs.values()].every(isOver));
  // Messages that are still in flight may start a run again.
  do {
    while (world.now < until && !isDone()) {
      operator.operate();
      await world.run(world.now + operateMs, isDone);
    }
    if (!isBroken()) await world.run(world.now + 5_000, isBroken);
  } while (world.now < until && !isDone());
  if (!isBroken()) await audit({ world, mirror, ledger, code: fleet.code });
  if (!isBroken()) await runUntilDone(world, checkEnd({ world, mirror, ledger, users, nemesis, storage, losses }));
  if (world.steps > maxSteps) world.violate("LIVENESS", `not finished after ${maxSteps} steps`);
  await runUntilDone(world, storage.close());
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
    injected: nemesis.injected,
    stalled: stalls.all,
    refusedAgain: operator.refusedAgain.size,
    repeats: ledger.repeats,
    mistakes: ledger.identity.mistakes,
  };
}

/** Runs the world until `work` is done, because `work` may wait for a transaction of the world. */
async function runUntilDone(world: World, work: Promise<void>): Promise<void> {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  await world.run(world.now + 60_000, () => isDone);
  await done;
}

/** Registers the rules for every commit. Returns how often each run was lost by its holder. */
function registerRules(context: RuleContext, stalls: Stalls): Map<string, number> {
  const holders = new Holders();
  const losses = new Map<string, number>();
  context.mirror.onCommit(rowRules(context, holders, stalls));
  context.mirror.onCommit(entryRules(context, holders));
  context.mirror.onCommit(({ changes }) => {
    for (const change of changes) {
      const { id }: Run = change.after;
      if (isLoss(change)) losses.set(id, (losses.get(id) ?? 0) + 1);
    }
  });
  return losses;
}

/** A repeat of the last accepted report must get the same reply. */
function checkRepeatedReport(world: World, mirror: Mirror, { reports }: ReportRequest, { results }: ReportReply): void {
  for (const [index, { runId, fence, reportId }] of reports.entries()) {
    const last = mirror.runs.get(runId)?.reported;
    const result = results[index];
    if (last?.fence === fence && last.reportId === reportId && result?.ok === false) {
      world.violate(
        "REPEATED_REPORT",
        `${world.names.of(runId)} accepted report ${reportId} under fence ${fence}, and then replied ${result.code}`,
      );
    }
  }
}
