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
/** How long a long poll lasts meanwhile: after it the worker looks whether wake-ups can be received. Milliseconds. */
const fallbackWaitMs = 2_000;
/** How long a long poll lasts until the first try to connect to Redis has ended. Milliseconds. */
const startingWaitMs = 200;
/** The most wake-ups that one read takes of a stream. */
const maxRead = 1_000;

/** Options of `redis_streams` that matter here. */
type Options = Required<Pick<RedisStreams, "claimMinIdleTimeMs" | "blockTimeMs" | "maxRetryIntervalMs">>;

/**
 * Claims when a wake-up is received, again at once while claims come back full, and regularly. The claim decides which
 * runs come: a wake-up that is old, doubled or garbage does no harm. It is acknowledged when the claim is answered.
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
  const notice = redisNotice(connector.at, logger);
  const streams = (): string[] => {
    const where = context.streams();
    if (where === null) return [];
    const queues = queuesOf(where.namespace, { serves: context.serves(), shardKeys });
    return queues.map((queue) => wakeUpStream(where.prefix, queue));
  };
  const isPublished = () => context.streams() !== null;
  /** Whether the server was found to publish no wake-ups through a Redis that can be reached. */
  let isSilent = false;
  const link = redisLink<WakeUps>({
    env,
    maxRetryIntervalMs: options.maxRetryIntervalMs,
    async open() {
      if (isSilent && !isPublished()) return null;
      const made = await openWakeUps({ ...options, env, connector, session, streams, notice });
      isSilent = made.ok && !isPublished();
      if (!made.ok || !isSilent) return made;
      made.opened.close();
      notice.silent();
      return null;
    },
    onFailure(refusal, lost) {
      // A lost connection is no news as long as the next one can be opened.
      if (lost === null || !(lost.isProven || refusal.code === "UNREACHABLE")) notice.away(refusal);
    },
  });
  let isTried = false;
  void link.tried.then(() => {
    isTried = true;
  });
  /** When to claim without a wake-up; monotonic milliseconds. */
  let claimAt = 0;
  /** How many wake-ups the next read takes of a stream: one, unless those before were followed by empty claims. */
  let count = 1;

  const claim = (wakeUps: WakeUps, free: number): PollRequest => {
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
        // Without a free slot this worker leaves runs behind: others are to take them.
        if (isFull && result.runs >= free) wakeUps.passOn(received);
        else wakeUps.acknowledge(received);
      },
    };
  };

  return {
    async next(free, signal) {
      for (;;) {
        const wakeUps = link.current;
        if (wakeUps === null) return isTried ? fallback.next(free, signal) : { waitMs: startingWaitMs };
        if (signal.aborted) return { waitMs: 0 };
        const leftMs = claimAt - env.elapsed();
        if (!isPublished()) wakeUps.close();
        else if (leftMs <= 0) return claim(wakeUps, free);
        else if (await wakeUps.receive(count, Math.min(options.blockTimeMs, leftMs), signal))
          return claim(wakeUps, free);
      }
    },
    async close() {
      await (await link.close())?.leave();
    },
  };
}
