/** One scenario: a directory, its processes, and a record of the calls made in it. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, client } from "@aikirun/client";
import { type Env, silentLogger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { v7 } from "uuid";
import type { Settings } from "../../packages/server/src/core/run.ts";
import type { Backend } from "./backend.ts";
import { type Actions, type Facts, noActions, readFacts } from "./facts.ts";
import type { ProcessFault } from "./fault.ts";
import { end, type Running, run } from "./processes.ts";
import { sleeps } from "./programs.ts";
import type { ServerProcessConfig } from "./server-process.ts";
import { sqlite, type Topology } from "./topology.ts";
import type { Job, WorkerProcessConfig } from "./worker-process.ts";

/** Short enough for tests; a lease is three heartbeats. Milliseconds. */
export const heartbeatMs = 300;

const system = systemEnv({ id: () => v7() });

/**
 * Makes a client repeat its calls for about a minute instead of 10 s, because a busy machine may need more than 10 s to
 * start a killed server again.
 */
const patientEnv: Env = { ...system, elapsed: () => system.elapsed() / 6 };

export interface Scenario {
  readonly backend: Backend;
  readonly ledger: string;
  readonly actions: Actions;
  file(name: string): string;
  /** Starts a server and resolves when it listens. May be called again if servers can share the database. */
  serve(options?: ServeOptions): Promise<RestartableServer>;
  /** The configuration of a worker of this scenario. */
  job(job: ScenarioJob): Job;
  worker(job: ScenarioJob, fault?: ProcessFault): Running;
  client(url: string): Promise<Client>;
  /** Kills the process when the scenario closes. */
  stopAtClose(process: Running): Running;
  /** `actions` selects some of the runs, for tests that share a scenario. */
  facts(actions?: Actions): Promise<Facts>;
  /** Kills the processes that still run, closes clients, and removes the directory. */
  close(): Promise<void>;
}

export interface ServeOptions {
  fault?: ProcessFault;
  settings?: Partial<Settings>;
  /** The limit of Node's heap, in megabytes. Default: Node's own limit. */
  heapMb?: number;
}

export type ScenarioJob = Omit<Job, "ledger" | "heartbeatMs" | "redis" | "subscriber"> & { heartbeatMs?: number };

/** A server that can be restarted on the same database and port. */
export interface RestartableServer {
  readonly url: string;
  readonly process: Running;
  /** Waits until the process has exited, then starts another on the same database and port. */
  restart(fault?: ProcessFault): Promise<void>;
}

export async function openScenario(topology: Topology = sqlite): Promise<Scenario> {
  const directory = await mkdtemp(join(tmpdir(), "aiki-e2e-"));
  const file = (name: string) => join(directory, name);
  const backend = await topology.open(directory);
  const { database, redis, subscriber } = backend;
  const ledger = file("effects");
  const actions = noActions(sleeps);
  const kept: Running[] = [];
  const clients: Client[] = [];
  const keep = (process: Running) => {
    kept.push(process);
    return process;
  };
  const jobOf = (job: ScenarioJob): Job => ({ ledger, heartbeatMs, redis, subscriber, ...job });
  return {
    backend,
    ledger,
    actions,
    file,
    stopAtClose: keep,
    async serve({ fault, settings = {}, heapMb }: ServeOptions = {}) {
      const options = heapMb === undefined ? [] : [`--max-old-space-size=${heapMb}`];
      const begin = (port: number, next: ProcessFault | null) => {
        const config: ServerProcessConfig = { database, redis, port, settings, fault: next };
        return keep(run("server-process.ts", config, undefined, options));
      };
      let process = begin(0, fault ?? null);
      const port = Number((await process.prints(/listening (\d+)/))[1]);
      return {
        url: `http://localhost:${port}`,
        get process() {
          return process;
        },
        async restart(next) {
          await process.exited;
          process = begin(port, next ?? null);
          await process.prints(/listening/);
        },
      };
    },
    job: jobOf,
    worker(job, fault) {
      const config: WorkerProcessConfig = { fault: fault ?? null, jobs: [jobOf(job)] };
      return keep(run("worker-process.ts", config));
    },
    async client(url) {
      const made = await client({ url, logger: silentLogger, env: patientEnv });
      clients.push(made);
      return made;
    },
    facts: (of = actions) => readFacts(database, ledger, of),
    async close() {
      await Promise.all([end(...kept), ...clients.map((one) => one.close())]);
      await backend.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
