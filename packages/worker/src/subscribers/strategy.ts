import { Fields } from "@aikirun/lib/internal";
import type { Subscriber, SubscriberContext } from "./subscriber.ts";

/** Long-polls the server. While its answers are immediate and empty, or it fails, the pauses grow. The default. */
export interface AdaptivePolling {
  /** Selects this strategy. */
  type: "adaptive_polling";
  /** The pause after an immediate empty answer. Milliseconds, default 50. */
  minPollIntervalMs?: number;
  /** The longest pause between two such claims. Milliseconds, default 5,000. */
  maxPollIntervalMs?: number;
  /** The factor by which the pause grows with each further empty answer. Default 2. */
  backoffMultiplier?: number;
  /** The number of consecutive empty answers before the pause grows. Default 3. */
  emptyPollThreshold?: number;
  /** The part of a pause that is random, 0 to 1. Default 0.2. */
  jitterFactor?: number;
  /** The longest pause while the server fails. Milliseconds, default 2,000. */
  maxRetryIntervalMs?: number;
  /** How long a full worker waits for more free slots before it claims runs. Milliseconds, default 0. */
  atCapacityIntervalMs?: number;
}

/** Claims at a fixed interval, without long polls; for networks that cut long requests. */
export interface Polling {
  /** Selects this strategy. */
  type: "polling";
  /** The interval between claims while no run is ready. Milliseconds, default 500. */
  intervalMs?: number;
  /** The longest pause while the server fails. Milliseconds, default 2,000. */
  maxRetryIntervalMs?: number;
  /** How long a full worker waits for more free slots before it claims runs. Milliseconds, default 0. */
  atCapacityIntervalMs?: number;
}

/**
 * Receives wake-ups through Redis Streams, and also claims every 5 s. While Redis is unavailable it logs this once and
 * uses long polls.
 */
export interface RedisStreams {
  /** Selects this strategy. */
  type: "redis_streams";
  /**
   * Another worker takes over wake-ups that a worker has read and not acknowledged for this long. A worker that has
   * read nothing for four times as long is removed from the streams. Milliseconds, 1,000 or more, default 90,000.
   */
  claimMinIdleTimeMs?: number;
  /** How long one read waits for wake-ups, 5,000 at most. Milliseconds, 1 to 60,000, default 1,000. */
  blockTimeMs?: number;
  /** The longest pause while Redis or the server fails. Milliseconds, default 2,000. */
  maxRetryIntervalMs?: number;
  /** How long a full worker waits for more free slots before it claims runs. Milliseconds, default 0. */
  atCapacityIntervalMs?: number;
}

/** Your own way to notify the worker that runs may be ready. */
export interface CustomSubscriber {
  /** Selects this strategy. */
  type: "custom";
  /** Called by `start` of the worker. If it rejects, `start` rejects. */
  subscribe(context: SubscriberContext): Subscriber | Promise<Subscriber>;
  /** The longest pause while the server fails, or `next` rejects. Milliseconds, default 2,000. */
  maxRetryIntervalMs?: number;
  /** How long a full worker waits for more free slots before it claims runs. Milliseconds, default 0. */
  atCapacityIntervalMs?: number;
}

/** How a worker is notified that runs are ready. */
export type SubscriberStrategy = AdaptivePolling | Polling | RedisStreams | CustomSubscriber;

/** A strategy with all defaults applied. */
export type Strategy = Readonly<
  Required<AdaptivePolling> | Required<Polling> | Required<RedisStreams> | Required<CustomSubscriber>
>;

const types = ["redis_streams", "adaptive_polling", "polling", "custom"] as const;
const day = 86_400_000;

export function parseStrategy(strategy: unknown, hasRedis: boolean): Strategy {
  if (strategy === undefined) {
    return parseStrategy({ type: hasRedis ? "redis_streams" : "adaptive_polling" }, hasRedis);
  }
  const fields = new Fields(strategy, "worker.subscriber", "INVALID_CONFIG");
  const type = fields.required("type", fields.oneOf("type", types));
  const parsed = Object.freeze(optionsOf(type, fields));
  fields.done();
  return parsed;
}

function optionsOf(type: Strategy["type"], fields: Fields): Strategy {
  const common = {
    maxRetryIntervalMs: fields.integer("maxRetryIntervalMs", { min: 10, max: day }) ?? 2_000,
    atCapacityIntervalMs: fields.integer("atCapacityIntervalMs", { min: 0, max: day }) ?? 0,
  };
  switch (type) {
    case "adaptive_polling":
      return { type, ...adaptiveOptions(fields), ...common };
    case "polling":
      return { type, intervalMs: fields.integer("intervalMs", { min: 1, max: day }) ?? 500, ...common };
    case "redis_streams":
      return {
        type,
        claimMinIdleTimeMs: fields.integer("claimMinIdleTimeMs", { min: 1_000, max: day }) ?? 90_000,
        blockTimeMs: fields.integer("blockTimeMs", { min: 1, max: 60_000 }) ?? 1_000,
        ...common,
      };
    case "custom":
      return {
        type,
        subscribe: fields.required("subscribe", fields.shaped("subscribe", isSubscribe, "a function")),
        ...common,
      };
    default:
      return type satisfies never;
  }
}

function adaptiveOptions(fields: Fields) {
  const minPollIntervalMs = fields.integer("minPollIntervalMs", { min: 1, max: day }) ?? 50;
  const maxPollIntervalMs =
    fields.integer("maxPollIntervalMs", { min: 1, max: day }) ?? Math.max(5_000, minPollIntervalMs);
  if (maxPollIntervalMs < minPollIntervalMs) {
    fields.refuse("maxPollIntervalMs", `at least minPollIntervalMs (${minPollIntervalMs})`);
  }
  return {
    minPollIntervalMs,
    maxPollIntervalMs,
    backoffMultiplier: fields.number("backoffMultiplier", { min: 1, max: 100 }) ?? 2,
    emptyPollThreshold: fields.integer("emptyPollThreshold", { min: 0, max: 1_000 }) ?? 3,
    jitterFactor: fields.number("jitterFactor", { min: 0, max: 1 }) ?? 0.2,
  };
}

function isSubscribe(value: unknown): value is CustomSubscriber["subscribe"] {
  return typeof value === "function";
}
