/** Workers do the same work with every subscriber, and with one that a user wrote. */

import { EventEmitter, once } from "node:events";
import type { PollRequest, Subscriber, SubscriberContext } from "@aikirun/worker";
import { describe } from "vitest";
import { testRedis } from "../real/redis.ts";
import { subscriberSuite } from "./subscriber.suite.ts";

const redis = await testRedis();

subscriberSuite("a worker that polls", () => ({ subscriber: { type: "polling", intervalMs: 100 } }));

subscriberSuite("a worker that polls adaptively", () => ({ subscriber: { type: "adaptive_polling" } }));

describe.skipIf(redis === null)("with Redis", () => {
  let files = 0;
  subscriberSuite("a worker that hears of runs through Redis Streams", () => {
    if (redis === null) throw new Error("There is no Redis.");
    files += 1;
    const { host, port } = redis.address;
    return {
      subscriber: { type: "redis_streams" },
      redis: redis.address,
      serverRedis: `redis://${host}:${port}?prefix=${redis.prefix}-${files}`,
    };
  });
});

/** Hears of workflows by name, from a place that knows neither runs nor Redis. */
class Whispers implements Subscriber {
  readonly #context: SubscriberContext;
  readonly #place: EventEmitter;
  #isMore = true;

  constructor(context: SubscriberContext, harness: EventEmitter) {
    this.#context = context;
    this.#place = harness;
  }

  async next(_: number, signal: AbortSignal): Promise<PollRequest> {
    if (!this.#isMore) {
      const names = this.#context.serves().map(({ name }) => name);
      // Nothing whispered is waited for longer than this.
      const either = AbortSignal.any([signal, AbortSignal.timeout(1_000)]);
      await Promise.race(names.map((name) => once(this.#place, name, { signal: either }))).catch(() => {});
    }
    return {
      waitMs: 0,
      settled: (result) => {
        this.#isMore = result.type === "claimed" && result.runs > 0;
      },
    };
  }

  async close(): Promise<void> {}
}

subscriberSuite("a worker that hears of runs in a way of its user's own", () => {
  const harness = new EventEmitter({ captureRejections: false }).setMaxListeners(100);
  return {
    subscriber: { type: "custom", subscribe: (context) => new Whispers(context, harness) },
    publishWakeUp: async (name) => {
      harness.emit(name);
    },
  };
});
