import { AikiError, type Env } from "@aikirun/lib";
import { keepAlive } from "@aikirun/lib/internal";
import type { Api, RunId, RunStatus, RunView, Watched, WatchResult } from "@aikirun/lib/protocol";
import { budget } from "./budget.ts";

/** How long one long poll may be pending; proxies commonly end a request after 60 s. Milliseconds. */
const waitMs = 25_000;
/** The pause after an empty answer that arrives much earlier than after `waitMs`. Milliseconds. */
const emptyRestMs = 200;
/** The maximum number of runs in one long poll. */
const maxRuns = 1_000;
/** The maximum number of long polls. When it is reached, a new one takes over the runs of an older one. */
const maxSeparatePolls = 8;

/** One call of `wait` that is not settled yet. */
interface StatusWait {
  runId: RunId;
  statuses: readonly RunStatus[];
  resolve: (run: RunView) => void;
  reject: (error: unknown) => void;
  poll: LongPoll;
}

/** The runs of one long poll, before and while its request is sent. */
interface LongPoll {
  waits: Map<RunId, Set<StatusWait>>;
  /** Aborts the request; null while no request is pending. */
  request: AbortController | null;
}

/**
 * Waits for runs to reach a status, all of them through a few long polls.
 *
 * A new wait does not abort the pending requests: all waits of one turn of the event loop share a new long poll. After
 * the answer to a long poll, a further request watches the runs that have not reached their status. A budget limits the
 * number of watched runs per second. So `n` waits that end one after the other do not cost `n * n` watched runs.
 */
export class Watcher {
  readonly #api: Api;
  readonly #env: Env;
  readonly #polls = new Set<LongPoll>();
  /** Takes a number of watched runs from the budget, and returns how long to wait before they are watched. */
  readonly #spend: (runs: number) => number;
  /** The long poll to which new waits are added; null when there is none. */
  #next: LongPoll | null = null;
  #closed: AikiError | null = null;
  /** Lets the process end; null while there are no waits. */
  #release: (() => void) | null = null;

  constructor(api: Api, env: Env) {
    this.#api = api;
    this.#env = env;
    this.#spend = budget({ perMs: 20, burst: 2 * maxRuns }, env);
  }

  /**
   * The run's view once its status is one of `statuses`, or final. Rejects with `RUN_NOT_FOUND`, `ABORTED`, or the
   * fault that ended the long poll.
   */
  wait(runId: RunId, statuses: readonly RunStatus[], signal?: AbortSignal): Promise<RunView> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== null || signal?.aborted === true) {
        reject(this.#closed ?? aborted(runId, signal));
        return;
      }
      const poll = this.#nextPoll();
      const onAbort = () => {
        this.#remove(wait);
        wait.reject(aborted(runId, signal));
      };
      const settled =
        <Value>(settle: (value: Value) => void) =>
        (value: Value) => {
          signal?.removeEventListener("abort", onAbort);
          settle(value);
        };
      const wait: StatusWait = { runId, statuses, poll, resolve: settled(resolve), reject: settled(reject) };
      signal?.addEventListener("abort", onAbort, { once: true });
      add(poll, wait);
    });
  }

  /** Rejects all current and later waits. */
  close(error: AikiError): void {
    this.#closed ??= error;
    for (const poll of [...this.#polls]) this.#fail(poll, error);
  }

  #nextPoll(): LongPoll {
    if (this.#next !== null && this.#next.waits.size < maxRuns) return this.#next;
    const poll: LongPoll = { waits: new Map(), request: null };
    this.#polls.add(poll);
    this.#release ??= keepAlive();
    this.#next = poll;
    this.#env.soon(() => this.#begin(poll));
    return poll;
  }

  /** Sends the first request of a long poll. Where there are many, it takes over the runs of the smallest other one. */
  #begin(poll: LongPoll): void {
    const other = this.#polls.size > maxSeparatePolls ? this.#smallestBeside(poll) : null;
    if (other === null) {
      this.#spend(poll.waits.size);
      this.#send(poll);
      return;
    }
    for (const wait of waitsOf(other)) add(poll, wait);
    other.waits = new Map();
    this.#discard(other);
    this.#sendAfter(this.#spend(poll.waits.size), poll);
  }

  #smallestBeside(poll: LongPoll): LongPoll | null {
    let smallest: LongPoll | null = null;
    for (const other of this.#polls) {
      const { size } = other.waits;
      if (other !== poll && size + poll.waits.size <= maxRuns && size < (smallest?.waits.size ?? maxRuns)) {
        smallest = other;
      }
    }
    return smallest;
  }

  #sendAfter(delayMs: number, poll: LongPoll): void {
    if (delayMs === 0) this.#send(poll);
    else this.#env.after(delayMs, () => this.#send(poll));
  }

  #send(poll: LongPoll): void {
    if (this.#next === poll) this.#next = null;
    if (poll.waits.size === 0) {
      this.#discard(poll);
      return;
    }
    const request = new AbortController();
    poll.request = request;
    const sentAt = this.#env.elapsed();
    const watched = Array.from(poll.waits, watchedOf);
    this.#api.watch({ watched, waitMs }, { signal: request.signal }).then(
      ({ results }) => {
        if (!request.signal.aborted) this.#receive(poll, results, this.#env.elapsed() - sentAt);
      },
      (error: unknown) => {
        if (!request.signal.aborted) this.#fail(poll, error);
      },
    );
  }

  #receive(poll: LongPoll, results: WatchResult[], tookMs: number): void {
    poll.request = null;
    for (const result of results) this.#settle(poll, result);
    if (poll.waits.size === 0) {
      this.#discard(poll);
      return;
    }
    // A server that is closing answers at once with nothing.
    const restMs = results.length === 0 && tookMs < waitMs / 2 ? emptyRestMs : 0;
    this.#sendAfter(Math.max(restMs, this.#spend(poll.waits.size)), poll);
  }

  #settle(poll: LongPoll, result: WatchResult): void {
    const runId = result.type === "status" ? result.run.id : result.runId;
    for (const wait of [...(poll.waits.get(runId) ?? [])]) {
      if (result.type === "lost") {
        this.#remove(wait);
        wait.reject(new AikiError(result.code, `There is no run ${runId} here.`, { ids: { runId } }));
      } else if (result.type === "status" && isMet(wait, result.run)) {
        this.#remove(wait);
        wait.resolve(result.run);
      }
    }
  }

  #fail(poll: LongPoll, error: unknown): void {
    const failed = waitsOf(poll);
    this.#discard(poll);
    for (const wait of failed) wait.reject(error);
  }

  #remove(wait: StatusWait): void {
    const { poll, runId } = wait;
    const waits = poll.waits.get(runId);
    waits?.delete(wait);
    if (waits?.size === 0) poll.waits.delete(runId);
    if (poll.waits.size === 0 && poll.request !== null) this.#discard(poll);
  }

  #discard(poll: LongPoll): void {
    this.#polls.delete(poll);
    poll.waits = new Map();
    poll.request?.abort();
    poll.request = null;
    if (this.#next === poll) this.#next = null;
    if (this.#polls.size === 0) {
      this.#release?.();
      this.#release = null;
    }
  }
}

function add(poll: LongPoll, wait: StatusWait): void {
  wait.poll = poll;
  const waits = poll.waits.get(wait.runId);
  if (waits === undefined) poll.waits.set(wait.runId, new Set([wait]));
  else waits.add(wait);
}

function waitsOf(poll: LongPoll): StatusWait[] {
  return [...poll.waits.values()].flatMap((waits) => [...waits]);
}

function watchedOf([runId, waits]: [RunId, Set<StatusWait>]): Watched {
  return { type: "status", runId, statuses: [...new Set([...waits].flatMap(({ statuses }) => statuses))] };
}

function isMet({ statuses }: StatusWait, { status, outcome }: RunView): boolean {
  return outcome !== undefined || statuses.includes(status);
}

function aborted(runId: RunId, signal: AbortSignal | undefined): AikiError {
  return new AikiError("ABORTED", `The caller aborted the wait for run ${runId}.`, {
    cause: signal?.reason,
    ids: { runId },
  });
}
