/** The measured system: server, client and worker, in one process or connected by HTTP. */

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { type ServerParams, server } from "@aikirun/server";
import { worker } from "@aikirun/worker";
import type { BenchEngines, Mode } from "./modes.ts";
import { makeDatabase } from "./postgres.ts";
import { workflows } from "./workflows.ts";

export interface BenchSetting {
  mode: Mode;
  engines: BenchEngines;
}

export interface Stack {
  aiki: Client;
  /** The url of the database, for workloads that access it directly. */
  database: string;
  /** Starts another worker. Returns a function that stops it. */
  startWorker(concurrency: number): Promise<() => Promise<void>>;
  /** The resource use of the server's process. Undefined if it shares the process of the worker. */
  serverUse(): Promise<Use | null>;
  close(): Promise<void>;
}

/** Resident bytes, and microseconds of CPU since the process began. */
export interface Use {
  rss: number;
  cpu: { user: number; system: number };
}

export async function openStack({ mode, engines }: BenchSetting): Promise<Stack> {
  const database = await createDatabase(mode, engines);
  const { redis } = mode.subscriber === "redis_streams" ? engines : { redis: null };
  const params: ServerParams = {
    database: database.url,
    ...(redis === null ? {} : { redis: `redis://${redis.host}:${redis.port}` }),
  };
  const served = mode.transport === "http" ? await serveInOwnProcess(params, redis) : await serveInThisProcess(params);
  const stops: Array<() => Promise<void>> = [];
  return {
    aiki: served.aiki,
    database: database.url,
    serverUse: served.use,
    async startWorker(concurrency) {
      const one = worker(served.aiki, {
        maxConcurrentWorkflowRuns: concurrency,
        subscriber: { type: mode.subscriber },
      });
      one.registry.addMany([...workflows]);
      await one.start();
      stops.push(() => one.stop());
      return () => one.stop();
    },
    async close() {
      for (const stop of stops) {
        await stop();
      }
      await served.aiki.close();
      await served.close();
      await database.drop();
    },
  };
}

async function createDatabase(
  { database }: Mode,
  { postgres }: BenchEngines,
): Promise<{ url: string; drop(): Promise<void> }> {
  if (database === "postgres") {
    if (postgres === null) throw new Error("There is no PostgreSQL to measure.");
    return makeDatabase(postgres);
  }
  const directory = await mkdtemp(join(tmpdir(), "aiki-bench-"));
  const drop = () => rm(directory, { recursive: true, force: true });
  return { url: `sqlite:${join(directory, "bench.db")}`, drop };
}

interface BenchServer {
  aiki: Client;
  use: () => Promise<Use | null>;
  close: () => Promise<void>;
}

async function serveInThisProcess(params: ServerParams): Promise<BenchServer> {
  const embedded = await server({ ...params, logger: silentLogger });
  const aiki = await client({ server: embedded, logger: silentLogger });
  return { aiki, use: async () => null, close: () => embedded.close() };
}

/** The process of the server sends its url once, and replies to `use` over IPC. */
async function serveInOwnProcess(params: ServerParams, redis: BenchEngines["redis"]): Promise<BenchServer> {
  const script = fileURLToPath(new URL(`./serve${extname(import.meta.url)}`, import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, script, JSON.stringify(params)], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const answer = () => new Promise<unknown>((resolve) => child.once("message", resolve));
  const url = String(await answer());
  const aiki = await client({ url, logger: silentLogger, ...(redis === null ? {} : { redis }) });
  return {
    aiki,
    async use() {
      const answered = answer();
      child.send("use");
      return asUse(await answered);
    },
    async close() {
      const exited = new Promise((resolve) => child.once("exit", resolve));
      child.send("close");
      await exited;
    },
  };
}

function asUse(message: unknown): Use {
  return JSON.parse(JSON.stringify(message));
}
