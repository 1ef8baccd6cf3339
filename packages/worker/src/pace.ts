import { backoffMs, retryAfterOf } from "@aikirun/client/internal";
import type { Env } from "@aikirun/lib";
import type { Subscriber } from "./subscriber.ts";

/** When the next question for runs is asked. All in milliseconds. */
export interface Pace {
  /** How long the server may hold a question. */
  readonly waitMs: number;
  /** How long a full worker lets slots come free. */
  readonly atCapacityMs: number;
  /** The pause after an answer that brought `runs` after `heldMs`. */
  answered(runs: number, heldMs: number): number;
  /** The pause after a question that met a fault. */
  failed(error: unknown): number;
}

/** Proxies commonly cut requests at 60 s. Milliseconds. */
const longPollMs = 25_000;

export function paceOf(subscriber: Subscriber, env: Env): Pace {
  let failures = 0;
  let empties = 0;
  const pauseAfterEmpty = emptyPause(subscriber, env);
  const waitMs = subscriber.type === "polling" ? 0 : longPollMs;
  return {
    waitMs,
    atCapacityMs: subscriber.atCapacityIntervalMs,
    answered(runs, heldMs) {
      failures = 0;
      empties = runs > 0 ? 0 : empties + 1;
      // A server that held the question has made the pause itself.
      return runs > 0 || (waitMs > 0 && heldMs >= waitMs / 2) ? 0 : pauseAfterEmpty(empties);
    },
    failed(error) {
      failures += 1;
      return Math.max(backoffMs(env, failures, subscriber.maxRetryIntervalMs), retryAfterOf(error));
    },
  };
}

function emptyPause(subscriber: Subscriber, env: Env): (empties: number) => number {
  if (subscriber.type === "polling") {
    return () => subscriber.intervalMs;
  }
  const adaptive = subscriber.type === "adaptive_polling" ? subscriber : redisFallback;
  return (empties) => {
    const growth = adaptive.backoffMultiplier ** Math.max(0, empties - Math.max(1, adaptive.emptyPollThreshold));
    const full = Math.min(adaptive.maxPollIntervalMs, adaptive.minPollIntervalMs * growth);
    return full * (1 - adaptive.jitterFactor * env.random());
  };
}

/** How a `redis_streams` worker polls: as one does by default. */
const redisFallback = {
  minPollIntervalMs: 50,
  maxPollIntervalMs: 5_000,
  backoffMultiplier: 2,
  emptyPollThreshold: 3,
  jitterFactor: 0.2,
};
