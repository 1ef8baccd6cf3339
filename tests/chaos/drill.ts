/** One chaos, from calm to calm: a load of programs, faults, healing, and what is left of it all. */

import { join } from "node:path";
import { isAikiError } from "@aikirun/lib";
import { type Actions, noActions } from "../end-to-end/facts.ts";
import { checkers, found, grouped } from "../end-to-end/invariants.ts";
import { watchLateness } from "../end-to-end/lateness.ts";
import { readEffects } from "../end-to-end/ledger.ts";
import { until } from "../end-to-end/processes.ts";
import { type DatabaseRows, readRows } from "../end-to-end/rows.ts";
import { prng } from "../simulate/prng.ts";
import { openSessions, openStreams, unfinishedRuns } from "./aftermath.ts";
import { alwaysCheckers, type ChaosFacts, chaosCheckers } from "./checkers.ts";
import { type Engines, openEngines, type TopologyName } from "./engines.ts";
import { faultKinds } from "./faults.ts";
import { type ChaosFleet, gather } from "./fleet.ts";
import type { Harm } from "./harm.ts";
import { type ChaosNemesis, nemesis } from "./nemesis.ts";
import { misfits } from "./replays.ts";
import { sightings } from "./sightings.ts";
import { type ChaosUsers, invite } from "./users.ts";
import { readNaps } from "./witness.ts";

export interface DrillOptions {
  topology: TopologyName;
  seed: string;
  /** How long faults are inflicted. Milliseconds. */
  chaosMs: number;
  /** For logs, ledgers and engines. */
  directory: string;
  say: (line: string) => void;
}

export interface DrillOutcome {
  violations: string[];
  /** Faults that never did what they were meant to: then nothing is proven. */
  missed: string[];
  faults: ChaosNemesis["tally"];
  /** What was seen to happen, by what it was. */
  seen: Map<string, number>;
}

const calmMs = 10_000;
const drainMs = 60_000;
/** Work that does not get on for so long stands still: several leases, and the hint of a queued run. */
const stuckMs = 20_000;
const pace = { least: 250, most: 1_250, lull: 1_500 };
const workerCount = 4;
const programsAtOnce = 24;

export async function drill(options: DrillOptions): Promise<DrillOutcome> {
  const engines = await openEngines(options.topology, options.directory);
  const servers = options.topology === "sqlite" ? 1 : 3;
  const witness = { ledger: join(options.directory, "effects"), naps: join(options.directory, "naps") };
  const fleet = await gather({ engines, directory: options.directory, witness, servers, workers: workerCount });
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
  readonly #witness: { ledger: string; naps: string };
  readonly #servers: number;
  readonly #deeds: Actions;
  readonly #harms: Harm[] = [];
  readonly #violations: string[] = [];

  constructor(
    options: DrillOptions,
    engines: Engines,
    fleet: ChaosFleet,
    witness: { ledger: string; naps: string },
    servers: number,
  ) {
    this.#options = options;
    this.#engines = engines;
    this.#fleet = fleet;
    this.#witness = witness;
    this.#servers = servers;
    this.#deeds = noActions({});
    watchLateness((ms, at) => this.#harms.push({ what: "stood still", pid: null, from: at - ms, until: at }));
  }

  async run(): Promise<DrillOutcome> {
    const { say, seed } = this.#options;
    const random = prng(seed);
    const urls = this.#fleet.proxies.map(({ url }) => url);
    const users = await invite({ urls, prng: random.fork("users"), deeds: this.#deeds, count: programsAtOnce });
    try {
      say(`calm for ${calmMs / 1_000} s: ${this.#fleet.members.map(({ name }) => name).join(", ")}`);
      await wait(calmMs);
      say(`${users.finished} programs done; chaos for ${this.#options.chaosMs / 1_000} s`);
      const faults = await this.#chaos(users, random.fork("nemesis"));
      say(`healed; ${users.finished} programs done, ${users.unfinished} under way`);
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

  /** Half-way, what always holds is looked at in the middle of it. */
  async #chaos(users: ChaosUsers, random: ReturnType<typeof prng>): Promise<ChaosNemesis["tally"]> {
    const { say, chaosMs } = this.#options;
    const victims = { engines: this.#engines, fleet: this.#fleet, harms: this.#harms, deeds: this.#deeds };
    const made = nemesis({
      kinds: faultKinds(this.#engines),
      victims,
      prng: random,
      say,
      isBusy: () => users.unfinished > 0,
      pace,
    });
    const run = made.run(chaosMs);
    const looked = wait(chaosMs / 2).then(() => this.#look(users));
    await Promise.all([run, looked]);
    for (const member of this.#fleet.members) if (!member.isWell) await member.start();
    return made.tally;
  }

  async #look(users: ChaosUsers): Promise<void> {
    const deeds: Actions = { ...this.#deeds, sent: [...this.#deeds.sent], outputs: new Map(this.#deeds.outputs) };
    const rows = await this.#rows();
    const lines = found(alwaysCheckers(), this.#facts(users, rows, deeds));
    this.#options.say(`half-way: ${rows.runs.length} runs, ${rows.entries.length} entries, ${lines.length} violations`);
    this.#violations.push(...lines.map((line) => `half-way, ${line}`));
  }

  /** Whatever the faults do meanwhile. What cannot be read though it is there is no fault of theirs. */
  #rows(): Promise<DatabaseRows> {
    const read = () =>
      readRows(this.#engines.database).catch((thrown: unknown) => {
        if (isAikiError(thrown)) throw thrown;
        return null;
      });
    return until("the database answers", read);
  }

  /** Whether everything that began came to its end. */
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
    const left = isDone ? await settled(open, 10_000) : await open();
    this.#violations.push(...left.map((line) => `drain: ${line}`));
    if (!isDone && left.length === 0) this.#violations.push("drain: all runs have ended, and users were not told");
    return left.length === 0 && isDone;
  }

  async #check(users: ChaosUsers): Promise<DatabaseRows> {
    const rows = await this.#rows();
    const { postgres, redis } = this.#engines;
    const sessions = postgres === null ? [] : await settled(() => openSessions(postgres, this.#servers), 5_000);
    const streams = redis === null ? [] : await settled(() => openStreams(redis, workerCount), 20_000);
    const facts = { ...this.#facts(users, rows, this.#deeds), sessions, streams, misfits: await misfits(rows) };
    this.#violations.push(...found(checkers, facts), ...found(chaosCheckers, facts));
    const { say } = this.#options;
    say(`${rows.runs.length} runs, ${rows.entries.length} entries, ${facts.effects.length} effects checked`);
    return rows;
  }

  #facts(users: ChaosUsers, rows: DatabaseRows, deeds: Actions): ChaosFacts {
    return {
      ...deeds,
      ...rows,
      faults: this.#harms.length,
      effects: readEffects(this.#witness.ledger),
      naps: readNaps(this.#witness.naps),
      harms: [...this.#harms, ...this.#fleet.latenesses()],
      readings: users.readings,
      surprises: users.surprises,
      deaths: this.#fleet.deaths,
      alarms: this.#fleet.alarms(),
      misfits: [],
      sessions: [],
      streams: [],
    };
  }

  /** Nothing may change because all were away; and whoever asks again is told the same. */
  async #restart(users: ChaosUsers, before: DatabaseRows): Promise<void> {
    const { members } = this.#fleet;
    const { postgres, redis } = this.#engines;
    await Promise.all(members.map((member) => member.ask()));
    await postgres?.control("-m", "fast", "restart");
    await redis?.kill();
    await redis?.start();
    await Promise.all(members.map((member) => member.start()));
    await users.readAgain();
    const after = await this.#rows();
    const facts = this.#facts(users, after, this.#deeds);
    const { oneReading, surprises, deaths, alarms } = chaosCheckers;
    const lines = found({ ...checkers, oneReading, surprises, deaths, alarms }, facts);
    this.#violations.push(...lines.map((line) => `after the restart, ${line}`));
    const changed = differences(before, after);
    this.#violations.push(...changed.map((id) => `restart: ${id} is not what it was`));
  }

  async #outcome(users: ChaosUsers, faults: ChaosNemesis["tally"]): Promise<DrillOutcome> {
    const { entries } = await this.#rows();
    const seen = sightings({
      met: users.met,
      entries,
      effects: readEffects(this.#witness.ledger),
      said: `${this.#fleet.said("worker")}\n${this.#fleet.said("server")}`,
    });
    const missed = [...faults].filter(([, { meant }]) => meant === 0).map(([name]) => name);
    return { violations: this.#violations, missed, faults, seen };
  }
}

/** What is left of a trouble once it is gone, or the time is over. */
async function settled(trouble: () => Promise<string[]>, withinMs: number): Promise<string[]> {
  const giveUpAt = Date.now() + withinMs;
  for (;;) {
    const left = await trouble();
    if (left.length === 0 || Date.now() > giveUpAt) return left;
    await wait(250);
  }
}

/** Ids of runs that differ, or whose entries do. */
function differences(before: DatabaseRows, after: DatabaseRows): string[] {
  const told = ({ runs, entries }: DatabaseRows) => {
    const records = grouped(entries, ({ runId }) => runId);
    return new Map(runs.map((run) => [run.id, JSON.stringify([run, [...run.events], records.get(run.id)])]));
  };
  const [was, is] = [told(before), told(after)];
  return [...new Set([...was.keys(), ...is.keys()])].filter((id) => was.get(id) !== is.get(id));
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
