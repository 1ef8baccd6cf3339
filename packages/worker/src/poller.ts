import { isTransient, retryAfterOf } from "@aikirun/client/internal";
import type { Env, Logger } from "@aikirun/lib";
import { backoffMs, isRecord, pause, waitUntil } from "@aikirun/lib/internal";
import { type ClaimedRun, type ClaimRequest, limits, type RunId, type Served } from "@aikirun/lib/protocol";
import { type Instant, instant, later } from "./leases.ts";
import type { WorkerApi } from "./registration.ts";
import type { PollRequest, PollResult, Subscriber } from "./subscribers/subscriber.ts";

export interface PollerOptions {
  api: Pick<WorkerApi, "claim">;
  env: Env;
  logger: Logger;
  subscriber: Subscriber;
  /** The longest pause while the server or the subscriber fails. Milliseconds. */
  maxRetryIntervalMs: number;
  /** How long a full worker waits for more free slots before it claims. Milliseconds. */
  atCapacityIntervalMs: number;
  session: string;
  worker: string;
  shardKeys: readonly string[];
  leaseMs: number;
  serves: () => Served[];
  freeSlots: () => number;
  /** Receives a claimed run, which now occupies a slot. It was claimed at the given moment or later. */
  onRun: (run: ClaimedRun, takenAt: Instant) => void;
  /** The suspended run cannot be claimed: it continued in another worker, or has ended. */
  onRefused: (runId: RunId, fence: number) => void;
}

/** The interval at which the worker checks, during a long poll, whether its registry has changed. Milliseconds. */
const registryMs = 200;
/** How long a stopping worker waits for the answer to a claim without a long poll. Milliseconds. */
const stoppingMs = 200;
/** The maximum number of runs of one claim. */
const maxRuns = 1_000;
/** How many of the oldest, and of the newest, unanswered claims the next claim names. These most likely took runs. */
const namedAtEachEnd = limits.repeatedClaims / 2;

/** The awaited next request of the subscriber; null when the subscriber has no request. */
interface Upcoming {
  request: Promise<PollRequest | null>;
  serves: Served[];
  leave: AbortController;
  /** Absent until the subscriber has answered; null if it failed. */
  result?: PollRequest | null;
}

/**
 * Claims runs when slots become free. It sends one claim at a time, for at most as many runs as slots are free, so that
 * the worker never gets more runs. Its own suspended runs are claimed before the runs that the subscriber requests.
 */
export class Poller {
  readonly #options: PollerOptions;
  readonly #stopped = new AbortController();
  /** Suspended runs to claim, with their fences. */
  readonly #reclaims = new Map<RunId, number>();
  /** Unanswered claims, which may have taken runs: the next claim names them. */
  #unanswered: string[] = [];
  #failures = 0;
  #subscriberFailures = 0;
  #upcoming: Upcoming | null = null;
  #wake: () => void = () => {};
  /** Aborts the pending long poll. */
  #abort: () => void = () => {};
  readonly #done: Promise<void>;

  constructor(options: PollerOptions) {
    this.#options = options;
    this.#done = this.#loop();
  }

  /** Call when a slot becomes free. */
  freed(): void {
    this.#wake();
  }

  /** Call when a free slot becomes occupied. Aborts a long poll that may request too many runs. */
  takenBack(): void {
    this.#abort();
  }

  /** Claims a suspended run, before any other. */
  reclaim(runId: RunId, fence: number): void {
    this.#reclaims.set(runId, fence);
    this.#abort();
    this.#wake();
  }

  /** Stops claiming. Resolves when no claim is pending and its runs have been passed on. */
  stop(): Promise<void> {
    this.#stopped.abort();
    this.#wake();
    return this.#done;
  }

  async #loop(): Promise<void> {
    const { freeSlots, serves, atCapacityIntervalMs, env } = this.#options;
    while (!this.#stopped.signal.aborted) {
      if (freeSlots() <= 0 || (serves().length === 0 && this.#reclaims.size === 0)) {
        this.#drop();
        await this.#woken();
        if (atCapacityIntervalMs > 0) await pause(env, atCapacityIntervalMs, this.#stopped.signal);
      } else if (this.#reclaims.size > 0) {
        await this.#claim({ waitMs: 0 });
      } else {
        await this.#poll();
      }
    }
    this.#drop();
  }

  /**
   * Claims when and as the subscriber requests. A suspended run is claimed first: the request is then awaited later.
   */
  async #poll(): Promise<void> {
    const { serves, freeSlots } = this.#options;
    if (this.#upcoming !== null && !isSame(this.#upcoming.serves, serves())) this.#drop();
    this.#upcoming ??= this.#begin();
    if (this.#upcoming.result === undefined) await this.#woken();
    const { result: request } = this.#upcoming;
    if (request === undefined) return;
    this.#upcoming = null;
    if (request === null) return;
    // Suspended runs may need all free slots.
    const isUnneeded = this.#reclaims.size >= freeSlots();
    this.#settle(request, isUnneeded ? { type: "skipped" } : await this.#claim(request));
  }

  #begin(): Upcoming {
    const leave = new AbortController();
    const upcoming: Upcoming = { request: this.#nextRequest(leave.signal), serves: this.#options.serves(), leave };
    void upcoming.request.then((request) => {
      upcoming.result = request;
      this.#wake();
    });
    return upcoming;
  }

  async #nextRequest(signal: AbortSignal): Promise<PollRequest | null> {
    const { subscriber, freeSlots, env, maxRetryIntervalMs } = this.#options;
    try {
      const request = checked(await subscriber.next(freeSlots(), signal));
      this.#subscriberFailures = 0;
      return request;
    } catch (error) {
      if (!signal.aborted) {
        this.#subscriberFailed(error);
        await pause(env, backoffMs(env, this.#subscriberFailures, maxRetryIntervalMs), signal);
      }
      return null;
    }
  }

  /** Call when the subscriber's request is no longer needed. */
  #drop(): void {
    const upcoming = this.#upcoming;
    this.#upcoming = null;
    upcoming?.leave.abort();
    void upcoming?.request.then((request) => request !== null && this.#settle(request, { type: "skipped" }));
  }

  #settle(request: PollRequest, result: PollResult): void {
    try {
      request.settled?.(result);
    } catch (error) {
      this.#subscriberFailed(error);
    }
  }

  #subscriberFailed(error: unknown): void {
    this.#subscriberFailures += 1;
    if (this.#subscriberFailures === 1) this.#options.logger.warn("the subscriber failed", { error });
  }

  /** Makes one claim. Suspended runs are claimed before others; unanswered claims are named. */
  async #claim(poll: PollRequest): Promise<PollResult> {
    const { api, env } = this.#options;
    const request = this.#requestFor(poll);
    const aborted = new AbortController();
    const release = this.#abortWhenUnneeded(request, () => aborted.abort());
    const sentAt = instant(env);
    this.#unanswered.push(request.claimId);
    try {
      const { runs, more = false, pendingMs = 0 } = await api.claim(request, { signal: aborted.signal });
      this.#unanswered = [];
      this.#failures = 0;
      this.#receive(request, runs, later(env, sentAt, pendingMs));
      if (runs.length === 0 && aborted.signal.aborted) return { type: "skipped" };
      const waitedMs = env.elapsed() - sentAt.elapsed;
      return { type: "claimed", requested: more ? runs.length : request.limit, runs: runs.length, waitedMs };
    } catch (error) {
      return aborted.signal.aborted ? { type: "skipped" } : await this.#failed(error);
    } finally {
      release();
    }
  }

  async #failed(error: unknown): Promise<PollResult> {
    const { env, logger, maxRetryIntervalMs } = this.#options;
    this.#failures += 1;
    const delay = Math.max(backoffMs(env, this.#failures, maxRetryIntervalMs), retryAfterOf(error));
    if (this.#failures === 1 || !isTransient(error)) {
      logger.warn("claim failed", { error, retryInMs: Math.round(delay) });
    }
    await pause(env, delay, this.#stopped.signal);
    return { type: "failed", error };
  }

  #requestFor({ limit = maxRuns, waitMs }: PollRequest): ClaimRequest {
    const { env, session, worker, serves, shardKeys, leaseMs, freeSlots } = this.#options;
    const free = Math.min(freeSlots(), maxRuns);
    const reclaim = Array.from(this.#reclaims, ([runId, fence]) => ({ runId, fence })).slice(0, free);
    const others = free - reclaim.length;
    const first = this.#unanswered.slice(0, namedAtEachEnd);
    const repeats = [...first, ...this.#unanswered.slice(namedAtEachEnd).slice(-namedAtEachEnd)];
    this.#unanswered = repeats;
    return {
      claimId: env.id(),
      session,
      worker,
      serves: others > 0 ? serves() : [],
      shardKeys: [...shardKeys],
      limit: between(1, limit, Math.max(1, others)),
      leaseMs,
      waitMs: between(0, waitMs, limits.waitMs),
      ...(reclaim.length > 0 ? { reclaim } : {}),
      // mutant: lost-claim
      ...(repeats.length > 0 ? { repeats: [...repeats] } : {}),
    };
  }

  /** Aborts the claim when its answer is not needed any more. Returns a function that stops watching for this. */
  #abortWhenUnneeded({ waitMs, serves }: ClaimRequest, abort: () => void): () => void {
    const { env } = this.#options;
    const { signal } = this.#stopped;
    const isLongPoll = waitMs > 0;
    let cancel = () => {};
    const stop = () => {
      cancel();
      if (isLongPoll) abort();
      else cancel = env.after(stoppingMs, abort);
    };
    const checkRegistry = () => {
      // A workflow that is registered during the long poll must not wait for its end.
      if (isSame(serves, this.#options.serves())) cancel = env.after(registryMs, checkRegistry);
      else abort();
    };
    if (isLongPoll) {
      this.#abort = abort;
      cancel = env.after(registryMs, checkRegistry);
    }
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    return () => {
      this.#abort = () => {};
      cancel();
      signal.removeEventListener("abort", stop);
    };
  }

  #receive({ reclaim = [] }: ClaimRequest, runs: ClaimedRun[], takenAt: Instant): void {
    const received = new Set(runs.map(({ id }) => id));
    for (const run of runs) {
      this.#reclaims.delete(run.id);
      this.#options.onRun(run, takenAt);
    }
    for (const { runId, fence } of reclaim) {
      if (!received.has(runId) && this.#reclaims.get(runId) === fence) {
        this.#reclaims.delete(runId);
        this.#options.onRefused(runId, fence);
      }
    }
  }

  /**
   * Resolves when a slot becomes free, a run must be reclaimed or the worker stops. While slots are free, it also
   * resolves after `registryMs`.
   */
  async #woken(): Promise<undefined> {
    const { env, freeSlots } = this.#options;
    const onBegin = (wake: () => void) => {
      this.#wake = wake;
      return () => {
        this.#wake = () => {};
      };
    };
    const timeout = freeSlots() > 0 ? { timeoutMs: registryMs } : {};
    await waitUntil(env, { ...timeout, signals: [this.#stopped.signal], onBegin });
  }
}

function isSame(before: Served[], now: Served[]): boolean {
  const isOne = ({ name, versionId, build }: Served, other: Served | undefined): boolean =>
    other?.name === name && other.versionId === versionId && other.build === build;
  return before.length === now.length && before.every((served, index) => isOne(served, now[index]));
}

function checked(request: PollRequest): PollRequest {
  if (!isRecord(request) || typeof request.waitMs !== "number") {
    throw new TypeError("next() of a subscriber must resolve to a PollRequest: an object with waitMs.");
  }
  return request;
}

/** A valid integer from a subscriber's value. */
function between(least: number, value: number, most: number): number {
  return Math.min(most, Math.max(least, Math.floor(value) || 0));
}
