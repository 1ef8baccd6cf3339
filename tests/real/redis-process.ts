/** A private Redis process on a free port, which a test may kill, stop and restart. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { certify } from "./certificate.ts";
import { endWith, freePort } from "./machine.ts";

/** The settings of a Redis process. */
export interface RedisSettings {
  password?: string;
  tls?: boolean;
  /** A cluster with only this node, or an empty node that another cluster can `meet`. */
  cluster?: boolean | "empty";
}

/** The address of a Redis. */
export interface RedisAddress {
  host: string;
  port: number;
  password?: string;
  tls?: { ca: string };
  cluster?: boolean;
}

export interface RedisProcess {
  readonly address: RedisAddress;
  /** Executes a command without the code under test. */
  send(...command: Array<string | number>): Promise<unknown>;
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
  /** Kills it, like a crash. */
  kill(): Promise<void>;
  /** Starts it again on the same port without data. */
  start(): Promise<void>;
}

/** Settings without persistence. */
const forgetful = ["--save", "", "--appendonly", "no", "--daemonize", "no", "--bind", "127.0.0.1"];

/** Starts a Redis in a directory. It stops when the process with the id `owner` has exited. */
export async function startRedis(
  program: string,
  directory: string,
  owner: number,
  settings: RedisSettings = {},
): Promise<RedisProcess> {
  await mkdir(directory, { recursive: true });
  const { password, tls = false, cluster = false } = settings;
  const port = await freePort();
  const ca = tls ? await certify(directory) : null;
  const address: RedisAddress = {
    host: "127.0.0.1",
    port,
    ...(password === undefined ? {} : { password }),
    ...(ca === null ? {} : { tls: { ca } }),
    ...(cluster === false ? {} : { cluster: true }),
  };
  const pidFile = join(directory, "redis.pid");
  const options = [
    ...forgetful,
    ...["--dir", directory, "--pidfile", pidFile, "--logfile", join(directory, "log")],
    ...(tls ? ["--port", "0", "--tls-port", String(port)] : ["--port", String(port)]),
    ...(tls ? ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "cert.pem"] : []),
    ...(tls ? ["--tls-auth-clients", "no"] : []),
    ...(cluster !== false ? ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"] : []),
    ...(password === undefined ? [] : ["--requirepass", password]),
  ];
  const send = (...command: Array<string | number>) => sendTo(address, command);
  const pid = async () => Number(await readFile(pidFile, "utf8"));
  let child = 0;

  const start = async (): Promise<void> => {
    const spawned = spawn(program, options, { cwd: directory, detached: true, stdio: "ignore" });
    await once(spawned, "spawn");
    spawned.unref();
    await until(directory, async () => (await send("ping")) === "PONG");
    if (cluster === true) await initialiseCluster(directory, send);
    child = await pid();
  };
  await start();
  endWith(owner, pidFile, "KILL");
  return {
    address,
    send,
    start,
    signal: (signal) => process.kill(child, signal),
    async kill() {
      process.kill(child, "SIGKILL");
      while (isAlive(child)) await pauseFor(5);
      // The process id may be reused, and the cleanup must not kill another process.
      await rm(pidFile, { force: true });
      await rm(join(directory, "nodes.conf"), { force: true });
    },
  };
}

async function initialiseCluster(directory: string, send: RedisProcess["send"]): Promise<void> {
  await send("cluster", "addslots", ...Array.from({ length: 16_384 }, (_, slot) => slot));
  await until(directory, async () => String(await send("cluster", "info")).includes("cluster_state:ok"));
}

/** Sends one command over a new connection, to the right node of a cluster. Rejects with the error of Redis. */
export async function sendTo(address: RedisAddress, command: ReadonlyArray<string | number>): Promise<unknown> {
  try {
    return await sendOnce(address, command);
  } catch (error) {
    const [, host, port] = /^MOVED \d+ (.+):(\d+)$/.exec(error instanceof Error ? error.message : "") ?? [];
    if (host === undefined) throw error;
    return sendOnce({ ...address, host, port: Number(port) }, command);
  }
}

/** Sends one command to exactly this node. */
export async function sendOnce(address: RedisAddress, command: ReadonlyArray<string | number>): Promise<unknown> {
  const { host, port, password, tls } = address;
  const redis = new Redis({
    host,
    port,
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: null,
  });
  redis.on("error", () => {});
  const [name = "", ...args] = command;
  try {
    await redis.connect();
    return await redis.call(String(name), args);
  } finally {
    redis.disconnect();
  }
}

async function until(directory: string, look: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await look().catch(() => false)); await pauseFor(20)) {
    if (Date.now() < deadline) continue;
    throw new Error(`Redis did not start: ${await readFile(join(directory, "log"), "utf8").catch(() => "")}`);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function pauseFor(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
