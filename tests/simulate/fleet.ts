/** The processes of a world: servers on one storage, workers, users. Each can die and be replaced. */

import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { worker } from "@aikirun/worker";
import { createEngine } from "../../packages/server/src/engine/engine.ts";
import type { Storage } from "../../packages/server/src/storage/storage.ts";
import { addressLogger } from "./address-logger.ts";
import type { Interpreted } from "./bodies.ts";
import type { ProgramVersion } from "./calls.ts";
import { type Code, firstCode } from "./code.ts";
import { diskOf } from "./disk.ts";
import { programWorkflow } from "./interpreter.ts";
import type { Knobs } from "./knobs.ts";
import type { Ledger } from "./ledger.ts";
import type { Mirror } from "./mirror.ts";
import type { Network, Node } from "./network.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

export interface FleetOptions {
  world: World;
  knobs: Knobs;
  storage: Storage;
  mirror: Mirror;
  ledger: Ledger;
  network: Network;
}

/** The current process of one server or worker. */
interface ProcessInstance {
  process: Process;
  generation: number;
}

export interface ServerInstance extends ProcessInstance {
  close: () => Promise<void>;
}

export interface WorkerInstance extends ProcessInstance {
  stop: () => Promise<void>;
}

export class Fleet {
  readonly servers: ServerInstance[] = [];
  readonly workers: WorkerInstance[] = [];
  /** The newest deployment. */
  code: Code = firstCode;
  hasFaults = true;
  mayCrash = true;
  /** How often a body killed its worker. */
  crashes = 0;
  readonly #options: FleetOptions;

  constructor(options: FleetOptions) {
    this.#options = options;
    for (let index = 0; index < options.knobs.servers; index++) this.servers.push(this.#server(index, 0));
    for (let index = 0; index < options.knobs.workers; index++) this.workers.push(this.#worker(index, 0));
  }

  /** A client in its own process, with the workflow version that it starts. */
  user(name: string): { client: Promise<Client>; version: ProgramVersion; process: Process } {
    const process = this.#options.world.spawn(name);
    const { version } = programWorkflow(this.#interpreted(process, () => {}));
    return { client: this.#client(process), version, process };
  }

  killServer(index: number): void {
    this.#end(this.servers[index]);
  }

  killWorker(index: number): void {
    this.#end(this.workers[index]);
  }

  /** Starts a new process, unless the current one is alive. */
  restartServer(index: number): void {
    const instance = this.servers[index];
    if (instance !== undefined && !instance.process.isAlive)
      this.servers[index] = this.#server(index, instance.generation + 1);
  }

  restartWorker(index: number): void {
    const instance = this.workers[index];
    if (instance !== undefined && !instance.process.isAlive)
      this.workers[index] = this.#worker(index, instance.generation + 1);
  }

  /** Replaces all workers by new ones with this code. They have another build id if the code `isOther`. */
  deploy({ edits = this.code.edits, keyed = this.code.keyed }: Partial<Code>, isOther: boolean): void {
    for (const index of this.workers.keys()) this.killWorker(index);
    this.code = { edits, keyed, build: this.code.build + (isOther ? 1 : 0) };
    for (const index of this.workers.keys()) this.restartWorker(index);
  }

  #end(instance: ProcessInstance | undefined): void {
    if (instance?.process.isAlive !== true) return;
    instance.process.kill();
    this.#options.network.processDied(instance.process);
  }

  #server(index: number, generation: number): ServerInstance {
    const { world, storage, mirror, knobs, network } = this.#options;
    const process = world.spawn(`s${index}.${generation}`);
    const prng = world.prng.fork(`disk ${process.name}`);
    const hasFaults = () => this.hasFaults;
    const disk = diskOf({ inner: storage, process, mirror, knobs: knobs.disk, prng, hasFaults });
    const engine = createEngine({ storage: disk, env: process.env, settings: knobs.settings, logger: silentLogger });
    const node: Node = { process, api: engine.api("default") };
    network.nodes = [...network.nodes.filter((other) => other.process.isAlive), node];
    world.push({ process, label: `${process.name} starts`, run: () => void engine.start() });
    return { process, generation, close: () => engine.close() };
  }

  #worker(index: number, generation: number): WorkerInstance {
    const { world, knobs } = this.#options;
    const process = world.spawn(`w${index}.${generation}`);
    const kill = () => {
      this.crashes += 1;
      world.push({ process: null, label: `${process.name} crashes`, run: () => this.#crash(index, process) });
    };
    const { workflow } = programWorkflow(this.#interpreted(process, kill));
    const buildId = `build ${this.code.build}`;
    const made = this.#client(process).then((connected) => {
      const { heartbeatIntervalMs, slots, gracefulShutdownTimeoutMs, polling, namesBuild } = knobs;
      const one = worker(connected, {
        id: process.name,
        maxConcurrentWorkflowRuns: slots,
        workflowRun: { heartbeatIntervalMs },
        gracefulShutdownTimeoutMs,
        ...(namesBuild ? { buildId } : {}),
        subscriber: { type: polling ? "polling" : "adaptive_polling" },
      });
      one.registry.add(workflow);
      return one;
    });
    const start = async () => {
      const one = await made;
      // `start` rejects if no server is reachable for too long. Like a supervisor, this starts the worker again.
      while (process.isAlive) {
        try {
          return await one.start();
        } catch {
          await world.turn(process, `${process.name} starts again`, 1_000);
        }
      }
    };
    world.push({ process, label: `${process.name} starts`, run: () => void start() });
    return { process, generation, stop: async () => (await made).stop() };
  }

  #crash(index: number, process: Process): void {
    if (this.workers[index]?.process !== process) return;
    this.killWorker(index);
    this.#options.world.after(500, { process: null, label: "restart", run: () => this.restartWorker(index) });
  }

  #client(process: Process): Promise<Client> {
    const api = this.#options.network.apiFor(process);
    return client({ server: { api: () => api }, env: process.env, logger: addressLogger });
  }

  #interpreted(process: Process, kill: () => void): Interpreted {
    return { ledger: this.#options.ledger, process, code: this.code, mayCrash: () => this.mayCrash, kill };
  }
}
