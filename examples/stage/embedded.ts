import assert from "node:assert/strict";
import { type Client, client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { type Worker, worker } from "@aikirun/worker";

type Registered = Parameters<Worker["registry"]["add"]>[0];

/** Everything in one process and in memory, for the time of one play. */
export async function embedded(play: (aiki: Client, crew: Crew) => Promise<void>): Promise<void> {
  const aikiServer = await server({ database: "memory:" });
  const aiki = await client({ server: aikiServer, logger: silentLogger });
  const workers: Worker[] = [];
  const startWorker = async (...workflows: Registered[]): Promise<Worker> => {
    const id = `worker-${workers.length + 1}`;
    const newWorker = worker(aiki, { id, maxConcurrentWorkflowRuns: 10, buildId: crew.build });
    for (const workflow of workflows) newWorker.registry.add(workflow);
    workers.push(newWorker);
    await newWorker.start();
    return newWorker;
  };
  const crew: Crew = Object.assign(startWorker, { build: "1" });
  try {
    await play(aiki, crew);
  } finally {
    await Promise.all(workers.map((newWorker) => newWorker.stop()));
    await aiki.close();
    await aikiServer.close();
  }
}

/** Starts a worker that serves these workflows. */
export interface Crew {
  (...workflows: Registered[]): Promise<Worker>;
  /** The deployed code, by name, of the workers that are started from now on. */
  build: string;
}

/** Prints what was proved, or throws. */
export function prove(claim: string, actual: unknown, expected: unknown): void {
  assert.deepEqual(actual, expected, claim);
  console.log(`✓ ${claim}`);
}
