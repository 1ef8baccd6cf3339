/** Workers with each built-in subscriber, and with a custom one. */

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
  subscriberSuite("a worker with Redis Streams", () => {
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

/** A custom subscriber that receives the names of workflows from an event emitter. */
class NameSubscriber implements Subscriber {
  readonly #context: SubscriberContext;
  readonly #emitter: EventEmitter;
  #hasMore = true;

  constructor(context: SubscriberContext, emitter: EventEmitter) {
    this.#context = context;
    this.#emitter = emitter;
  }

  async next(_: number, signal: AbortSignal): Promise<PollRequest> {
    if (!this.#hasMore) {
      const names = this.#context.serves().map(({ name }) => name);
      // The longest wait for an event. Then the worker claims again.
      const either = AbortSignal.any([signal, AbortSignal.timeout(1_000)]);
      await Promise.race(names.map((name) => once(this.#emitter, name, { signal: either }))).catch(() => {});
    }
    return {
      waitMs: 0,
      settled: (result) => {
        this.#hasMore = result.type === "claimed" && result.runs > 0;
      },
    };
  }

  async close(): Promise<void> {}
}

subscriberSuite("a worker with a custom subscriber", () => {
  const emitter = new EventEmitter({ captureRejections: false }).setMaxListeners(100);
  return {
    subscriber: { type: "custom", subscribe: (context) => new NameSubscriber(context, emitter) },
    publishWakeUp: async (name) => {
      emitter.emit(name);
    },
  };
});
