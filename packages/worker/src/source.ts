import { backoffMs, isTransient, pause, retryAfterOf } from "@aikirun/client/internal";
import type { Cancel, Env, Logger } from "@aikirun/lib";
import { isRecord } from "@aikirun/lib/internal";
import {
  type Api,
  type ClaimedRun,
  type ClaimReply,
  type ClaimRequest,
  limits,
  type RunId,
  type Served,
} from "@aikirun/lib/protocol";
import { type Attempt, attempt } from "./attempt.ts";
import { type Instant, instant, later } from "./leases.ts";
import type { Answer, Question, Subscriber } from "./subscribers/subscriber.ts";

/** Takes runs from the server as slots come free. */
export interface Source {
  /** A slot came free. */
  freed(): void;
  /** A slot that was free is occupied: a claim that the server holds may ask for too many runs, and is taken back. */
  takenBack(): void;
  /** Asks for a parked run of our own, before any other. */
  reclaim(runId: RunId, fence: number): void;
  /** No longer needed: the run came by itself. */
  forget(runId: RunId): void;
  /** Asks for nothing more. Resolves when no question is under way. */
  stop(): Promise<void>;
}

export interface SourceOptions {
  api: Api;
  env: Env;
  logger: Logger;
  subscriber: Subscriber;
  /** The longest pause while the server, or the subscriber, errs. Milliseconds. */
  maxRetryIntervalMs: number;
  /** How long a full worker lets further slots come free. Milliseconds. */
  atCapacityIntervalMs: number;
  session: string;
  worker: string;
  shardKeys: readonly string[];
  leaseMs: number;
  serves: () => Served[];
  freeSlots: () => number;
  /** A claimed run, with a moment before which it was not taken; it occupies a slot from here on. */
  onRun: (run: ClaimedRun, takenAt: Instant) => void;
  /** The run is not to be had: it moved on without us. */
  onRefused: (runId: RunId, fence: number) => void;
}

/** How often what was asked for is compared with what the registry serves by now. Milliseconds. */
const registryMs = 200;
/** A worker that stops waits so long for the question under way. Milliseconds. */
const stoppingMs = 200;
/** The most runs that one claim may bring. */
const mostRuns = 1_000;

/** What is asked for, by as many claims as it takes. */
type Asking = Omit<ClaimRequest, "claimId" | "repeats">;

/** A subscriber's next question, while it is awaited; null when it has none after all. */
interface Upcoming {
  question: Promise<Question | null>;
  serves: Served[];
  leave: AbortController;
}

/**
 * One claim is in flight, for as many runs as slots are free; nothing else takes runs, so no more are taken. Parked
 * runs of our own go before what the subscriber asks for.
 */
export function source(options: SourceOptions): Source {
  const { api, env, logger, subscriber, maxRetryIntervalMs, freeSlots } = options;
  const stopped = new AbortController();
  const reclaims = new Map<RunId, number>();
  const faults = { server: 0, subscriber: 0 };
  let upcoming: Upcoming | null = null;
  let wake: () => void = () => {};
  let interrupt: () => void = () => {};
  const done = loop();

  async function loop(): Promise<void> {
    while (!stopped.signal.aborted) {
      if (freeSlots() <= 0 || (options.serves().length === 0 && reclaims.size === 0)) {
        drop();
        await woken();
        await rest(options.atCapacityIntervalMs);
      } else if (reclaims.size > 0) {
        await ask(requestOf({ waitMs: 0 }));
      } else {
        await askNext();
      }
    }
    drop();
  }

  /** Asks what the subscriber asks for, unless something else comes first: then its question is awaited again later. */
  async function askNext(): Promise<void> {
    if (upcoming !== null && !isSame(upcoming.serves, options.serves())) {
      drop();
    }
    upcoming ??= begin();
    const question = await Promise.race([upcoming.question, woken()]);
    wake();
    if (question === undefined) {
      return;
    }
    upcoming = null;
    if (question !== null) {
      // With no slot left for others nothing would be asked for.
      const isMoot = reclaims.size >= freeSlots();
      settle(question, isMoot ? { type: "unasked" } : await ask(requestOf(question), question.recall));
    }
  }

  function begin(): Upcoming {
    const leave = new AbortController();
    return { question: nextQuestion(leave.signal), serves: options.serves(), leave };
  }

  async function nextQuestion(signal: AbortSignal): Promise<Question | null> {
    try {
      const question = checked(await subscriber.next(freeSlots(), signal));
      faults.subscriber = 0;
      return question;
    } catch (error) {
      if (!signal.aborted) {
        subscriberFailed(error);
        await pause(env, backoffMs(env, faults.subscriber, maxRetryIntervalMs), signal);
      }
      return null;
    }
  }

  /** Nobody waits for the question any more. */
  function drop(): void {
    upcoming?.leave.abort();
    void upcoming?.question.then((question) => question !== null && settle(question, { type: "unasked" }));
    upcoming = null;
  }

  function settle(question: Question, answer: Answer): void {
    try {
      question.settled?.(answer);
    } catch (error) {
      subscriberFailed(error);
    }
  }

  function subscriberFailed(error: unknown): void {
    faults.subscriber += 1;
    if (faults.subscriber === 1) {
      logger.warn("the subscriber failed", { error });
    }
  }

  /** Of a question; parked runs come before others. */
  function requestOf({ limit = mostRuns, waitMs, rung = false }: Question): Asking {
    const free = Math.min(freeSlots(), mostRuns);
    const reclaim = Array.from(reclaims, ([runId, fence]) => ({ runId, fence })).slice(0, free);
    const others = free - reclaim.length;
    return {
      session: options.session,
      worker: options.worker,
      serves: others > 0 ? options.serves() : [],
      shardKeys: [...options.shardKeys],
      limit: between(1, limit, Math.max(1, others)),
      leaseMs: options.leaseMs,
      waitMs: between(0, waitMs, limits.waitMs),
      ...(reclaim.length > 0 ? { reclaim } : {}),
      ...(rung ? { rung } : {}),
    };
  }

  /** Asks until there is an answer: one that was lost, or not waited for, may hold runs, and a repeat brings them. */
  async function ask(request: Asking, recall?: AbortSignal): Promise<Answer> {
    const repeats: string[] = [];
    let current: Attempt | null = null;
    let isEnding = recall?.aborted === true;
    let isOver = stopped.signal.aborted;
    let cancelDrop: Cancel = () => {};
    const end = () => {
      isEnding = true;
      current?.recall();
    };
    const onStop = () => {
      end();
      cancelDrop = env.after(stoppingMs, () => {
        isOver = true;
        current?.drop();
      });
    };
    interrupt = end;
    stopped.signal.addEventListener("abort", onStop, { once: true });
    recall?.addEventListener("abort", end, { once: true });
    const cancelWatch = request.waitMs > 0 ? watchRegistry(request, end) : () => {};
    try {
      while (!isOver) {
        const claimId = env.id();
        const sentAt = instant(env);
        const one = attempt(api, env, repeating({ ...request, claimId }, repeats, isEnding));
        current = one;
        let reply: ClaimReply;
        try {
          reply = await one.reply;
        } catch (error) {
          repeats.push(claimId);
          if (one.isDropped) {
            continue;
          }
          current = null;
          faults.server += 1;
          const delay = Math.max(backoffMs(env, faults.server, maxRetryIntervalMs), retryAfterOf(error));
          if (faults.server === 1 || !isTransient(error)) {
            logger.warn("claim failed", { error, retryInMs: Math.round(delay) });
          }
          await pause(env, delay, stopped.signal);
          if (!isTransient(error)) {
            return { type: "failed", error };
          }
          isOver ||= stopped.signal.aborted;
          continue;
        }
        faults.server = 0;
        const { runs, more = false, takenAfterMs = 0 } = reply;
        receive(request, runs, later(env, sentAt, takenAfterMs));
        const isMeant = runs.length > 0 || !isEnding || request.waitMs === 0;
        const heldMs = env.elapsed() - sentAt.elapsed;
        const asked = more ? runs.length : request.limit;
        return isMeant ? { type: "answered", asked, runs: runs.length, heldMs } : { type: "unasked" };
      }
      return { type: "unasked" };
    } finally {
      cancelWatch();
      cancelDrop();
      interrupt = () => {};
      stopped.signal.removeEventListener("abort", onStop);
      recall?.removeEventListener("abort", end);
    }
  }

  function receive({ reclaim = [] }: Asking, runs: ClaimedRun[], takenAt: Instant): void {
    const ours = new Set(runs.map(({ id }) => id));
    for (const run of runs) {
      reclaims.delete(run.id);
      options.onRun(run, takenAt);
    }
    for (const { runId, fence } of reclaim) {
      if (!ours.has(runId) && reclaims.get(runId) === fence) {
        reclaims.delete(runId);
        options.onRefused(runId, fence);
      }
    }
  }

  /** What is registered meanwhile must not wait for the end of a long poll. */
  function watchRegistry({ serves }: Asking, end: () => void): Cancel {
    let cancel: Cancel = () => {};
    const look = () => {
      if (isSame(serves, options.serves())) {
        cancel = env.after(registryMs, look);
      } else {
        end();
      }
    };
    cancel = env.after(registryMs, look);
    return () => cancel();
  }

  /** Until a slot comes free, something is reclaimed, or the end; with free slots, until the registry is due a look. */
  function woken(): Promise<undefined> {
    return new Promise((resolve) => {
      const hasSlots = freeSlots() > 0;
      const cancel = hasSlots ? env.after(registryMs, () => wake()) : () => {};
      wake = () => {
        cancel();
        wake = () => {};
        resolve(undefined);
      };
      if (stopped.signal.aborted) {
        wake();
      }
    });
  }

  function rest(ms: number): Promise<void> {
    return ms > 0 ? pause(env, ms, stopped.signal) : Promise.resolve();
  }

  return {
    freed: () => wake(),
    takenBack: () => interrupt(),
    reclaim(runId, fence) {
      reclaims.set(runId, fence);
      interrupt();
      wake();
    },
    forget: (runId) => {
      reclaims.delete(runId);
    },
    stop() {
      stopped.abort();
      wake();
      return done;
    },
  };
}

function isSame(before: Served[], now: Served[]): boolean {
  const isOne = ({ name, versionId, build }: Served, other: Served | undefined): boolean =>
    other?.name === name && other.versionId === versionId && other.build === build;
  return before.length === now.length && before.every((served, index) => isOne(served, now[index]));
}

/** The first of them has most likely been heard, the last ones may have been. */
const firstLost = limits.repeatedClaims / 2;

/** As one of several, the last of which is not held by the server. */
function repeating(request: ClaimRequest, repeats: string[], isLast: boolean): ClaimRequest {
  const lost = [...repeats.slice(0, firstLost), ...repeats.slice(firstLost).slice(-firstLost)];
  // mutant: lost-claim
  return { ...request, ...(lost.length > 0 ? { repeats: lost } : {}), ...(isLast ? { waitMs: 0 } : {}) };
}

function checked(question: Question): Question {
  if (!isRecord(question) || typeof question.waitMs !== "number") {
    throw new TypeError("next() of a subscriber must resolve to a question: an object with waitMs.");
  }
  return question;
}

/** A whole number, whatever a subscriber makes of it. */
function between(least: number, value: number, most: number): number {
  return Math.min(most, Math.max(least, Math.floor(value) || 0));
}
