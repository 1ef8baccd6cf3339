/** The servers and workers of the chaos test, which are restarted after faults. */

import { join } from "node:path";
import type { Settings } from "../../packages/server/src/core/run.ts";
import type { Backend, BackendRedis } from "../end-to-end/backend.ts";
import { type Exit, type Running, run } from "../end-to-end/processes.ts";
import type { ServerProcessConfig } from "../end-to-end/server-process.ts";
import { type NetworkProxy, proxyTo } from "../real/proxy.ts";
import type { Engines } from "./engines.ts";
import { type Harm, latenessOf } from "./harm.ts";
import type { ChaosWitness } from "./interpreter.ts";
import type { ChaosWorkerConfig } from "./worker-process.ts";

/** A lease is three heartbeats. Milliseconds. */
const heartbeatMs = 400;
export const leaseMs = 3 * heartbeatMs;

/**
 * `maxCrashes` is high because no run crashes its worker here: the test itself makes leases expire. `aliveMs` is short,
 * so that the test also sees what happens to the runs of dead workers.
 */
const settings: Partial<Settings> = { maxCrashes: 50, aliveMs: 3 * leaseMs };

/** How long a process may take to start, and to exit after SIGTERM. Milliseconds. */
const deadlineMs = 30_000;

/** Lines that report a fault of Aiki or Node, or that code no longer fits a run, although code never changes here. */
const errorPattern =
  /^.*(fault of Aiki|failed unexpectedly|Unhandled|Uncaught|(Type|Reference)Error|Warning: |no longer fits).*$/gm;

export type Role = "server" | "worker";

/** A server or worker, whose process may be replaced. */
export interface Member {
  readonly name: string;
  readonly role: Role;
  readonly process: Running | null;
  /** Whether the process has started, and is neither stopped nor exiting. */
  readonly isRunning: boolean;
  start(): Promise<void>;
  kill(): Promise<void>;
  /** Sends SIGSTOP and, after `ms`, SIGCONT. */
  pause(ms: number): Promise<void>;
  /** Sends SIGTERM. Resolves with how the process exited. */
  terminate(): Promise<Exit>;
}

export interface ChaosFleet {
  readonly members: readonly Member[];
  /** Proxies between workers or users and the servers. Each connection goes to the next server that is up. */
  readonly proxies: readonly NetworkProxy[];
  /** The proxy between each server and PostgreSQL. Empty with SQLite. */
  readonly databaseProxies: readonly NetworkProxy[];
  /** The proxy between all processes and Redis. */
  readonly redisProxy: NetworkProxy | null;
  /** Unexpected exits, and exits after SIGTERM with another code than 0. */
  readonly exits: string[];
  /** The output of all processes of a role, including those that have exited. */
  output(role: Role): string;
  /** The pauses that the processes themselves reported. */
  pauses(): Harm[];
  /** Logged errors that no fault explains. */
  loggedErrors(): string[];
  close(): Promise<void>;
}

export interface ChaosFleetOptions {
  engines: Engines;
  directory: string;
  witness: ChaosWitness;
  servers: number;
  workers: number;
}

export async function openFleet(options: ChaosFleetOptions): Promise<ChaosFleet> {
  const { engines } = options;
  const exits: string[] = [];
  const outputs: Record<Role, Running[]> = { server: [], worker: [] };
  const redisProxy = engines.redis === null ? null : await proxyTo(`redis://127.0.0.1:${engines.redis.address.port}`);
  const redis: BackendRedis | null =
    redisProxy === null ? null : { host: "127.0.0.1", port: Number(new URL(redisProxy.url).port), prefix: "chaos" };
  const databaseProxies: NetworkProxy[] = [];
  const collect = (role: Role, process: Running) => outputs[role].push(process);
  const log = (name: string) => join(options.directory, `${name}.log`);

  const servers: Array<{ member: Member; url: string }> = [];
  for (let n = 1; n <= options.servers; n += 1) {
    const proxy = engines.postgres === null ? null : await proxyTo(engines.database);
    if (proxy !== null) databaseProxies.push(proxy);
    const database = proxy?.url ?? engines.database;
    let port = 0;
    const begin = async () => {
      const config: ServerProcessConfig = { database, redis, port, settings, fault: null };
      const process = run("server-process.ts", config, log(`server-${n}`));
      collect("server", process);
      return process;
    };
    const member = createMember({ name: `server-${n}`, role: "server", begin, readyPattern: /listening (\d+)/, exits });
    await member.start();
    port = Number(/listening (\d+)/.exec(member.process?.output ?? "")?.[1]);
    servers.push({ member, url: `http://127.0.0.1:${port}` });
  }

  const proxies = await Promise.all(
    servers.map((_, at) => {
      const [first = "", ...others] = [...servers.slice(at), ...servers.slice(0, at)].map(({ url }) => url);
      return proxyTo(first, ...others);
    }),
  );
  const subscriber = subscriberOf(redis);
  const workers = Array.from({ length: options.workers }, (_, at) => {
    const url = proxies[at % proxies.length]?.url ?? "";
    const config: ChaosWorkerConfig = { url, redis, subscriber, witness: options.witness, heartbeatMs, slots: 8 };
    const begin = async () => {
      const process = run(join(import.meta.dirname, "worker-process.ts"), config, log(`worker-${at + 1}`));
      collect("worker", process);
      return process;
    };
    return createMember({ name: `worker-${at + 1}`, role: "worker", begin, readyPattern: /^working/m, exits });
  });
  await Promise.all(workers.map((worker) => worker.start()));

  const members = [...servers.map(({ member }) => member), ...workers];
  return {
    members,
    proxies,
    databaseProxies,
    redisProxy,
    exits,
    pauses: () => [
      ...outputs.server.flatMap(({ output }) => latenessOf(output, null)),
      ...outputs.worker.flatMap(({ output, pid }) => latenessOf(output, pid)),
    ],
    loggedErrors: () => [...outputs.server, ...outputs.worker].flatMap(loggedErrorsOf),
    output: (role) => outputs[role].map(({ output }) => output).join("\n"),
    async close() {
      await Promise.all(members.map((member) => member.kill()));
      await Promise.all(
        [...proxies, ...databaseProxies, ...(redisProxy === null ? [] : [redisProxy])].map((one) => one.close()),
      );
    },
  };
}

function subscriberOf(redis: BackendRedis | null): Backend["subscriber"] {
  return redis === null
    ? { type: "adaptive_polling" }
    : { type: "redis_streams", claimMinIdleTimeMs: 2_000, blockTimeMs: 500 };
}

/** The logged errors of a process that no fault explains. */
export function loggedErrorsOf({ output, pid }: Running): string[] {
  return [...output.matchAll(errorPattern)].map(([line]) => `process ${pid}: ${line.slice(0, 300)}`);
}

interface MemberOptions {
  name: string;
  role: Role;
  begin: () => Promise<Running>;
  /** Matches the output of a process that has started. */
  readyPattern: RegExp;
  exits: string[];
}

function createMember({ name, role, begin, readyPattern, exits }: MemberOptions): Member {
  let process: Running | null = null;
  let isBusy = true;
  let isExpectedToExit = false;

  /** Adds a line to `exits` if the process exits although the test did not end it. */
  const reportExit = async (started: Running) => {
    const { code, signal } = await started.exited;
    if (!isExpectedToExit) exits.push(`${name} (pid ${started.pid}) exited by itself with ${signal ?? code}`);
  };

  return {
    name,
    role,
    get process() {
      return process;
    },
    get isRunning() {
      return !isBusy && process !== null;
    },
    async start() {
      isBusy = true;
      isExpectedToExit = false;
      process = await startUntilReady(name, begin, readyPattern);
      void reportExit(process);
      isBusy = false;
    },
    async kill() {
      isBusy = true;
      isExpectedToExit = true;
      process?.signal("SIGKILL");
      await process?.exited;
      process = null;
    },
    async pause(ms) {
      const paused = process;
      isBusy = true;
      paused?.signal("SIGSTOP");
      await new Promise((resolve) => setTimeout(resolve, ms));
      paused?.signal("SIGCONT");
      isBusy = false;
    },
    async terminate() {
      if (process === null) throw new Error(`${name} is not running.`);
      isBusy = true;
      isExpectedToExit = true;
      process.signal("SIGTERM");
      const exit = await endOf(process);
      process = null;
      if (exit.code !== 0) exits.push(`${name} received SIGTERM and exited with ${exit.signal ?? exit.code}`);
      return exit;
    },
  };
}

/** Starts a process. Like a supervisor, starts another if it exits early because an engine was not reachable. */
async function startUntilReady(name: string, begin: () => Promise<Running>, readyPattern: RegExp): Promise<Running> {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    const started = await begin();
    try {
      await started.prints(readyPattern, Math.max(1, deadline - Date.now()));
      return started;
    } catch (thrown) {
      if (started.isUp || Date.now() > deadline) throw new Error(`${name} did not start: ${String(thrown)}`);
    }
  }
}

/** Waits for the exit, and kills the process after the deadline. */
async function endOf(process: Running): Promise<Exit> {
  const timer = setTimeout(() => process.signal("SIGKILL"), deadlineMs);
  const exit = await process.exited;
  clearTimeout(timer);
  return exit;
}
