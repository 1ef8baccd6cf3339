/** The processes of the chaos: servers and workers on their seats, one life after the other. */

import { join } from "node:path";
import type { Settings } from "../../packages/server/src/core/run.ts";
import type { Backend, BackendRedis } from "../end-to-end/backend.ts";
import { type Exit, type Running, run } from "../end-to-end/processes.ts";
import type { ServerProcessConfig } from "../end-to-end/server-process.ts";
import { proxyTo, type Proxy as Road } from "../real/proxy.ts";
import type { Engines } from "./engines.ts";
import { type Harm, latenessOf } from "./harm.ts";
import type { ChaosWitness } from "./interpreter.ts";
import type { ChaosWorkerConfig } from "./worker-process.ts";

/** A lease is three of them. Milliseconds. */
const heartbeatMs = 400;
export const leaseMs = 3 * heartbeatMs;

/**
 * Nothing here is poison: leases that end are our doing, however many in a row. And the chaos lasts long enough to see
 * what becomes of work that a worker was busy with when it died.
 */
const settings: Partial<Settings> = { maxCrashes: 50, aliveMs: 3 * leaseMs };

/** How long a process may take to come up, and to end when it was asked to. Milliseconds. */
const patienceMs = 30_000;

/** A mistake by the product's own account, or by Node's; and code that never changed still fits its runs. */
const alarming =
  /^.*(fault of Aiki|failed unexpectedly|Unhandled|Uncaught|(Type|Reference)Error|Warning: |no longer fits).*$/gm;

export type Role = "server" | "worker";

/** One place, and the process that sits on it. */
export interface Member {
  readonly name: string;
  readonly role: Role;
  readonly process: Running | null;
  /** Whether it is there, and neither stopped nor on its way out or in. */
  readonly isWell: boolean;
  start(): Promise<void>;
  kill(): Promise<void>;
  /** SIGSTOP, and after a while SIGCONT. */
  pause(ms: number): Promise<void>;
  /** SIGTERM; how it ended. */
  ask(): Promise<Exit>;
}

export interface ChaosFleet {
  readonly members: readonly Member[];
  /** Roads of workers and users to the servers: each connection goes to the next that is up. */
  readonly proxies: readonly Road[];
  /** The road of each server to its database; null on a file. */
  readonly databaseProxies: readonly Road[];
  /** All workers' and servers' road to Redis. */
  readonly redisProxy: Road | null;
  /** What has gone wrong by itself: ends that nobody asked for, and ends that were not clean. */
  readonly deaths: string[];
  /** Everything that processes of a role have said, those that ended too. */
  said(role: Role): string;
  /** When processes stood still by their own account. */
  latenesses(): Harm[];
  /** Lines that no fault excuses. */
  alarms(): string[];
  close(): Promise<void>;
}

export interface ChaosFleetOptions {
  engines: Engines;
  directory: string;
  witness: ChaosWitness;
  servers: number;
  workers: number;
}

export async function gather(options: ChaosFleetOptions): Promise<ChaosFleet> {
  const { engines } = options;
  const deaths: string[] = [];
  const outputs: Record<Role, Running[]> = { server: [], worker: [] };
  const redisProxy = engines.redis === null ? null : await proxyTo(`redis://127.0.0.1:${engines.redis.address.port}`);
  const redis: BackendRedis | null =
    redisProxy === null ? null : { host: "127.0.0.1", port: Number(new URL(redisProxy.url).port), prefix: "chaos" };
  const databaseProxies: Road[] = [];
  const hear = (role: Role, process: Running) => outputs[role].push(process);
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
      hear("server", process);
      return process;
    };
    const member = seat({ name: `server-${n}`, role: "server", begin, sign: /listening (\d+)/, deaths });
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
      hear("worker", process);
      return process;
    };
    return seat({ name: `worker-${at + 1}`, role: "worker", begin, sign: /^working/m, deaths });
  });
  await Promise.all(workers.map((worker) => worker.start()));

  const members = [...servers.map(({ member }) => member), ...workers];
  return {
    members,
    proxies,
    databaseProxies,
    redisProxy,
    deaths,
    latenesses: () => [
      ...outputs.server.flatMap(({ output }) => latenessOf(output, null)),
      ...outputs.worker.flatMap(({ output, pid }) => latenessOf(output, pid)),
    ],
    alarms: () => [...outputs.server, ...outputs.worker].flatMap(alarmsOf),
    said: (role) => outputs[role].map(({ output }) => output).join("\n"),
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

/** What a process has said that no fault excuses. */
export function alarmsOf({ output, pid }: Running): string[] {
  return [...output.matchAll(alarming)].map(([line]) => `process ${pid}: ${line.slice(0, 300)}`);
}

interface SeatOptions {
  name: string;
  role: Role;
  begin: () => Promise<Running>;
  /** What it says when it is up. */
  sign: RegExp;
  deaths: string[];
}

function seat({ name, role, begin, sign, deaths }: SeatOptions): Member {
  let process: Running | null = null;
  let isBusy = true;
  let isDoomed = false;

  /** An end that nobody brought about is a violation, whatever else goes on. */
  const mourn = async (life: Running) => {
    const { code, signal } = await life.exited;
    if (!isDoomed) deaths.push(`${name} (pid ${life.pid}) ended by itself with ${signal ?? code}`);
  };

  return {
    name,
    role,
    get process() {
      return process;
    },
    get isWell() {
      return !isBusy && process !== null;
    },
    async start() {
      isBusy = true;
      isDoomed = false;
      process = await risen(name, begin, sign);
      void mourn(process);
      isBusy = false;
    },
    async kill() {
      isBusy = true;
      isDoomed = true;
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
    async ask() {
      if (process === null) throw new Error(`${name} is not there.`);
      isBusy = true;
      isDoomed = true;
      process.signal("SIGTERM");
      const exit = await endOf(process);
      process = null;
      if (exit.code !== 0) deaths.push(`${name} was asked to end, and ended with ${exit.signal ?? exit.code}`);
      return exit;
    },
  };
}

/** Brings up a process; one that ends before it is up found no engine, and is tried again as a supervisor would. */
async function risen(name: string, begin: () => Promise<Running>, sign: RegExp): Promise<Running> {
  const giveUpAt = Date.now() + patienceMs;
  for (;;) {
    const life = await begin();
    try {
      await life.says(sign, Math.max(1, giveUpAt - Date.now()));
      return life;
    } catch (thrown) {
      if (life.isUp || Date.now() > giveUpAt) throw new Error(`${name} does not come up: ${String(thrown)}`);
    }
  }
}

/** A process that does not end when it is asked to is killed, and shows that by the signal. */
async function endOf(process: Running): Promise<Exit> {
  const timer = setTimeout(() => process.signal("SIGKILL"), patienceMs);
  const exit = await process.exited;
  clearTimeout(timer);
  return exit;
}
