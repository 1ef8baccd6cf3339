/** A worker process of these tests: executes the programs, may fall to a fault, and takes orders from the test. */

import { client } from "@aikirun/client";
import { consoleLogger, isAikiError } from "@aikirun/lib";
import { type Worker, worker } from "@aikirun/worker";
import { faultAt, type ProcessFault } from "./fault.ts";
import { type Ground, redisParams } from "./ground.ts";
import { programs } from "./programs.ts";
import { reachingWorkerApi } from "./worker-points.ts";

/** One worker inside the process. */
export interface Job extends Pick<Ground, "redis" | "subscriber"> {
  url: string;
  ledger: string;
  /** Which scenarios' programs it executes. */
  suffixes: string[];
  heartbeatMs: number;
  slots?: number;
  id?: string;
}

export interface WorkerProcessConfig {
  fault: ProcessFault | null;
  jobs: Job[];
}

/** What the test may say to the process: a further worker, further programs for the worker at `url`, or its end. */
export type WorkerOrder =
  | { type: "work"; job: Job }
  | { type: "serve"; url: string; ledger: string; suffix: string }
  | { type: "rest"; url: string };

const { fault, jobs }: WorkerProcessConfig = JSON.parse(process.argv[2] ?? "{}");
const reach = faultAt(fault);
const logger = consoleLogger({ level: "info" });
const workers = new Map<string, Worker>();

async function work(job: Job): Promise<void> {
  const { url, redis, subscriber, ledger, suffixes, heartbeatMs, slots = 20, id = `w${process.pid}` } = job;
  const aiki = await client({ url, logger, ...(redis === null ? {} : { redis: redisParams(redis) }) });
  const made = worker(
    { ...aiki, api: reachingWorkerApi(aiki.api, reach) },
    {
      id,
      subscriber,
      maxConcurrentWorkflowRuns: slots,
      workflowRun: { heartbeatIntervalMs: heartbeatMs },
      gracefulShutdownTimeoutMs: 2_000,
    },
  );
  workers.set(url, made);
  for (const suffix of suffixes) serve(made, ledger, suffix);
  await made.start();
  console.log(`working at ${url}`);
}

function serve(made: Worker, ledger: string, suffix: string): void {
  for (const workflow of programs(suffix, { ledger, reach }).workflows) made.registry.add(workflow);
}

async function obey(order: WorkerOrder): Promise<void> {
  switch (order.type) {
    case "work":
      return work(order.job);
    case "serve": {
      const made = workers.get(order.url);
      return made === undefined ? undefined : serve(made, order.ledger, order.suffix);
    }
    case "rest":
      return workers.get(order.url)?.stop();
    default:
      return order satisfies never;
  }
}

/** A worker that is stopped while it starts says so; the process is ending then. */
function unlessStopped(error: unknown): void {
  if (!isAikiError(error) || error.code !== "WORKER_STOPPED") throw error;
}

process.on("message", obey);
process.on("disconnect", () => process.exit(3));
process.on("SIGTERM", async () => {
  await Promise.all([...workers.values()].map((one) => one.stop()));
  process.exit(0);
});
console.log("up");
for (const job of jobs) await work(job).catch(unlessStopped);
