/**
 * Which workers are alive, what they serve and how busy they are, on all servers of the database. A server keeps here
 * what it received with claims and heartbeats, and saves it to the database later, many workers in one transaction. It
 * reads what other servers have saved when a caller needs it, at most once a second.
 */

import { type Cancel, type Env, isAikiError, type Logger } from "@aikirun/lib";
import type { LiveWorker, WorkerDescription } from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";
import type { RegisteredWorker } from "../storage/registered-worker.ts";
import type { Storage } from "../storage/storage.ts";

export interface WorkerRegistryOptions {
  env: Env;
  storage: Pick<Storage, "read" | "transaction">;
  logger: Logger;
  /** How long a worker counts as live after its last claim or heartbeat, at least. Milliseconds. */
  aliveMs: number;
}

/** A claim or a heartbeat, which may be the last one. */
type Heartbeat = WorkerDescription & { leaving?: boolean };

/** A worker's process as this server knows it. Times are monotonic milliseconds. */
interface KnownWorker {
  readonly namespace: string;
  sign: Heartbeat;
  /** The worker has left. Every process has a new session, so this one does not return. */
  hasLeft: boolean;
  since: number;
  seenAt: number;
  /** Minus infinity if it was never saved. */
  savedAt: number;
  /** When to save it next; infinity if nothing has changed. */
  saveAt: number;
}

/** A read of the database. */
interface WorkersRead {
  /** When the read began; monotonic milliseconds. */
  askedAt: number;
  reply: Promise<{ stored: RegisteredWorker[]; aheadMs: number }>;
}

/** After how long a worker is saved that is new or that serves something else. Milliseconds. */
const saveSoonMs = 250;
/** How many times a changed load, and a heartbeat, is saved within `aliveMs` at most: so some may be lost. */
const loadsWhileAlive = 18;
const signsWhileAlive = 6;
/** Workers that are due within this time are saved in the same transaction. Milliseconds. */
const saveTogetherMs = 5_000;
/** The pause after a failure. Milliseconds. */
const retryMs = 5_000;
/** How long a read of the database is reused. Milliseconds. */
const answerMs = 1_000;
/** How long rows of dead workers are kept, so that no server adds a worker again that has left. Milliseconds. */
const keptMs = 600_000;
/** Workers saved in one transaction: few enough that a blocking database blocks for milliseconds. */
const batchSize = 500;

export class WorkerRegistry {
  readonly #options: WorkerRegistryOptions;
  /** By namespace and session. */
  readonly #known = new Map<string, KnownWorker>();
  readonly #answers = new Map<string, WorkersRead>();
  #cancel: Cancel = () => {};
  /** When the timer fires. */
  #armedFor = Number.POSITIVE_INFINITY;
  #saving: Promise<void> | null = null;
  #prunedAt = Number.NEGATIVE_INFINITY;

  constructor(options: WorkerRegistryOptions) {
    this.#options = options;
  }

  /** A worker claims or renews. */
  seen(namespace: string, sign: Heartbeat): void {
    const now = this.#options.env.elapsed();
    const key = JSON.stringify([namespace, sign.session]);
    const unsaved = { savedAt: Number.NEGATIVE_INFINITY, saveAt: Number.POSITIVE_INFINITY };
    const before = this.#known.get(key);
    const known = before ?? { namespace, sign, hasLeft: false, since: now, seenAt: now, ...unsaved };
    this.#known.set(key, known);
    if (known.hasLeft) return;
    known.saveAt = Math.min(known.saveAt, this.#dueAt(before, sign, now));
    known.sign = sign.load === undefined && known.sign.load ? { ...sign, load: known.sign.load } : sign;
    known.seenAt = now;
    known.hasLeft = sign.leaving === true;
    if (known.hasLeft) known.saveAt = now;
    this.#arm(known.saveAt);
  }

  /** Live workers of the namespace, by id and then by session. */
  async list(namespace: string): Promise<LiveWorker[]> {
    const { askedAt, reply } = this.#ask(namespace);
    const { stored, aheadMs } = await reply;
    const workers = new Map(stored.map((worker) => [worker.session, worker]));
    for (const known of this.#known.values()) {
      if (known.namespace !== namespace) continue;
      const row = workers.get(known.sign.session);
      // A worker that was saved before the read, and is not in its answer, has left through another server.
      const isGone = row === undefined && known.savedAt > Number.NEGATIVE_INFINITY && known.savedAt < askedAt;
      const next = this.#rowOf(known, aheadMs, row?.since);
      if (!isGone && (known.hasLeft || next.seenAt >= (row?.seenAt ?? 0))) workers.set(next.session, next);
    }
    const now = this.#options.env.elapsed() + aheadMs;
    const live = [...workers.values()].filter(({ liveUntil }) => liveUntil > now);
    return live.map(({ namespace: _, liveUntil: __, ...worker }) => worker).sort(byWorker);
  }

  /** Returns a function that says whether a live worker serves a run; only for queued runs among these. */
  async serving(namespace: string, runs: readonly Run[]): Promise<(run: Run) => boolean> {
    const isNeeded = runs.some(({ state }) => state.status === "queued");
    const workers = isNeeded ? await this.list(namespace) : [];
    return (run) => workers.some((worker) => serves(worker, run));
  }

  /** Saves which workers have left, then nothing more. Never rejects. */
  async close(): Promise<void> {
    this.#cancel();
    await this.#saving;
    this.#armedFor = Number.NEGATIVE_INFINITY;
    this.#cancel();
    await this.#save(this.#dueBy(Number.MAX_VALUE).filter(({ hasLeft }) => hasLeft));
  }

  #dueAt(before: KnownWorker | undefined, sign: Heartbeat, now: number): number {
    if (before === undefined || !isAlike(before.sign, sign)) return now + saveSoonMs;
    const { load } = before.sign;
    const isBusier = sign.load !== undefined && (sign.load.busy !== load?.busy || sign.load.slots !== load.slots);
    const intervalMs = this.#options.aliveMs / (isBusier ? loadsWhileAlive : signsWhileAlive);
    return Math.max(now + saveSoonMs, before.savedAt + intervalMs);
  }

  #ask(namespace: string): WorkersRead {
    const { env, storage } = this.#options;
    const askedAt = env.elapsed();
    for (const [other, answer] of this.#answers) {
      if (askedAt - answer.askedAt >= answerMs) this.#answers.delete(other);
    }
    const read = () =>
      storage.read(async (reader) => {
        const now = reader.now();
        return { aheadMs: now - env.elapsed(), stored: await reader.workers(namespace, now) };
      });
    const answer = this.#answers.get(namespace) ?? { askedAt, reply: read() };
    this.#answers.set(namespace, answer);
    return answer;
  }

  /** `aheadMs`: how far the clock of the database is ahead of the monotonic one. */
  #rowOf(
    { namespace, sign, hasLeft, since, seenAt }: KnownWorker,
    aheadMs: number,
    storedSince = Infinity,
  ): RegisteredWorker {
    const { session, worker, serves, shardKeys, load, leaseMs } = sign;
    const at = Math.round(seenAt + aheadMs);
    return {
      namespace,
      session,
      worker,
      serves,
      shardKeys,
      ...(load === undefined ? {} : { load }),
      since: Math.min(Math.round(since + aheadMs), storedSince),
      seenAt: at,
      liveUntil: hasLeft ? 0 : at + this.#aliveFor(leaseMs),
    };
  }

  #aliveFor(leaseMs: number): number {
    return Math.max(this.#options.aliveMs, leaseMs);
  }

  #arm(at: number): void {
    const { env } = this.#options;
    if (at >= this.#armedFor || this.#saving !== null) return;
    this.#cancel();
    this.#armedFor = at;
    this.#cancel = env.after(Math.max(0, at - env.elapsed()), () => {
      this.#armedFor = Number.POSITIVE_INFINITY;
      this.#saving = this.#saveDue();
    });
  }

  #dueBy(until: number): KnownWorker[] {
    return [...this.#known.values()].filter(({ saveAt }) => saveAt <= until).slice(0, batchSize);
  }

  async #saveDue(): Promise<void> {
    const { env } = this.#options;
    await this.#save(this.#dueBy(env.elapsed() + saveTogetherMs));
    this.#saving = null;
    for (const [key, { saveAt, seenAt, sign }] of this.#known) {
      const isDead = env.elapsed() - seenAt >= this.#aliveFor(sign.leaseMs);
      if (saveAt < Number.POSITIVE_INFINITY) this.#arm(saveAt);
      else if (isDead) this.#known.delete(key);
    }
  }

  async #save(due: KnownWorker[]): Promise<void> {
    if (due.length === 0) return;
    const { env, logger } = this.#options;
    for (const known of due) known.saveAt = Number.POSITIVE_INFINITY;
    try {
      await this.#write(due);
      for (const known of due) known.savedAt = env.elapsed();
    } catch (error) {
      // The storage has logged its own faults.
      if (!isAikiError(error))
        logger.error("Could not save which workers are alive; the server tries again", { error });
      for (const known of due) known.saveAt = Math.min(known.saveAt, env.elapsed() + retryMs);
    }
  }

  async #write(due: KnownWorker[]): Promise<void> {
    const { env, storage } = this.#options;
    const isToPrune = env.elapsed() - this.#prunedAt >= keptMs;
    await storage.transaction(async (transaction) => {
      const aheadMs = transaction.now() - env.elapsed();
      await transaction.saveWorkers(due.map((known) => this.#rowOf(known, aheadMs)));
      if (isToPrune) await transaction.forgetWorkers(transaction.now() - keptMs);
    });
    if (isToPrune) this.#prunedAt = env.elapsed();
  }
}

/** Whether the worker serves runs of this version in this shard. */
export function serves(
  { serves: served, shardKeys }: LiveWorker,
  { name, versionId, shardKey }: Pick<Run, "name" | "versionId" | "shardKey">,
): boolean {
  const inShard = shardKey === null ? shardKeys.length === 0 : shardKeys.includes(shardKey);
  return inShard && served.some((one) => one.name === name && one.versionId === versionId);
}

/** Whether the two are equal except for the load. */
function isAlike(left: Heartbeat, right: Heartbeat): boolean {
  return left.leaseMs === right.leaseMs && aboutOf(left) === aboutOf(right);
}

function aboutOf({ worker, serves: served, shardKeys }: Heartbeat): string {
  return JSON.stringify([worker, shardKeys, served.map(({ name, versionId }) => [name, versionId])]);
}

function byWorker(left: LiveWorker, right: LiveWorker): number {
  return byText(left.worker, right.worker) || byText(left.session, right.session);
}

function byText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
