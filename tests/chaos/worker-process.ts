/** A worker process of the chaos test. Executes programs until it is stopped or killed. */

import { client } from "@aikirun/client";
import { consoleLogger, isAikiError } from "@aikirun/lib";
import type { Api } from "@aikirun/lib/protocol";
import { worker } from "@aikirun/worker";
import { type Backend, redisParams } from "../end-to-end/backend.ts";
import { sayLateness } from "../end-to-end/lateness.ts";
import { reachingWorkerApi } from "../end-to-end/worker-points.ts";
import { type ChaosWitness, programVersion } from "./interpreter.ts";

export interface ChaosWorkerConfig extends Pick<Backend, "redis" | "subscriber"> {
  url: string;
  witness: ChaosWitness;
  heartbeatMs: number;
  slots: number;
}

/** Longer than all non-durable work of programs. Milliseconds. */
const idleTimeoutMs = 8_000;

const config: ChaosWorkerConfig = JSON.parse(process.argv[2] ?? "{}");
const { url, redis, subscriber, witness, heartbeatMs, slots } = config;
const logger = consoleLogger({ level: "info" });
const aiki = await client({ url, logger, ...(redis === null ? {} : { redis: redisParams(redis) }) });
const made = worker(
  { ...aiki, api: observedApi(reachingWorkerApi(aiki.api, () => {})) },
  {
    id: `w${process.pid}`,
    maxConcurrentWorkflowRuns: slots,
    workflowRun: { heartbeatIntervalMs: heartbeatMs, idleTimeoutMs },
    gracefulShutdownTimeoutMs: 2_000,
    subscriber,
  },
);
made.registry.add(programVersion(witness).program);

/** Prints heartbeats with a late reply, and claims that are repeated after a lost reply. */
function observedApi(api: Api): Api {
  return {
    ...api,
    claim(request, options) {
      if (request.repeats !== undefined) console.log("repeated claim");
      return api.claim(request, options);
    },
    async renew(request, options) {
      const madeAfter = Date.now();
      try {
        return await api.renew(request, options);
      } finally {
        const now = Date.now();
        if (now - madeAfter > heartbeatMs) console.log(`kept waiting ${now - madeAfter} at ${now}`);
      }
    },
  };
}

sayLateness();
process.on("disconnect", () => process.exit(3));
process.on("SIGTERM", async () => {
  await made.stop();
  process.exit(0);
});
console.log("up");
try {
  await made.start();
  console.log("working");
} catch (error) {
  if (!isAikiError(error) || error.code !== "WORKER_STOPPED") throw error;
}
