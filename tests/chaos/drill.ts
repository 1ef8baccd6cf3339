/** One chaos test: load, faults, recovery, checks and a cold restart. */

import { join } from "node:path";
import { isAikiError } from "@aikirun/lib";
import { type Actions, noActions } from "../end-to-end/facts.ts";
import { checkers, found, grouped } from "../end-to-end/invariants.ts";
import { watchLateness } from "../end-to-end/lateness.ts";
import { readEffects } from "../end-to-end/ledger.ts";
import { until } from "../end-to-end/processes.ts";
import { type DatabaseRows, readRows } from "../end-to-end/rows.ts";
import { prng } from "../simulate/prng.ts";
import { alwaysCheckers, type ChaosFacts, chaosCheckers } from "./checkers.ts";
import { type Engines, openEngines, type TopologyName } from "./engines.ts";
import { faultKinds } from "./faults.ts";
import { type ChaosFleet, openFleet } from "./fleet.ts";
import type { Harm } from "./harm.ts";
import { openSessions, openStreams, unfinishedRuns } from "./leftovers.ts";
import { type ChaosNemesis, nemesis } from "./nemesis.ts";
import { observedCounts } from "./observed.ts";
import { replayFailures } from "./replay.ts";
import { type ChaosUsers, startUsers } from "./users.ts";
import { readSleeps } from "./witness.ts";

export interface DrillOptions {
  topology: TopologyName;
  seed: string;
  /** How long faults are injected. Milliseconds. */
  chaosMs: number;
  /** The directory of logs, ledgers and engines. */
  directory: string;
  say: (line: string) => void;
}

export interface DrillOutcome {
  violations: string[];
  /** Faults that never took effect. If there is one, the test has not passed. */
  missed: string[];
  faults: ChaosNemesis["tally"];
  /** How often each kind of event was observed. */
  seen: Map<string, number>;
}

const calmMs = 10_000;
const drainMs = 60_000;
/** If no program finishes for this long, the system is stuck: several leases and a redelivery. Milliseconds. */
const stuckMs = 20_000;
const pace = { leastMs: 250, mostMs: 1_250, pauseMs: 1_500 };
const workerCount = 4;
const programsAtOnce = 24;

export async function drill(options: DrillOptions): Promise<DrillOutcome> {
  const engines = await openEngines(options.topology, options.directory);
  const servers = options.topology === "sqlite" ? 1 : 3;
  const witness = { ledger: join(options.directory, "effects"), sleeps: join(options.directory, "naps") };
  const fleet = await openFleet({ engines, directory: options.directory, witness, servers, workers: workerCount });
  try {
    return await new Drill(options, engines, fleet, witness, servers).run();
  } finally {
    await fleet.close();
    await engines.close();
  }
}

class Drill {
  readonly #options: DrillOptions;
  readonly #engines: Engines;
  readonly #fleet: ChaosFleet;
  readonly #witness: { ledger: string; sleeps: string };
  readonly #servers: number;
  readonly #actions: Actions;
  readonly #harms: Harm[] = [];
  readonly #violations: string[] = [];

  constructor(
    options: DrillOptions,
    engines: Engines,
    fleet: ChaosFleet,
    witness: { ledger: string; sleeps: string },
    servers: number,
  ) {
    this.#options = options;
    this.#engines = engines;
    this.#fleet = fleet;
    this.#witness = witness;
    this.#servers = servers;
    this.#actions = noActions({});
    watchLateness((ms, at) => this.#harms.push({ what: "test process paused", pid: null, from: at - ms, until: at }));
  }

  async run(): Promise<DrillOutcome> {
    const { say, seed } = this.#options;
    const random = prng(seed);
    const urls = this.#fleet.proxies.map(({ url }) => url);
    const users = await startUsers({ urls, prng: random.fork("users"), actions: this.#actions, count: programsAtOnce });
    try {
      say(`calm for ${calmMs / 1_000} s: ${this.#fleet.members.map(({ name }) => name).join(", ")}`);
      await wait(calmMs);
      say(`${users.finished} programs done; chaos for ${this.#options.chaosMs / 1_000} s`);
      const faults = await this.#chaos(users, random.fork("nemesis"));
      say(`all faults ended; ${users.finished} programs done, ${users.unfinished} in progress`);
      if (!(await this.#drain(users))) return await this.#outcome(users, faults);
      say("drained; checking");
      const before = await this.#check(users);
      say("cold restart of everything");
      await this.#restart(users, before);
      return await this.#outcome(users, faults);
    } finally {
      await users.close();
    }
  }

  /** Checks the invariants that always hold half-way, while faults continue. */
  async #chaos(users: ChaosUsers, random: ReturnType<typeof prng>): Promise<ChaosNemesis["tally"]> {
    const { say, chaosMs } = this.#options;
    const targets = { engines: this.#engines, fleet: this.#fleet, harms: this.#harms, actions: this.#actions };
    const made = nemesis({
      kinds: faultKinds(this.#engines),
      targets: targets,
      prng: random,
      say,
      isBusy: () => users.unfinished > 0,
      pace,
    });
    const run = made.run(chaosMs);
    const looked = wait(chaosMs / 2).then(() => this.#look(users));
    await Promise.all([run, looked]);
    for (const member of this.#fleet.members) if (!member.isRunning) await member.start();
    return made.tally;
  }

  async #look(users: ChaosUsers): Promise<void> {
    const actions: Actions = {
      ...this.#actions,
      sent: [...this.#actions.sent],
      outputs: new Map(this.#actions.outputs),
    };
    const rows = await this.#rows();
    const lines = found(alwaysCheckers(), this.#facts(users, rows, actions));
    this.#options.say(`half-way: ${rows.runs.length} runs, ${rows.entries.length} entries, ${lines.length} violations`);
    this.#violations.push(...lines.map((line) => `half-way, ${line}`));
  }

  /** Retries while faults make the database unreachable. An error of Aiki itself is thrown. */
  #rows(): Promise<DatabaseRows> {
    const read = () =>
      readRows(this.#engines.database).catch((thrown: unknown) => {
        if (isAikiError(thrown)) throw thrown;
        return null;
      });
    return until("the database is readable", read);
  }

  /** Waits until all runs have ended, and returns whether they have. */
  async #drain(users: ChaosUsers): Promise<boolean> {
    let isDone = false;
    const done = users.finish().then(() => {
      isDone = true;
    });
    const deadline = Date.now() + drainMs;
    let progress = { finished: users.finished, at: Date.now() };
    while (!isDone && Date.now() < deadline && Date.now() - progress.at < stuckMs) {
      await Promise.race([done, wait(100)]);
      if (users.finished > progress.finished) progress = { finished: users.finished, at: Date.now() };
    }
    const open = () => unfinishedRuns(this.#engines.database);
    const remaining = isDone ? await settled(open, 10_000) : await open();
    this.#violations.push(...remaining.map((line) => `drain: ${line}`));
    if (!isDone && remaining.length === 0)
      this.#violations.push("drain: all runs have ended, but clients did not receive their results");
    return remaining.length === 0 && isDone;
  }

  async #check(users: ChaosUsers): Promise<DatabaseRows> {
    const rows = await this.#rows();
    const { postgres, redis } = this.#engines;
    const sessions = postgres === null ? [] : await settled(() => openSessions(postgres, this.#servers), 5_000);
    const streams = redis === null ? [] : await settled(() => openStreams(redis, workerCount), 20_000);
    const facts = {
      ...this.#facts(users, rows, this.#actions),
      sessions,
      streams,
      replayFailures: await replayFailures(rows),
    };
    this.#violations.push(...found(checkers, facts), ...found(chaosCheckers, facts));
    const { say } = this.#options;
    say(`${rows.runs.length} runs, ${rows.entries.length} entries, ${facts.effects.length} effects checked`);
    return rows;
  }

  #facts(users: ChaosUsers, rows: DatabaseRows, actions: Actions): ChaosFacts {
    return {
      ...actions,
      ...rows,
      faults: this.#harms.length,
      effects: readEffects(this.#witness.ledger),
      observedSleeps: readSleeps(this.#witness.sleeps),
      harms: [...this.#harms, ...this.#fleet.pauses()],
      readings: users.readings,
      clientErrors: users.clientErrors,
      exits: this.#fleet.exits,
      loggedErrors: this.#fleet.loggedErrors(),
      replayFailures: [],
      sessions: [],
      streams: [],
    };
  }

  /** Restarts everything. No row may change, and repeated requests must get the same replies. */
  async #restart(users: ChaosUsers, before: DatabaseRows): Promise<void> {
    const { members } = this.#fleet;
    const { postgres, redis } = this.#engines;
    await Promise.all(members.map((member) => member.terminate()));
    await postgres?.control("-m", "fast", "restart");
    await redis?.kill();
    await redis?.start();
    await Promise.all(members.map((member) => member.start()));
    await users.readAllAgain();
    const after = await this.#rows();
    const facts = this.#facts(users, after, this.#actions);
    const { oneReading, clientErrors: surprises, exits: deaths, loggedErrors: alarms } = chaosCheckers;
    const lines = found({ ...checkers, oneReading, surprises, deaths, alarms }, facts);
    this.#violations.push(...lines.map((line) => `after the restart, ${line}`));
    const changed = differences(before, after);
    this.#violations.push(...changed.map((id) => `restart: ${id} has changed`));
  }

  async #outcome(users: ChaosUsers, faults: ChaosNemesis["tally"]): Promise<DrillOutcome> {
    const { entries } = await this.#rows();
    const seen = observedCounts({
      observed: users.observed,
      entries,
      effects: readEffects(this.#witness.ledger),
      output: `${this.#fleet.output("worker")}\n${this.#fleet.output("server")}`,
    });
    const missed = [...faults].filter(([, { effective }]) => effective === 0).map(([name]) => name);
    return { violations: this.#violations, missed, faults, seen };
  }
}

/** Calls `look` until it returns no lines, or until the time is over. */
async function settled(look: () => Promise<string[]>, withinMs: number): Promise<string[]> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const remaining = await look();
    if (remaining.length === 0 || Date.now() > deadline) return remaining;
    await wait(250);
  }
}

/** The ids of runs that differ, or whose entries differ. */
function differences(before: DatabaseRows, after: DatabaseRows): string[] {
  const snapshot = ({ runs, entries }: DatabaseRows) => {
    const records = grouped(entries, ({ runId }) => runId);
    return new Map(runs.map((run) => [run.id, JSON.stringify([run, [...run.events], records.get(run.id)])]));
  };
  const [old, is] = [snapshot(before), snapshot(after)];
  return [...new Set([...old.keys(), ...is.keys()])].filter((id) => old.get(id) !== is.get(id));
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
