/** Injects faults of every kind that the seed enables, until `endFaults`. */

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
  /** Runs for which incompatible code was ever deployed. */
  readonly incompatible: Set<RunId> = new Set();
  /** How often the worker that held a run was stopped gracefully. */
  readonly gracefulStops: Map<RunId, number> = new Map();
  /** How often each fault was injected. */
  readonly injected: Map<string, number> = new Map();
  /** Whether a deployment has replaced the workers. */
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
      if (mean !== null) this.#repeat(fault, mean, () => this.#inject(fault));
    }
    if (!knobs.isGentle && this.#prng.chance(0.35)) this.#repeat("deploy", knobs.chaosMs / 4, () => this.#deploy());
  }

  /** Ends all faults, and restarts what they stopped. */
  endFaults(): void {
    const { fleet, network, world } = this.#options;
    world.trace("--- all faults end ---");
    this.#isOver = true;
    fleet.hasFaults = false;
    fleet.mayCrash = false;
    network.hasFaults = false;
    for (const [index, { process }] of fleet.servers.entries()) {
      process.resume();
      fleet.restartServer(index);
    }
    for (const [index, { process }] of fleet.workers.entries()) {
      network.reconnect(process);
      process.resume();
      fleet.restartWorker(index);
    }
    if (this.incompatible.size > 0) this.deployCompatible();
  }

  /** Deploys code that fits the journal of every run. */
  deployCompatible(): void {
    const { fleet, mirror, ledger } = this.#options;
    const edits = new Map(fleet.code.edits);
    for (const runId of this.incompatible) {
      const addresses = ledger.effects.flatMap((effect) =>
        effect.runId === runId && effect.path === insertedPath ? [effect.address] : [],
      );
      const isRecorded = mirror
        .journal(runId)
        .some((entry) => addresses.some((address) => entry.address.startsWith(address)));
      // A report of the added call may have been in flight when compatible code was first deployed.
      if (isRecorded) edits.set(runId, { kind: "insert" });
      else edits.delete(runId);
    }
    fleet.deploy({ edits }, true);
  }

  /** Deploys code that gives every call of these runs a key. */
  deployKeys(runIds: readonly RunId[]): void {
    const { fleet, ledger, world, knobs } = this.#options;
    const keyed = new Set(fleet.code.keyed);
    for (const runId of runIds) keyed.add(ledger.identity.family(runId));
    if (keyed.size === fleet.code.keyed.size) return;
    world.trace(`deploys keys for ${runIds.map((id) => world.names.of(id)).join(", ")}`);
    this.hasDeployed = true;
    fleet.deploy({ keyed }, knobs.keysAreBuilds);
  }

  #repeat(label: string, meanMs: number, inject: () => void): void {
    const { world } = this.#options;
    const delay = 1 + this.#prng.below(2 * meanMs);
    const run = () => {
      if (this.#isOver) return;
      this.injected.set(label, (this.injected.get(label) ?? 0) + 1);
      inject();
      this.#repeat(label, meanMs, inject);
    };
    world.after(delay, { process: null, label, run });
  }

  #inject(fault: SimulatedFault): void {
    const { fleet } = this.#options;
    const worker = this.#prng.below(fleet.workers.length);
    const server = this.#prng.below(fleet.servers.length);
    const injectors: Record<SimulatedFault, () => void> = {
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
    injectors[fault]();
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
    network.disconnect(process);
    this.#later(() => network.reconnect(process));
  }

  /** Ends a fault after a while, at the latest when all faults end. */
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

  /** Stops a worker gracefully. It must stop within its timeout. */
  #stopWorker(index: number): void {
    const { fleet, world, mirror, knobs } = this.#options;
    const instance = fleet.workers[index];
    if (instance?.process.isAlive !== true) return;
    const { process } = instance;
    world.trace(`${process.name} receives SIGTERM`);
    for (const { id, state } of mirror.runs.values()) {
      const isHeld = state.status === "running" && state.worker === process.name;
      if (isHeld) this.gracefulStops.set(id, (this.gracefulStops.get(id) ?? 0) + 1);
    }
    let isStopped = false;
    const end = () => {
      if (fleet.workers[index]?.process === process) fleet.killWorker(index);
      fleet.restartWorker(index);
    };
    const stop = () =>
      void instance.stop().then(() => {
        isStopped = true;
        world.push({ process: null, label: `${process.name} has stopped`, run: end });
      });
    world.push({ process, label: `${process.name} stops`, run: stop });
    const deadline = knobs.gracefulShutdownTimeoutMs + 1;
    const check = () => {
      const isFree = process.isAlive && !process.isPaused && !this.#options.ledger.paused;
      if (isFree && !isStopped) world.violate("SHUTDOWN", `${process.name} did not stop within ${deadline} ms`);
      this.#later(end);
    };
    world.after(deadline, { process: null, label: "deadline", run: check });
  }

  #closeServer(index: number): void {
    const { fleet, world } = this.#options;
    const instance = fleet.servers[index];
    if (instance?.process.isAlive !== true) return;
    const { process } = instance;
    world.trace(`${process.name} receives SIGTERM`);
    const end = () => {
      if (fleet.servers[index]?.process === process) fleet.killServer(index);
      this.#later(() => fleet.restartServer(index));
    };
    const close = () => void instance.close().then(() => world.push({ process: null, label: "closed", run: end }));
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

  /** Deploys new code for one run, or keys. */
  #deploy(): void {
    const { fleet, world, mirror } = this.#options;
    const refused = [...mirror.runs.values()].filter(
      ({ state }) => state.status === "stalled" && state.reason === "ambiguous_call",
    );
    if (refused.length > 0) this.deployKeys(refused.map(({ id }) => id));
    else if (this.#prng.chance(0.3)) this.#addKeys();
    const edits = new Map(fleet.code.edits);
    const changed = this.#edit(edits);
    if (changed === null) return;
    world.trace(`deploys new code: ${changed}`);
    this.hasDeployed = true;
    fleet.deploy({ edits }, true);
  }

  /** Adds keys to a run that does not need them. */
  #addKeys(): void {
    const { mirror } = this.#options;
    const unfinished = [...mirror.runs.values()].filter((run) => !isOver(run));
    if (unfinished.length > 0) this.deployKeys([this.#prng.pick(unfinished).id]);
  }

  /** Changes the code of one run. Returns null if no code can be changed now. */
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
    if (edit.kind === "insert") this.incompatible.add(run.id);
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

  /** Whether the call at this index has returned. */
  #isFinished(runId: RunId, ops: Program["ops"], index: number): boolean {
    const op = ops[index];
    if (op?.type !== "task" && op?.type !== "step") return false;
    return this.#options.ledger.identity.done(runId, `${op.type}${op.id}`)?.type === "returned";
  }
}
