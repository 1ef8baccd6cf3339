import { Fields } from "@aikirun/lib/internal";
import { parseStrategy, type Strategy, type SubscriberStrategy } from "./subscribers/strategy.ts";

/** Parameters of a worker. Every field has a default. */
export interface WorkerParams {
  /** A label for people; several workers may share it. Default: generated. */
  id?: string;
  /** How many runs are executed at once, 1 to 1,000. Default 1. */
  maxConcurrentWorkflowRuns?: number;
  /** How a single run is executed. Default: as each field says. */
  workflowRun?: {
    /**
     * How often the worker renews its leases. Without a renewal for three times as long, other workers take over its
     * runs. Milliseconds, default 30,000.
     */
    heartbeatIntervalMs?: number;
    /**
     * How long a handler may await something that is not durable, and nothing else, before its run is stalled as
     * `idle`. Milliseconds, 1,000 to 86,400,000 (a day), default 300,000 (5 minutes).
     */
    idleTimeoutMs?: number;
  };
  /** How long `stop` may take to let running tasks finish and release all runs. Milliseconds, default 5,000. */
  gracefulShutdownTimeoutMs?: number;
  /** What triggers the worker's claims. Default: `redis_streams` if the client has Redis, else `adaptive_polling`. */
  subscriber?: SubscriberStrategy;
  /** Serves only runs started with one of these shard keys. Default: only runs without one. */
  shardKeys?: string[];
  /**
   * A name of the deployed code, for example a commit. With it, replay knows whether the code has changed since it
   * recorded a run. 1 to 64 characters. Default: none.
   */
  buildId?: string;
}

export interface WorkerConfig {
  readonly id: string;
  readonly maxConcurrentWorkflowRuns: number;
  readonly heartbeatIntervalMs: number;
  /** Three heartbeats. Milliseconds. */
  readonly leaseMs: number;
  readonly idleTimeoutMs: number;
  readonly gracefulShutdownTimeoutMs: number;
  readonly subscriber: Strategy;
  readonly shardKeys: readonly string[];
  readonly buildId: string | null;
}

/** Throws `INVALID_CONFIG`, naming the field. */
export function parseConfig(params: unknown, made: { id: string; hasRedis: boolean }): WorkerConfig {
  const fields = new Fields(params, "worker", "INVALID_CONFIG");
  const { heartbeatIntervalMs, idleTimeoutMs } = parseWorkflowRun(
    fields.has("workflowRun") ? fields.take("workflowRun") : {},
  );
  const config: WorkerConfig = {
    id: fields.text("id") ?? made.id,
    maxConcurrentWorkflowRuns: fields.integer("maxConcurrentWorkflowRuns", { min: 1, max: 1_000 }) ?? 1,
    heartbeatIntervalMs,
    leaseMs: 3 * heartbeatIntervalMs,
    idleTimeoutMs,
    gracefulShutdownTimeoutMs: fields.integer("gracefulShutdownTimeoutMs", { min: 0, max: 86_400_000 }) ?? 5_000,
    subscriber: parseStrategy(fields.take("subscriber"), made.hasRedis),
    shardKeys: Object.freeze(fields.texts("shardKeys", 1_000) ?? []),
    buildId: fields.text("buildId", { min: 1, max: 64 }) ?? null,
  };
  fields.done();
  return Object.freeze(config);
}

function parseWorkflowRun(value: unknown): Pick<WorkerConfig, "heartbeatIntervalMs" | "idleTimeoutMs"> {
  const fields = new Fields(value, "worker.workflowRun", "INVALID_CONFIG");
  const heartbeatIntervalMs = fields.integer("heartbeatIntervalMs", { min: 50, max: 28_800_000 }) ?? 30_000;
  const idleTimeoutMs = fields.integer("idleTimeoutMs", { min: 1_000, max: 86_400_000 }) ?? 300_000;
  fields.done();
  return { heartbeatIntervalMs, idleTimeoutMs };
}
