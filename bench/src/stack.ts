/** One Aiki to measure: server, client and worker, in one process or with HTTP between them. */

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { worker } from "@aikirun/worker";
import { workflows } from "./workflows.ts";

export type Mode = "in-process" | "http";

export interface Stack {
  aiki: Client;
  /** Starts one more worker; returns what stops it. */
  work(concurrency: number): Promise<() => Promise<void>>;
  /** Resident memory of the server's process when it is its own, in bytes. */
  serverRss(): Promise<number | null>;
  close(): Promise<void>;
}

export async function openStack(mode: Mode): Promise<Stack> {
  const directory = await mkdtemp(join(tmpdir(), "aiki-bench-"));
  const database = `sqlite:${join(directory, "bench.db")}`;
  const served = mode === "http" ? await serveApart(database) : await serveHere(database);
  const stops: Array<() => Promise<void>> = [];
  return {
    aiki: served.aiki,
    serverRss: served.rss,
    async work(concurrency) {
      const one = worker(served.aiki, {
        maxConcurrentWorkflowRuns: concurrency,
        subscriber: { type: "adaptive_polling" },
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
      await rm(directory, { recursive: true, force: true });
    },
  };
}

interface Served {
  aiki: Client;
  rss: () => Promise<number | null>;
  close: () => Promise<void>;
}

async function serveHere(database: string): Promise<Served> {
  const embedded = await server({ database, logger: silentLogger });
  const aiki = await client({ server: embedded, logger: silentLogger });
  return { aiki, rss: async () => null, close: () => embedded.close() };
}

/** The server's process says `{ url }` once and answers `rss` over IPC. */
async function serveApart(database: string): Promise<Served> {
  const script = fileURLToPath(new URL("./serve.ts", import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, script, database], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const answer = () => new Promise<unknown>((resolve) => child.once("message", resolve));
  const url = String(await answer());
  const aiki = await client({ url, logger: silentLogger });
  return {
    aiki,
    async rss() {
      const answered = answer();
      child.send("rss");
      return Number(await answered);
    },
    async close() {
      const exited = new Promise((resolve) => child.once("exit", resolve));
      child.send("close");
      await exited;
    },
  };
}
