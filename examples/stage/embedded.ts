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
  const crew = async (...workflows: Registered[]): Promise<Worker> => {
    const hired = worker(aiki, { id: `worker-${workers.length + 1}`, maxConcurrentWorkflowRuns: 10 });
    for (const workflow of workflows) hired.registry.add(workflow);
    workers.push(hired);
    await hired.start();
    return hired;
  };
  try {
    await play(aiki, crew);
  } finally {
    await Promise.all(workers.map((hired) => hired.stop()));
    await aiki.close();
    await aikiServer.close();
  }
}

/** Starts a worker that serves these workflows. */
export type Crew = (...workflows: Registered[]) => Promise<Worker>;

/** Prints what was proved, or throws. */
export function prove(claim: string, actual: unknown, expected: unknown): void {
  assert.deepEqual(actual, expected, claim);
  console.log(`✓ ${claim}`);
}
