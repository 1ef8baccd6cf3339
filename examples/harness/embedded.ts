import assert from "node:assert/strict";
import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { type Worker, worker } from "@aikirun/worker";

type Registered = Parameters<Worker["registry"]["add"]>[0];

/** Runs one example with a server in memory, and with client and workers in the same process. */
export async function embedded(example: (aiki: Client, startWorker: StartWorker) => Promise<void>): Promise<void> {
  const aikiServer = await server({ database: "memory:" });
  const aiki = await client({ server: aikiServer, logger: silentLogger });
  const workers: Worker[] = [];
  const start = async (...workflows: Registered[]): Promise<Worker> => {
    const id = `worker-${workers.length + 1}`;
    const newWorker = worker(aiki, { id, maxConcurrentWorkflowRuns: 10, buildId: startWorker.build });
    for (const workflow of workflows) newWorker.registry.add(workflow);
    workers.push(newWorker);
    await newWorker.start();
    return newWorker;
  };
  const startWorker: StartWorker = Object.assign(start, { build: "1" });
  try {
    await example(aiki, startWorker);
  } finally {
    await Promise.all(workers.map((newWorker) => newWorker.stop()));
    await aiki.close();
    await aikiServer.close();
  }
}

/** Starts a worker that serves these workflows. */
export interface StartWorker {
  (...workflows: Registered[]): Promise<Worker>;
  /** The build id of workers that are started from now on. */
  build: string;
}

/** Prints the claim, or throws if it is false. */
export function prove(claim: string, actual: unknown, expected: unknown): void {
  assert.deepEqual(actual, expected, claim);
  console.log(`✓ ${claim}`);
}
