import { getHeapStatistics } from "node:v8";
import type { Client } from "@aikirun/client";
import { redisOf, retryWithBackoff } from "@aikirun/client/internal";
import { AikiError, type Env } from "@aikirun/lib";
import { hasMethods, keepAlive, settlesWithin } from "@aikirun/lib/internal";
import type { Served } from "@aikirun/lib/protocol";
import {
  createExecution,
  fingerprintOf,
  ownerOfCurrentCode,
  type Registry,
  registry,
} from "@aikirun/workflow/internal";
import { parseConfig, type WorkerConfig, type WorkerParams } from "./config.ts";
import { cacheLimits } from "./execution-cache.ts";
import { Poller } from "./poller.ts";
import { registration, type WorkerApi } from "./registration.ts";
import { rejections } from "./rejections.ts";
import { Runner } from "./runner.ts";
import { subscribe } from "./subscribers/subscribe.ts";
import type { Subscriber } from "./subscribers/subscriber.ts";

/** Executes the runs of the workflows in its registry. */
export interface Worker {
  /** The label of the worker: `id` of its parameters, or a generated one. */
  readonly id: string;
  /** The workflows that it can execute; may change while the worker runs. */
  readonly registry: Registry;
  /**
   * Resolves when the worker is subscribed. It then keeps the process alive. Rejects with `UNAUTHORIZED`, with
   * `UNREACHABLE` when the server cannot be reached for 30 s, and with `WORKER_STOPPED` after `stop`.
   */
  start(): Promise<void>;
  /**
   * Claims no more runs, lets running tasks finish and records their results, releases the other runs, and resolves
   * within `gracefulShutdownTimeoutMs`. May be called twice.
   */
  stop(): Promise<void>;
}

const watchRejections = rejections(ownerOfCurrentCode);
/** How many workers of this process are running. */
let runningCount = 0;

/** How long `start` waits for an unreachable server. Milliseconds. */
const startTimeoutMs = 30_000;

/**
 * Creates a worker. It does nothing before `start`. Throws `INVALID_CLIENT`, or `INVALID_CONFIG` naming the field.
 *
 * @example
 * ```ts
 * import { client } from "@aikirun/client";
 * import { worker } from "@aikirun/worker";
 * import { workflow } from "@aikirun/workflow";
 *
 * const hello = workflow({ name: "hello" });
 * hello.v("1.0.0", { handler: async (_, name: string) => `Hello, ${name}!` });
 *
 * const aiki = await client({ url: "http://localhost:9090" });
 * const aikiWorker = worker(aiki, { maxConcurrentWorkflowRuns: 10 });
 * aikiWorker.registry.add(hello);
 * await aikiWorker.start();
 * process.once("SIGTERM", async () => {
 *   await aikiWorker.stop();
 *   await aiki.close();
 * });
 * ```
 */
export function worker(client: Client, params: WorkerParams = {}): Worker {
  if (!hasMethods(client?.api, ["claim"])) {
    throw new AikiError(
      "INVALID_CLIENT",
      "The first argument of worker() must be a client: pass the value that client() resolves to.",
    );
  }
  const { env, redis } = client;
  const made = { id: `worker-${env.id().slice(-8)}`, hasRedis: redis !== null };
  const config = parseConfig(params, made);
  const served = registry();
  const stopped = new AbortController();
  let starting: Promise<RunningWorker> | null = null;
  let stopping: Promise<void> | null = null;

  const begin = async (): Promise<RunningWorker> => {
    const release = keepAlive();
    try {
      return await work({ client, config, served, session: env.id(), stopped: stopped.signal, release });
    } catch (error) {
      release();
      starting = null;
      throw error;
    }
  };

  const end = async (): Promise<void> => {
    stopped.abort();
    const started = await starting?.catch(() => null);
    await started?.end();
  };

  return {
    id: config.id,
    registry: served,
    async start() {
      if (stopped.signal.aborted) {
        throw workerStopped(config.id);
      }
      starting ??= begin();
      await starting;
    },
    stop() {
      stopping ??= end();
      return stopping;
    },
  };
}

/** A running worker. */
interface RunningWorker {
  end(): Promise<void>;
}

/** The versions that the worker can execute, with the fingerprints of their code. */
function servedWithBuilds(registry: Registry, buildId: string | undefined): Served[] {
  return registry.serves().map(({ name, versionId }) => {
    const version = registry.find(name, versionId);
    return { name, versionId, ...(version && { build: fingerprintOf(version.handler, buildId) }) };
  });
}

interface Beginning {
  client: Client;
  config: WorkerConfig;
  served: Registry;
  session: string;
  stopped: AbortSignal;
  release: () => void;
}

async function work({ client, config, served, session, stopped, release }: Beginning): Promise<RunningWorker> {
  const { env } = client;
  const logger = client.logger.child({ worker: config.id });
  const { id, maxConcurrentWorkflowRuns, shardKeys, leaseMs, heartbeatIntervalMs, idleTimeoutMs, buildId } = config;
  const execution = { idleMs: idleTimeoutMs, ...(buildId === null ? {} : { buildId }) };
  let busy = () => 0;
  const serves = () => servedWithBuilds(served, config.buildId ?? undefined);
  const { api, streams } = registration(client.api, env, () => {
    const load = { slots: maxConcurrentWorkflowRuns, busy: busy() };
    return { session, worker: id, serves: serves(), shardKeys: [...shardKeys], leaseMs, load };
  });
  await sendFirstHeartbeat(api, { env, config, stopped });
  const context = { session, worker: id, serves, shardKeys, streams, logger, env };
  const subscriber = await subscribe(config.subscriber, context, client[redisOf], stopped);
  if (subscriber === null) {
    throw workerStopped(id);
  }
  const running: Runner = new Runner({
    client: { api, env, logger, url: client.url },
    registry: served,
    createExecution: (definition, host) => createExecution(definition, host, execution),
    session,
    worker: id,
    slots: maxConcurrentWorkflowRuns,
    cacheLimits: cacheLimits(getHeapStatistics().heap_size_limit, () => runningCount),
    leaseMs,
    heartbeatIntervalMs,
    metrics: config.metrics,
    onFreed: () => poller.freed(),
    onTakenBack: () => poller.takenBack(),
    onReclaim: (runId, fence) => poller.reclaim(runId, fence),
  });
  busy = () => running.busy;
  const poller = new Poller({
    api,
    env,
    logger,
    subscriber,
    maxRetryIntervalMs: config.subscriber.maxRetryIntervalMs,
    atCapacityIntervalMs: config.subscriber.atCapacityIntervalMs,
    session,
    worker: id,
    shardKeys,
    leaseMs,
    serves,
    freeSlots: () => maxConcurrentWorkflowRuns - running.busy,
    onRun: (run, takenAt) => running.take(run, takenAt),
    onRefused: (runId, fence) => running.refused(runId, fence),
  });
  if (served.serves().length === 0) {
    logger.warn("nothing is registered yet: add workflows with worker.registry.add(…)");
  }
  logger.info("worker started", { slots: maxConcurrentWorkflowRuns, serves: served.serves().length });
  const endWatch = watchRejections();
  runningCount += 1;
  const leave = () => api.renew({ runs: [], leaving: true });
  return {
    async end() {
      await shutDown({ running, poller, subscriber, leave, env }, config.gracefulShutdownTimeoutMs);
      endWatch();
      runningCount -= 1;
      release();
      logger.info("worker stopped");
    },
  };
}

/** Checks that the server answers and accepts the credentials, and gets the names of the wake-up streams. */
async function sendFirstHeartbeat(
  api: WorkerApi,
  { env, config, stopped }: Pick<Beginning, "config" | "stopped"> & { env: Env },
): Promise<void> {
  const began = env.elapsed();
  const isWorthwhile = () => !stopped.aborted && env.elapsed() - began < startTimeoutMs;
  const call = () => api.renew({ runs: [] }, { signal: stopped });
  try {
    await retryWithBackoff(call, { env, isWorthwhile, signals: [stopped], maxPauseMs: 1_000 });
  } catch (error) {
    throw stopped.aborted ? workerStopped(config.id) : error;
  }
  if (stopped.aborted) {
    throw workerStopped(config.id);
  }
}

interface Ending {
  running: Runner;
  poller: Poller;
  subscriber: Subscriber;
  leave: () => Promise<unknown>;
  env: Env;
}

/**
 * Running tasks may finish during three quarters of the time. In the rest, at most one second, the worker releases the
 * runs that it still holds. Then it sends the leave request, and the server releases all runs that the session still
 * has. This request is the last one, because the session may not claim or renew afterwards. The worker always sends it,
 * because the releases before may have failed or timed out.
 */
async function shutDown({ running, poller, subscriber, leave, env }: Ending, timeoutMs: number): Promise<void> {
  const releaseMs = Math.min(1_000, timeoutMs / 4);
  const endsAt = env.elapsed() + timeoutMs;
  const until = (at: number) => Math.max(0, at - env.elapsed());
  running.drain();
  // The answer to a pending claim may still contain runs, which must be released.
  const stopped = poller.stop();
  const idle = stopped.then(() => running.idle());
  if (!(await settlesWithin(env, idle, until(endsAt - releaseMs)))) {
    await settlesWithin(env, Promise.all([stopped, running.releaseAll()]), until(endsAt - releaseMs / 2));
  }
  running.close();
  await settlesWithin(env, Promise.allSettled([leave(), subscriber.close()]), until(endsAt));
}

function workerStopped(id: string): AikiError {
  return new AikiError("WORKER_STOPPED", `Worker ${id} was stopped; make a new one with worker().`, {
    ids: { worker: id },
  });
}
