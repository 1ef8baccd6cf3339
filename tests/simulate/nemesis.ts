/** What goes wrong, and when: faults of every kind that the seed has on, until the world heals. */

import type { RunId } from "@aikirun/lib/protocol";
import { wholeOf } from "../../packages/server/src/core/unread.ts";
import { type Edit, insertedPath } from "./code.ts";
import type { Fleet } from "./fleet.ts";
import { faults, type Knobs, type SimulatedFault } from "./knobs.ts";
import type { Ledger } from "./ledger.ts";
import type { Mirror } from "./mirror.ts";
import type { Network } from "./network.ts";
import type { Prng } from "./prng.ts";
import type { Process } from "./process.ts";
import type { Program } from "./program.ts";
import { isOver } from "./rules.ts";
import type { World } from "./world.ts";

export interface NemesisOptions {
  world: World;
  knobs: Knobs;
  fleet: Fleet;
  network: Network;
  mirror: Mirror;
  ledger: Ledger;
  /** The clock that storage reads. */
  database: { skew: number };
}

export class Nemesis {
  /** Runs that were ever deployed with code that does not fit. */
  readonly misfits: Set<RunId> = new Set();
  /** How often a graceful stop met a run in its worker's hands. */
  readonly stops: Map<RunId, number> = new Map();
  /** How often each fault happened. */
  readonly inflicted: Map<string, number> = new Map();
  /** Whether workers were replaced by others that have new code. */
  hasDeployed = false;
  readonly #options: NemesisOptions;
  readonly #prng: Prng;
  #isOver = false;

  constructor(options: NemesisOptions) {
    this.#options = options;
    this.#prng = options.world.prng.fork("nemesis");
  }

  begin(): void {
    const { knobs } = this.#options;
    for (const fault of faults) {
      const mean = knobs.faults[fault];
      if (mean !== null) this.#repeat(fault, mean, () => this.#inflict(fault));
    }
    if (!knobs.isGentle && this.#prng.chance(0.35)) this.#repeat("deploy", knobs.chaosMs / 4, () => this.#deploy());
  }

  /** Faults end, and everything that was hurt is whole again. */
  heal(): void {
    const { fleet, network, world } = this.#options;
    world.trace("--- the world heals ---");
    this.#isOver = true;
    fleet.isHostile = false;
    fleet.isPoisonous = false;
    network.isHostile = false;
    for (const [index, { process }] of fleet.servers.entries()) {
      process.resume();
      fleet.restartServer(index);
    }
    for (const [index, { process }] of fleet.workers.entries()) {
      network.mend(process);
      process.resume();
      fleet.restartWorker(index);
    }
    if (this.misfits.size > 0) this.mendCode();
  }

  /** Code that fits every run by what is recorded of it, on new workers. */
  mendCode(): void {
    const { fleet, mirror, ledger } = this.#options;
    const edits = new Map(fleet.code.edits);
    for (const runId of this.misfits) {
      const addresses = ledger.effects.flatMap((effect) =>
        effect.runId === runId && effect.path === insertedPath ? [effect.address] : [],
      );
      const isRecorded = mirror
        .journal(runId)
        .some((entry) => addresses.some((address) => entry.address.startsWith(address)));
      // The report of a call that the misfit made may have been under way when the code was mended first.
      if (isRecorded) edits.set(runId, { kind: "insert" });
      else edits.delete(runId);
    }
    fleet.deploy({ edits }, true);
  }

  /** Gives every call of these runs a key. */
  deployKeys(runIds: readonly RunId[]): void {
    const { fleet, ledger, world, knobs } = this.#options;
    const keyed = new Set(fleet.code.keyed);
    for (const runId of runIds) keyed.add(ledger.identity.family(runId));
    if (keyed.size === fleet.code.keyed.size) return;
    world.trace(`deploys keys for ${runIds.map((id) => world.names.of(id)).join(", ")}`);
    this.hasDeployed = true;
    fleet.deploy({ keyed }, knobs.keysAreBuilds);
  }

  #repeat(label: string, meanMs: number, act: () => void): void {
    const { world } = this.#options;
    const delay = 1 + this.#prng.below(2 * meanMs);
    const run = () => {
      if (this.#isOver) return;
      this.inflicted.set(label, (this.inflicted.get(label) ?? 0) + 1);
      act();
      this.#repeat(label, meanMs, act);
    };
    world.after(delay, { process: null, label, run });
  }

  #inflict(fault: SimulatedFault): void {
    const { fleet } = this.#options;
    const worker = this.#prng.below(fleet.workers.length);
    const server = this.#prng.below(fleet.servers.length);
    const acts: Record<SimulatedFault, () => void> = {
      killWorker: () =>
        this.#kill(
          () => fleet.killWorker(worker),
          () => fleet.restartWorker(worker),
        ),
      stopWorker: () => this.#stopWorker(worker),
      pauseWorker: () => this.#pauseWorker(fleet.workers[worker]?.process),
      killServer: () =>
        this.#kill(
          () => fleet.killServer(server),
          () => fleet.restartServer(server),
        ),
      closeServer: () => this.#closeServer(server),
      pauseServer: () => this.#pause(fleet.servers[server]?.process),
      jumpClock: () => this.#jump(),
      cutNetwork: () => this.#cut(fleet.workers[worker]?.process),
    };
    acts[fault]();
  }

  #kill(kill: () => void, restart: () => void): void {
    kill();
    this.#later(restart);
  }

  #pauseWorker(process: Process | undefined): void {
    this.#options.ledger.paused = true;
    this.#pause(process);
  }

  #cut(process: Process | undefined): void {
    const { network } = this.#options;
    if (process === undefined) return;
    network.cut(process);
    this.#later(() => network.mend(process));
  }

  /** Makes good what was done to the world, at the latest when it heals. */
  #later(then: () => void): void {
    const { world, knobs } = this.#options;
    if (this.#isOver) {
      then();
      return;
    }
    const delay = this.#prng.magnitude(5, Math.max(10, knobs.chaosMs / 5));
    world.after(delay, { process: null, label: "nemesis", run: () => this.#isOver || then() });
  }

  #pause(process: Process | undefined): void {
    if (process === undefined || process.isPaused) return;
    process.pause();
    this.#later(() => process.resume());
  }

  /** A graceful stop ends within the time it was given. */
  #stopWorker(index: number): void {
    const { fleet, world, mirror, knobs } = this.#options;
    const seat = fleet.workers[index];
    if (seat?.process.isAlive !== true) return;
    const { process } = seat;
    world.trace(`${process.name} is asked to stop`);
    for (const { id, state } of mirror.runs.values()) {
      const isHeld = state.status === "running" && state.worker === process.name;
      if (isHeld) this.stops.set(id, (this.stops.get(id) ?? 0) + 1);
    }
    let isStopped = false;
    const end = () => {
      if (fleet.workers[index]?.process === process) fleet.killWorker(index);
      fleet.restartWorker(index);
    };
    const stop = () =>
      void seat.stop().then(() => {
        isStopped = true;
        world.push({ process: null, label: `${process.name} has stopped`, run: end });
      });
    world.push({ process, label: `${process.name} stops`, run: stop });
    const deadline = knobs.gracefulShutdownTimeoutMs + 1;
    const check = () => {
      const isFree = process.isAlive && !process.isPaused && !this.#options.ledger.paused;
      if (isFree && !isStopped) world.violate("STOP", `${process.name} did not stop within ${deadline} ms`);
      this.#later(end);
    };
    world.after(deadline, { process: null, label: "deadline", run: check });
  }

  #closeServer(index: number): void {
    const { fleet, world } = this.#options;
    const seat = fleet.servers[index];
    if (seat?.process.isAlive !== true) return;
    const { process } = seat;
    world.trace(`${process.name} is asked to close`);
    const end = () => {
      if (fleet.servers[index]?.process === process) fleet.killServer(index);
      this.#later(() => fleet.restartServer(index));
    };
    const close = () => void seat.close().then(() => world.push({ process: null, label: "closed", run: end }));
    world.push({ process, label: `${process.name} closes`, run: close });
  }

  #jump(): void {
    const { world, fleet, database, ledger } = this.#options;
    const by = this.#prng.magnitude(10, 300_000) * this.#prng.pick([-1, 1]);
    const isDatabase = this.#prng.chance(0.4);
    const process = this.#prng.pick([...fleet.workers, ...fleet.servers]).process;
    world.trace(`the clock of ${isDatabase ? "the database" : process.name} jumps by ${by}`);
    if (isDatabase) {
      database.skew += by;
      ledger.clockMoved = true;
    } else {
      process.skew += by;
    }
  }

  /** New code for some run, and new workers that have it. */
  #deploy(): void {
    const { fleet, world, mirror } = this.#options;
    const refused = [...mirror.runs.values()].filter(
      ({ state }) => state.status === "stalled" && state.reason === "ambiguous_call",
    );
    if (refused.length > 0) this.deployKeys(refused.map(({ id }) => id));
    else if (this.#prng.chance(0.3)) this.#keySome();
    const edits = new Map(fleet.code.edits);
    const changed = this.#edit(edits);
    if (changed === null) return;
    world.trace(`deploys new code: ${changed}`);
    this.hasDeployed = true;
    fleet.deploy({ edits }, true);
  }

  /** Keys may come to a run that needs none. */
  #keySome(): void {
    const { mirror } = this.#options;
    const going = [...mirror.runs.values()].filter((run) => !isOver(run));
    if (going.length > 0) this.deployKeys([this.#prng.pick(going).id]);
  }

  /** Changes the code of one run; null when none can be changed now. */
  #edit(edits: Map<RunId, Edit>): string | null {
    const { mirror, world } = this.#options;
    const rows = [...mirror.runs.values()].filter(
      (run) => !isOver(run) && !edits.has(run.id) && run.options.retryOf === undefined,
    );
    if (rows.length === 0) return null;
    const run = this.#prng.pick(rows);
    const { program }: { program: Program } = JSON.parse(wholeOf(run.input ?? "{}", run.id));
    const edit = this.#drawEdit(run.id, program);
    if (edit === null) return null;
    if (edit.kind === "insert") this.misfits.add(run.id);
    if (edit.kind === "insert" || edit.kind === "swap") this.#options.ledger.identity.shuffle(run.id);
    edits.set(run.id, edit);
    return `${edit.kind} of ${world.names.of(run.id)}`;
  }

  #drawEdit(runId: RunId, { ops }: Program): Edit | null {
    const roll = this.#prng.below(4);
    if (roll === 0) return { kind: "insert" };
    if (roll === 1) return { kind: "append" };
    if (roll === 2 && ops.length > 1) return { kind: "truncate", at: this.#prng.between(1, ops.length - 1) };
    const finished = ops.findIndex(
      (_, index) => this.#isFinished(runId, ops, index) && this.#isFinished(runId, ops, index + 1),
    );
    return finished < 0 ? null : { kind: "swap", at: finished };
  }

  /** Whether the call at this place has succeeded, for good. */
  #isFinished(runId: RunId, ops: Program["ops"], index: number): boolean {
    const op = ops[index];
    if (op?.type !== "task" && op?.type !== "step") return false;
    return this.#options.ledger.identity.done(runId, `${op.type}${op.id}`)?.type === "returned";
  }
}
