/** An engine on a storage in memory, and sessions whose requests the test makes. */

import { silentLogger } from "@aikirun/lib";
import type {
  Api,
  CallOptions,
  ClaimedRun,
  ClaimRequest,
  Entry,
  Next,
  Report,
  ReportResult,
  RunSpec,
  RunView,
  Signal,
  SignalResult,
  StartResult,
} from "@aikirun/lib/protocol";
import { type VirtualEnv, virtualEnv } from "@aikirun/testing/virtual-env";
import type { Settings } from "../src/core/run.ts";
import { createEngine, type Engine, type ObservedBatch } from "../src/engine/engine.ts";
import { memoryStorage } from "../src/storage/memory/memory.ts";
import type { Storage } from "../src/storage/storage.ts";
import { type WatchedStorage, watchedStorage } from "./storage.ts";

export interface EngineRig {
  env: VirtualEnv;
  storage: WatchedStorage;
  engine: Engine;
  api: Api;
  batches: ObservedBatch[];
  /** A new session in the namespace, by default in `default`. */
  openSession(namespace?: string): TestSession;
  /** Another server on the same database. */
  another(): EngineRig;
}

export interface RigOptions {
  env?: VirtualEnv;
  inner?: Storage;
  settings?: Partial<Settings>;
}

export function rig({ env = virtualEnv(), inner = memoryStorage({ env }), settings = {} }: RigOptions = {}): EngineRig {
  const storage = watchedStorage(inner);
  const batches: ObservedBatch[] = [];
  const engine = createEngine({
    storage,
    env,
    settings,
    logger: silentLogger,
    observe: (batch) => batches.push(batch),
  });
  const api = engine.api("default");
  return {
    env,
    storage,
    engine,
    api,
    batches,
    openSession: (namespace = "default") => new TestSession(engine.api(namespace), env),
    another: () => rig({ env, inner, settings }),
  };
}

/** The fields about the worker in heartbeats of a `TestSession`. */
export const workerFields = {
  worker: "worker",
  serves: [{ name: "order", versionId: "1" }],
  shardKeys: [],
  leaseMs: 90_000,
};

/** Sends the requests of a client and of one worker session. */
export class TestSession {
  readonly api: Api;
  readonly id: string;
  readonly #env: VirtualEnv;

  constructor(api: Api, env: VirtualEnv, id: string = env.id()) {
    this.api = api;
    this.#env = env;
    this.id = id;
  }

  spec(more: Partial<RunSpec> = {}): RunSpec {
    return { id: this.#env.id(), name: "order", versionId: "1", ...more };
  }

  async start(more: Partial<RunSpec> = {}): Promise<string> {
    const spec = this.spec(more);
    const result = await this.tryStart(spec);
    if (!result.ok) {
      throw new Error(`${result.code}: ${result.message}`);
    }
    return result.id;
  }

  async tryStart(spec: RunSpec): Promise<StartResult> {
    return only((await this.api.start({ runs: [spec] })).results);
  }

  request(more: Partial<ClaimRequest> = {}): ClaimRequest {
    return {
      claimId: this.#env.id(),
      session: this.id,
      worker: "worker",
      serves: [{ name: "order", versionId: "1" }],
      shardKeys: [],
      limit: 10,
      leaseMs: 90_000,
      waitMs: 0,
      ...more,
    };
  }

  async claim(more: Partial<ClaimRequest> = {}, options?: CallOptions): Promise<ClaimedRun[]> {
    return (await this.api.claim(this.request(more), options)).runs;
  }

  async claimOne(more: Partial<ClaimRequest> = {}): Promise<ClaimedRun> {
    return only(await this.claim(more));
  }

  reporting(run: ClaimedRun, next: Next, more: Partial<Report> = {}): Report {
    return {
      reportId: this.#env.id(),
      runId: run.id,
      fence: run.fence,
      seen: run.inbox,
      after: run.journal.at(-1)?.seq ?? 0,
      entries: [],
      opens: [],
      starts: [],
      next,
      ...more,
    };
  }

  async send(...reports: Report[]): Promise<ReportResult[]> {
    return (await this.api.report({ session: this.id, worker: "worker", reports })).results;
  }

  async report(run: ClaimedRun, next: Next, more: Partial<Report> = {}): Promise<Extract<ReportResult, { ok: true }>> {
    const result = only(await this.send(this.reporting(run, next, more)));
    if (!result.ok) {
      throw new Error(`${result.code}: ${result.message}`);
    }
    return result;
  }

  async signal(runId: string, signal: Signal, signalId: string = this.#env.id()): Promise<SignalResult> {
    return only((await this.api.signal({ signals: [{ signalId, runId, signal }] })).results);
  }

  async read(runId: string): Promise<{ run: RunView; entries: Entry[] }> {
    const result = only((await this.api.read({ runs: [{ runId, entries: { after: 0, limit: 1_000 } }] })).results);
    if (!result.ok) {
      throw new Error(`${result.code}: ${result.message}`);
    }
    return result;
  }

  async status(runId: string): Promise<RunView["status"]> {
    return (await this.read(runId)).run.status;
  }
}

export function only<Item>(items: readonly Item[]): Item {
  const [item] = items;
  if (item === undefined || items.length !== 1) {
    throw new Error(`Expected one item, got ${JSON.stringify(items)}`);
  }
  return item;
}

export function codes(results: ReadonlyArray<{ ok: boolean; code?: string }>): string[] {
  return results.map((result) => (result.ok ? "ok" : (result.code ?? "?")));
}
