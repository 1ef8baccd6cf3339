import { AikiError } from "@aikirun/lib";
import { hasMethods } from "@aikirun/lib/internal";
import type { RedisConnector } from "@aikirun/redis";
import { adaptivePolling, polling } from "./polling.ts";
import { redisStreams } from "./redis-streams.ts";
import type { Strategy } from "./strategy.ts";
import type { Subscriber, SubscriberContext } from "./subscriber.ts";

/**
 * The subscriber of a strategy; null if the worker was stopped before the subscriber was created. Rejects with
 * `INVALID_CONFIG`, or with the error of a custom strategy.
 */
export async function subscribe(
  strategy: Strategy,
  context: SubscriberContext,
  connector: RedisConnector | null,
  stopped: AbortSignal,
): Promise<Subscriber | null> {
  switch (strategy.type) {
    case "polling":
      return polling(strategy, context.env);
    case "adaptive_polling":
      return adaptivePolling(strategy, context.env);
    case "redis_streams":
      return redisStreams(strategy, context, connector);
    case "custom":
      return unlessStopped(async () => checked(await strategy.subscribe(context)), stopped);
    default:
      return strategy satisfies never;
  }
}

/** Closes a subscriber at once if it resolves after the worker has stopped. */
async function unlessStopped(make: () => Promise<Subscriber>, stopped: AbortSignal): Promise<Subscriber | null> {
  const made = make();
  const end = new Promise<null>((resolve) => {
    if (stopped.aborted) resolve(null);
    stopped.addEventListener("abort", () => resolve(null), { once: true });
  });
  const first = await Promise.race([made, end]);
  if (first === null) {
    made.then((late) => late.close()).catch(() => {});
  }
  return first;
}

function checked(subscriber: Subscriber): Subscriber {
  if (!hasMethods(subscriber, ["next", "close"])) {
    const sentence = "worker.subscriber.subscribe must return a Subscriber: an object with next() and close().";
    throw new AikiError("INVALID_CONFIG", sentence, { ids: { field: "subscribe" } });
  }
  return subscriber;
}
