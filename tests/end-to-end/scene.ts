/** One scenario: a directory, its processes, and what was done in it. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import type { Settings } from "../../packages/server/src/core/run.ts";
import { type Deeds, type Facts, readFacts } from "./facts.ts";
import type { Fault } from "./fault.ts";
import { end, type Running, run } from "./processes.ts";
import { sleeps } from "./programs.ts";
import type { ServerProcessConfig } from "./server-process.ts";
import type { Job, WorkerProcessConfig } from "./worker-process.ts";

/** Short enough for tests; a lease is three heartbeats. Milliseconds. */
export const heartbeatMs = 300;

export interface Scene {
  readonly path: string;
  readonly ledger: string;
  readonly deeds: Deeds;
  file(name: string): string;
  /** The server that listens by now. */
  serve(options?: { fault?: Fault; settings?: Partial<Settings> }): Promise<Seat>;
  worker(job: Omit<Job, "ledger" | "heartbeatMs"> & { heartbeatMs?: number }, fault?: Fault): Running;
  client(url: string): Promise<Client>;
  /** Ends with the scenario, whatever becomes of it. */
  keep(process: Running): Running;
  facts(): Promise<Facts>;
  /** Kills what still runs, closes clients, and removes the directory. */
  close(): Promise<void>;
}

/** A place where a server listens: one file, one port, one life after the other. */
export interface Seat {
  readonly url: string;
  readonly process: Running;
  /** Another life on the same file and port, once the one before has ended. */
  again(fault?: Fault): Promise<void>;
}

export async function openScene(): Promise<Scene> {
  const directory = await mkdtemp(join(tmpdir(), "aiki-e2e-"));
  const file = (name: string) => join(directory, name);
  const [path, ledger] = [file("aiki.db"), file("effects")];
  const deeds: Deeds = { started: new Map(), sent: [], outputs: new Map(), faults: 0, sleeps };
  const kept: Running[] = [];
  const clients: Client[] = [];
  const keep = (process: Running) => {
    kept.push(process);
    return process;
  };
  return {
    path,
    ledger,
    deeds,
    file,
    keep,
    async serve({ fault = null, settings = {} }: { fault?: Fault | null; settings?: Partial<Settings> } = {}) {
      const begin = (port: number, next: Fault | null) => {
        const config: ServerProcessConfig = { path, port, settings, fault: next };
        return keep(run("server-process.ts", config));
      };
      let process = begin(0, fault);
      const port = Number((await process.says(/listening (\d+)/))[1]);
      return {
        url: `http://localhost:${port}`,
        get process() {
          return process;
        },
        async again(next) {
          await process.exited;
          process = begin(port, next ?? null);
          await process.says(/listening/);
        },
      };
    },
    worker(job, fault) {
      const config: WorkerProcessConfig = { fault: fault ?? null, jobs: [{ ledger, heartbeatMs, ...job }] };
      return keep(run("worker-process.ts", config));
    },
    async client(url) {
      const made = await client({ url, logger: silentLogger });
      clients.push(made);
      return made;
    },
    facts: () => readFacts(path, ledger, deeds),
    async close() {
      await Promise.all([end(...kept), ...clients.map((one) => one.close())]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}
