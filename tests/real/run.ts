/** Lends the tests of one run a place where they put services that they share. Costs nothing when nobody asks. */

import { chmodSync, existsSync, mkdtempSync, readdirSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** Where services of this run are, and the process that ends them. */
    services: { directory: string; owner: number };
  }
}

export default function setup(project: TestProject): () => Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "aiki-services-"));
  // As root, PostgreSQL runs as another user and has to get by.
  chmodSync(directory, 0o711);
  project.provide("services", { directory, owner: process.pid });
  return async () => {
    for (const name of readdirSync(directory)) {
      await stopCluster(join(directory, name, "data", "postmaster.pid"));
      await killRedis(join(directory, name, "redis.pid"));
    }
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  };
}

/** An immediate end: nobody wants what is in it. */
async function stopCluster(pidFile: string): Promise<void> {
  await signal(pidFile, "SIGQUIT");
  while (existsSync(pidFile)) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** It may have ended by itself just now. */
async function killRedis(pidFile: string): Promise<void> {
  await signal(pidFile, "SIGKILL").catch(() => {});
}

async function signal(pidFile: string, name: "SIGQUIT" | "SIGKILL"): Promise<void> {
  if (!existsSync(pidFile)) return;
  const [pid] = (await readFile(pidFile, "utf8")).split("\n");
  process.kill(Number(pid), name);
}
