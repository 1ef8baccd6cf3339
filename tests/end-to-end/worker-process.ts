/** A worker process of these tests: executes workflows, may inject a fault, and receives messages from the test. */

import { client } from "@aikirun/client";
import { consoleLogger, isAikiError } from "@aikirun/lib";
import { type Worker, worker } from "@aikirun/worker";
import { type Backend, redisParams } from "./backend.ts";
import { faultAt, type ProcessFault } from "./fault.ts";
import { programs } from "./programs.ts";
import { reachingWorkerApi } from "./worker-points.ts";

/** One worker inside the process. */
export interface Job extends Pick<Backend, "redis" | "subscriber"> {
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

/** A message from the test: add a worker, add workflows to the worker at `url`, or stop that worker. */
export type WorkerOrder =
  | { type: "work"; job: Job }
  | { type: "serve"; url: string; ledger: string; suffix: string }
  | { type: "stop"; url: string };

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
    case "stop":
      return workers.get(order.url)?.stop();
    default:
      return order satisfies never;
  }
}

/** Ignores the error of a worker that is stopped while it starts. */
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
