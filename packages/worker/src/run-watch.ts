import type { Cancel, Env, ErrorCode } from "@aikirun/lib";
import { backoffMs } from "@aikirun/lib/internal";
import { type Api, type Entry, limits, type RunId, type WatchResult } from "@aikirun/lib/protocol";

/** A run that this worker executes. */
export interface WatchedRun {
  readonly runId: RunId;
  readonly fence: number;
  /** How much its execution has received: the watch returns newer entries. */
  readonly position: { readonly seen: number; readonly after: number };
  /** Whether it has open waits while it runs, so that new entries let it continue. */
  readonly isListening: boolean;
  /** When its handler began or was resumed, in monotonic milliseconds. */
  readonly startedAt: number;
  /** Receives entries that did not come from its own reports. */
  receive(entries: Entry[], inbox: number): void;
  pause(): void;
  lost(code: ErrorCode): void;
}

/** How long a run executes before it is watched; most runs end sooner. Milliseconds. */
const unwatchedMs = 50;
/** The minimum time between two requests. Milliseconds. */
const betweenMs = 20;
/** How long a run is not watched after an answer that changed nothing. Milliseconds. */
const mutedMs = 100;
/** How long a run is not watched after an answer that requests a pause. Milliseconds. */
const pausedMutedMs = 1_000;
/** How long the server may keep one request pending. Milliseconds. */
const waitMs = 25_000;
/** The longest pause while the server does not answer. Milliseconds. */
const maxPauseMs = 2_000;

/** The pending request. */
interface Request {
  leave: AbortController;
  runs: ReadonlySet<WatchedRun>;
  /** Monotonic milliseconds. */
  sentAt: number;
}

/**
 * A long poll for changes to the runs that a worker executes: entries from outside of the worker, requests to pause,
 * and lost leases. One request is pending at a time, for all runs. When a run is added, a new request replaces it.
 */
export class RunWatch {
  readonly #api: Pick<Api, "watch">;
  readonly #env: Env;
  readonly #runs = new Set<WatchedRun>();
  readonly #mutedUntil = new Map<WatchedRun, number>();
  #request: Request | null = null;
  #timer: { at: number; cancel: Cancel } | null = null;
  /** No request is sent sooner than 20 ms after this moment. Monotonic milliseconds. */
  #sentAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #isClosed = false;

  constructor(api: Pick<Api, "watch">, env: Env) {
    this.#api = api;
    this.#env = env;
  }

  add(run: WatchedRun): void {
    this.#runs.add(run);
    this.#checkAt(this.#watchedFrom(run));
  }

  remove(run: WatchedRun): void {
    this.#runs.delete(run);
    this.#mutedUntil.delete(run);
    if (this.#runs.size === 0) this.#leave();
  }

  /** Watches a run at once when it has begun to listen. */
  hasListener(): void {
    this.#checkAt(this.#env.elapsed());
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#leave();
    this.#runs.clear();
  }

  #leave(): void {
    this.#request?.leave.abort();
    this.#request = null;
  }

  /** Schedules a check for runs to watch at this moment, unless an earlier check is scheduled. */
  #checkAt(moment: number): void {
    const at = Math.max(moment, this.#sentAt + betweenMs, this.#env.elapsed());
    if (this.#isClosed || (this.#timer !== null && this.#timer.at <= at)) return;
    this.#timer?.cancel();
    this.#timer = { at, cancel: this.#env.after(at - this.#env.elapsed(), () => this.#check()) };
  }

  #check(): void {
    this.#timer = null;
    const now = this.#env.elapsed();
    const runs = [...this.#runs].filter((run) => this.#watchedFrom(run) <= now).slice(0, limits.watchedItems);
    if (runs.some((run) => !this.#isRequested(run))) this.#sendRequest(runs);
    this.#checkLater();
  }

  #checkLater(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const run of this.#runs) {
      if (!this.#isRequested(run)) next = Math.min(next, this.#watchedFrom(run));
    }
    if (next < Number.POSITIVE_INFINITY) this.#checkAt(next);
  }

  /** Whether the pending request includes this run. */
  #isRequested(run: WatchedRun): boolean {
    return this.#request?.runs.has(run) === true;
  }

  #watchedFrom(run: WatchedRun): number {
    const from = run.isListening ? run.startedAt : run.startedAt + unwatchedMs;
    return Math.max(from, this.#mutedUntil.get(run) ?? 0);
  }

  #sendRequest(runs: WatchedRun[]): void {
    this.#leave();
    const request: Request = { leave: new AbortController(), runs: new Set(runs), sentAt: this.#env.elapsed() };
    this.#request = request;
    this.#sentAt = request.sentAt;
    const watched = runs.map(({ runId, fence, position: { seen, after } }) => ({
      type: "changes" as const,
      runId,
      fence,
      seen,
      after,
    }));
    this.#api.watch({ watched, waitMs }, { signal: request.leave.signal }).then(
      ({ results }) => {
        // A closing server answers at once and without changes.
        const isServed = results.length > 0 || this.#env.elapsed() - request.sentAt >= waitMs / 2;
        this.#answered(request, results, isServed);
      },
      () => this.#answered(request, [], false),
    );
  }

  #answered(request: Request, results: WatchResult[], isServed: boolean): void {
    if (this.#request !== request) return;
    this.#request = null;
    this.#failures = isServed ? 0 : this.#failures + 1;
    if (this.#failures > 0) this.#sentAt = this.#env.elapsed() + backoffMs(this.#env, this.#failures, maxPauseMs);
    const byId = new Map([...request.runs].map((run) => [run.runId, run]));
    for (const result of results) {
      const run = result.type === "status" ? undefined : byId.get(result.runId);
      if (run !== undefined && this.#runs.has(run)) this.#handle(run, result);
    }
    this.#checkLater();
  }

  #handle(run: WatchedRun, result: WatchResult): void {
    if (result.type === "lost") {
      this.remove(run);
      run.lost(result.code);
    } else if (result.type === "changes") {
      const { seen, after } = run.position;
      run.receive(result.entries, result.inbox);
      if (result.pause) {
        run.pause();
        this.#mute(run, pausedMutedMs);
      } else if (run.position.seen === seen && run.position.after === after) {
        this.#mute(run, mutedMs);
      }
    }
  }

  #mute(run: WatchedRun, ms: number): void {
    this.#mutedUntil.set(run, this.#env.elapsed() + ms);
  }
}
