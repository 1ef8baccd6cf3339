import { queuesOf, wakeUpStream } from "@aikirun/lib/protocol";
import { type RedisConnector, redisLink } from "@aikirun/redis";
import { noticeNoRedis, redisNotice } from "./notice.ts";
import { adaptivePolling, type Growth } from "./polling.ts";
import type { RedisStreams } from "./strategy.ts";
import type { PollRequest, Subscriber, SubscriberContext } from "./subscriber.ts";
import { openWakeUps, type WakeUps } from "./wake-ups.ts";

/** How often the worker claims without any wake-up: this finds runs whose wake-up was lost. Milliseconds. */
const regularMs = 5_000;
/** How the worker polls while it can receive no wake-ups. */
const growth: Growth = {
  minPollIntervalMs: 50,
  maxPollIntervalMs: 2_000,
  backoffMultiplier: 2,
  emptyPollThreshold: 3,
  jitterFactor: 0.2,
};
/** The length of a long poll while Redis is unavailable; the worker checks Redis after each one. Milliseconds. */
const fallbackWaitMs = 2_000;
/** The length of a long poll until the first connection attempt to Redis has ended. Milliseconds. */
const startingWaitMs = 200;
/** The maximum number of wake-ups that one read takes from a stream. */
const maxRead = 1_000;

/** The options of `redis_streams` that the subscriber uses. */
type Options = Required<Pick<RedisStreams, "claimMinIdleTimeMs" | "blockTimeMs" | "maxRetryIntervalMs">>;

/**
 * Claims when a wake-up is received, and every 5 s. After a claim that returns as many runs as requested, it claims
 * again immediately. The claim decides which runs the worker gets, so an old, repeated or invalid wake-up does no harm.
 * A wake-up is acknowledged when the server has answered the claim.
 * While Redis or its streams are not available, the worker long-polls.
 */
export function redisStreams(
  options: Options,
  context: SubscriberContext,
  connector: RedisConnector | null,
): Subscriber {
  const { env, logger, session, shardKeys } = context;
  if (connector === null) {
    noticeNoRedis(logger);
    return adaptivePolling(growth, env);
  }
  const fallback = adaptivePolling(growth, env, fallbackWaitMs);
  const starting = adaptivePolling(growth, env, startingWaitMs);
  const notice = redisNotice(connector.at, logger);
  const streams = (): string[] => {
    const where = context.streams();
    if (where === null) return [];
    const queues = queuesOf(where.namespace, { serves: context.serves(), shardKeys });
    return queues.map((queue) => wakeUpStream(where.prefix, queue));
  };
  const isPublished = () => context.streams() !== null;
  /** Whether Redis was reachable but the server published no wake-ups through it. */
  let publishesNothing = false;
  const link = redisLink<WakeUps>({
    env,
    maxRetryIntervalMs: options.maxRetryIntervalMs,
    async open() {
      if (publishesNothing && !isPublished()) return null;
      const made = await openWakeUps({ ...options, env, connector, session, streams, notice });
      publishesNothing = made.ok && !isPublished();
      if (!made.ok || !publishesNothing) return made;
      made.opened.close();
      notice.noWakeUps();
      return null;
    },
    onFailure(refusal, lost) {
      // A lost connection is not logged if the next one can be opened.
      if (lost === null || !(lost.isProven || refusal.code === "UNREACHABLE")) notice.unavailable(refusal);
    },
  });
  let isTried = false;
  void link.tried.then(() => {
    isTried = true;
  });
  /** When to claim without a wake-up; monotonic milliseconds. */
  let claimAt = 0;
  /** How many wake-ups the next read takes from a stream: one, and more after claims that returned no runs. */
  let count = 1;

  const claim = (wakeUps: WakeUps): PollRequest => {
    const received = wakeUps.take();
    return {
      waitMs: 0,
      settled(result) {
        if (result.type !== "claimed") {
          claimAt = 0;
          wakeUps.passOn(received);
          return;
        }
        const isFull = result.runs >= result.requested;
        claimAt = isFull ? 0 : env.elapsed() + regularMs;
        count = result.runs === 0 && received.length >= count ? Math.min(maxRead, 2 * count) : 1;
        // More runs may be ready than this worker has slots for, so other workers receive the wake-ups.
        if (isFull) wakeUps.passOn(received);
        else wakeUps.acknowledge(received);
      },
    };
  };

  return {
    async next(free, signal) {
      for (;;) {
        const wakeUps = link.current;
        if (wakeUps === null || !isPublished()) {
          wakeUps?.close();
          return (isTried ? fallback : starting).next(free, signal);
        }
        if (signal.aborted) return { waitMs: 0 };
        const leftMs = claimAt - env.elapsed();
        if (leftMs <= 0 || (await wakeUps.receive(count, Math.min(options.blockTimeMs, leftMs), signal))) {
          return claim(wakeUps);
        }
      }
    },
    async close() {
      await (await link.close())?.leave();
    },
  };
}
