/** Provides a directory for services that the tests of one run share. Starts no service itself. */

import { chmodSync, existsSync, mkdtempSync, readdirSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** The directory of shared services, and the process with which they end. */
    services: { directory: string; owner: number };
  }
}

export default function setup(project: TestProject): () => Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "aiki-services-"));
  // If this process runs as root, PostgreSQL runs as another user, who must be able to enter the directory.
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

/** Stops the cluster at once, because its data is not needed. */
async function stopCluster(pidFile: string): Promise<void> {
  await signal(pidFile, "SIGQUIT");
  while (existsSync(pidFile)) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** The process may already have exited. */
async function killRedis(pidFile: string): Promise<void> {
  await signal(pidFile, "SIGKILL").catch(() => {});
}

async function signal(pidFile: string, name: "SIGQUIT" | "SIGKILL"): Promise<void> {
  if (!existsSync(pidFile)) return;
  const [pid] = (await readFile(pidFile, "utf8")).split("\n");
  process.kill(Number(pid), name);
}
