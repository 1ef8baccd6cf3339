import type { Client } from "@aikirun/client";
import type { Metrics } from "@aikirun/lib";
import type { ClaimedRun, RunId } from "@aikirun/lib/protocol";
import type { ExecutableVersion, Execution, Host, Registry } from "@aikirun/workflow/internal";
import { Activation, type ActivationContext } from "./activation.ts";
import { activationLog } from "./activation-log.ts";
import { type CacheLimits, ExecutionCache } from "./execution-cache.ts";
import { type Instant, Leases } from "./leases.ts";
import { workerMetrics } from "./metrics.ts";
import { Quarantine } from "./quarantine.ts";
import type { WorkerApi } from "./registration.ts";
import { Reporter } from "./reporter.ts";
import { RunWatch } from "./run-watch.ts";
import { Slots } from "./slots.ts";

export interface RunnerOptions {
  client: Pick<Client, "env" | "logger" | "url"> & { api: WorkerApi };
  registry: Registry;
  createExecution: (definition: ExecutableVersion, host: Host) => Execution;
  session: string;
  worker: string;
  slots: number;
  /** How many suspended executions stay in memory. */
  cacheLimits: CacheLimits;
  leaseMs: number;
  heartbeatIntervalMs: number;
  /** Null if nothing is to be counted. */
  metrics: Metrics | null;
  onFreed: () => void;
  /** A run took its slot back, so a pending claim may request too many runs. */
  onTakenBack: () => void;
  /** This worker must claim the run before any other run. */
  onReclaim: (runId: RunId, fence: number) => void;
}

/** Executes the runs that this worker holds. */
export class Runner {
  readonly #options: RunnerOptions;
  /** The newest activation of each run, until it has left the worker. */
  readonly #activations = new Map<RunId, Activation>();
  readonly #cache: ExecutionCache<Activation>;
  readonly #leases: Leases;
  readonly #watch: RunWatch;
  readonly #slots: Slots;
  readonly #ended = new AbortController();
  readonly #context: ActivationContext;
  #isStopping = false;

  constructor(options: RunnerOptions) {
    const { client, registry, createExecution, slots, onFreed, onTakenBack } = options;
    const { api, env, logger, url } = client;
    this.#options = options;
    this.#cache = new ExecutionCache(options.cacheLimits);
    this.#leases = new Leases({ ...options, api, env, logger });
    this.#watch = new RunWatch(api, env);
    this.#slots = new Slots({ count: slots, onFreed, onTakenBack });
    const isStopping = () => this.#isStopping;
    this.#context = {
      api,
      env,
      logger,
      registry,
      createExecution,
      leases: this.#leases,
      slots: this.#slots,
      quarantine: new Quarantine(env, this.#leases.unconfirmedMs / 3),
      cache: this.#cache,
      watch: this.#watch,
      reporter: new Reporter({ ...options, api, env, lanes: url === null ? 1 : 2, ended: this.#ended.signal }),
      log: activationLog(logger),
      metrics: workerMetrics(options.metrics, logger),
      get isStopping() {
        return isStopping();
      },
      ended: this.#ended.signal,
      reclaim: (activation) => this.#reclaim(activation),
      reclaimLost: (activation) => this.#reclaimLost(activation),
    };
  }

  /** How many slots are occupied. May exceed the number of slots after waiting replays have continued. */
  get busy(): number {
    return this.#slots.busy;
  }

  take(claimed: ClaimedRun, takenAt: Instant): void {
    const before = this.#activations.get(claimed.id);
    const activation = new Activation(this.#context, claimed, takenAt);
    this.#activations.set(claimed.id, activation);
    activation.begin(before, () => {
      if (this.#activations.get(claimed.id) === activation) this.#activations.delete(claimed.id);
    });
  }

  /** A suspended run that was to be claimed again continued in another worker, or has ended. */
  refused(runId: RunId, fence: number): void {
    if (this.#cache.peek(runId, fence) !== null) this.#cache.drop(runId);
  }

  /** Lets each run record the results of running tasks and releases it. Runs claimed later are released at once. */
  drain(): void {
    this.#isStopping = true;
    this.#cache.clear();
    for (const activation of this.#activations.values()) activation.drain();
  }

  /** Resolves when no run is left. */
  idle(): Promise<void> {
    return this.#slots.empty();
  }

  /** Abandons the remaining runs and releases them, so that other workers can continue them at once. */
  async releaseAll(): Promise<void> {
    await Promise.all([...this.#activations.values()].map((activation) => activation.abandonAndRelease()));
  }

  close(): void {
    this.#isStopping = true;
    this.#ended.abort();
    this.#leases.close();
    this.#watch.close();
    for (const activation of this.#activations.values()) activation.lose("SHUTDOWN");
  }

  /** Claims the run now and once more after one lease: a report that suspends it may not be committed yet. */
  #reclaimLost({ runId, fence }: Activation): void {
    const { onReclaim, leaseMs, client } = this.#options;
    onReclaim(runId, fence);
    client.env.after(leaseMs, () => {
      if (!this.#isStopping && !this.#activations.has(runId)) onReclaim(runId, fence);
    });
  }

  /** Claims the run of a suspended execution that continued by itself, unless there is a newer activation. */
  #reclaim(activation: Activation): void {
    const { runId, fence } = activation;
    const current = this.#activations.get(runId)?.claimed;
    // The run is already claimed, and its execution is about to be resumed.
    if (current?.isCached === true && current.fence === fence + 1) return;
    const isOver = this.#isStopping || (current?.fence ?? 0) > fence;
    if (isOver || !this.#cache.reserve(activation)) activation.abandon("EVICTED");
    else this.#options.onReclaim(runId, fence);
  }
}
