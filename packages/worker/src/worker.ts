import type { Client } from "@aikirun/client";
import { keepAlive } from "@aikirun/client/internal";
import { AikiError, type Env, hasMethods } from "@aikirun/lib";
import { type Registry, registry } from "@aikirun/workflow";
import { parseConfig, type WorkerConfig, type WorkerParams } from "./config.ts";
import { paceOf } from "./pace.ts";
import { patiently } from "./patience.ts";
import { noticeRedis } from "./redis-notice.ts";
import { type Runner, runner } from "./runner.ts";
import { type Source, source } from "./source.ts";

/** Executes the runs of the workflows in its registry. */
export interface Worker {
  readonly id: string;
  /** What it can execute; may change while it works. */
  readonly registry: Registry;
  /**
   * Resolves once the worker is subscribed; it then keeps the process alive. Rejects with `UNAUTHORIZED`, with
   * `UNREACHABLE` when the server was away for 30 s, and with `WORKER_STOPPED` after `stop`.
   */
  start(): Promise<void>;
  /**
   * Takes nothing new, lets runs come to a good point, hands back the rest, and resolves within
   * `gracefulShutdownTimeoutMs`. May be called twice.
   */
  stop(): Promise<void>;
}

/** How long `start` waits for a server that is away. Milliseconds. */
const startPatienceMs = 30_000;

/** Makes a worker; nothing happens before `start`. Throws `INVALID_CLIENT`, or `INVALID_CONFIG` naming the field. */
export function worker(client: Client, params: WorkerParams = {}): Worker {
  if (!hasMethods(client?.api, ["claim"])) {
    throw new AikiError("INVALID_CLIENT", "worker() takes what client() resolved to as its first argument.");
  }
  const { env, redis } = client;
  const made = { id: `worker-${env.id().slice(-8)}`, hasRedis: redis !== null };
  const config = parseConfig(params, made);
  const served = registry();
  const stopped = new AbortController();
  let starting: Promise<Shift> | null = null;
  let stopping: Promise<void> | null = null;

  const begin = async (): Promise<Shift> => {
    const release = keepAlive();
    try {
      const session = env.id();
      await subscribe(client, session, config, stopped.signal);
      return work(client, config, served, session, release);
    } catch (error) {
      release();
      starting = null;
      throw error;
    }
  };

  const end = async (): Promise<void> => {
    stopped.abort();
    const shift = await starting?.catch(() => null);
    await shift?.end();
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

/** Shows that the server answers and accepts these credentials. */
async function subscribe(
  { api, env }: Client,
  session: string,
  config: WorkerConfig,
  stopped: AbortSignal,
): Promise<void> {
  const began = env.elapsed();
  const worthwhile = () => !stopped.aborted && env.elapsed() - began < startPatienceMs;
  const { leaseMs } = config;
  const call = () => api.renew({ session, leaseMs, runs: [] }, { signal: stopped });
  try {
    await patiently(call, { env, worthwhile, signal: stopped, maxPauseMs: 1_000 });
  } catch (error) {
    throw stopped.aborted ? workerStopped(config.id) : error;
  }
  if (stopped.aborted) {
    throw workerStopped(config.id);
  }
}

/** A worker at work. */
interface Shift {
  end(): Promise<void>;
}

function work(client: Client, config: WorkerConfig, served: Registry, session: string, release: () => void): Shift {
  const { api, env } = client;
  const logger = client.logger.child({ worker: config.id });
  const { id, maxConcurrentWorkflowRuns, shardKeys, leaseMs, heartbeatIntervalMs, subscriber } = config;
  const running: Runner = runner({
    client: { api, env, logger, url: client.url },
    registry: served,
    session,
    worker: id,
    slots: maxConcurrentWorkflowRuns,
    leaseMs,
    heartbeatIntervalMs,
    onFreed: () => claims.freed(),
    onReclaim: (runId, fence) => claims.reclaim(runId, fence),
  });
  const claims: Source = source({
    api,
    env,
    logger,
    pace: paceOf(subscriber, env),
    session,
    worker: id,
    shardKeys,
    leaseMs,
    serves: () => served.serves(),
    freeSlots: () => maxConcurrentWorkflowRuns - running.busy,
    onRun: running.take,
    onRefused: running.refused,
  });
  if (subscriber.type === "redis_streams") {
    void noticeRedis(client.redis, logger);
  }
  if (served.serves().length === 0) {
    logger.warn("nothing is registered yet: add workflows with worker.registry.add(…)");
  }
  logger.info("worker started", { slots: maxConcurrentWorkflowRuns, serves: served.serves().length });
  return {
    async end() {
      await wind(running, claims, config.gracefulShutdownTimeoutMs, env);
      release();
      logger.info("worker stopped");
    },
  };
}

/** Three quarters of the time are for runs to come to a good point, the rest, a second at most, to hand them back. */
async function wind(running: Runner, claims: Source, timeoutMs: number, env: Env): Promise<void> {
  const handBackMs = Math.min(1_000, timeoutMs / 4);
  running.drain();
  // The last answer to a claim may still bring runs, to be handed back.
  const idle = claims.stop().then(() => running.idle());
  if (!(await within(idle, timeoutMs - handBackMs, env))) {
    await within(running.handBack(), handBackMs, env);
  }
  running.close();
}

/** Whether it settled in time. */
function within(work: Promise<unknown>, ms: number, env: Env): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = env.after(ms, () => resolve(false));
    const settled = () => {
      cancel();
      resolve(true);
    };
    work.then(settled, settled);
  });
}

function workerStopped(id: string): AikiError {
  return new AikiError("WORKER_STOPPED", `Worker ${id} was stopped; make a new one with worker().`, {
    ids: { worker: id },
  });
}
