import type { RedisConnector } from "@aikirun/client/internal";
import { type Served, streamKey } from "@aikirun/lib/protocol";
import type { Doorbells } from "./doorbells.ts";
import { openLine } from "./line.ts";
import { noticeNoRedis, redisNotice } from "./notice.ts";
import { adaptivePolling, type Growth } from "./polling.ts";
import type { Bell } from "./replies.ts";
import type { RedisStreams } from "./strategy.ts";
import type { Answer, Question, Subscriber, SubscriberContext } from "./subscriber.ts";

/** How a worker polls while it hears no doorbells: as one does by default, but soon ready to hear again. */
const fallback: Growth = {
  minPollIntervalMs: 50,
  maxPollIntervalMs: 2_000,
  backoffMultiplier: 2,
  emptyPollThreshold: 3,
  jitterFactor: 0.2,
};
const fallbackWaitMs = 2_000;
/** A worker with free slots asks so often without a bell, so that one that was lost costs no more. Milliseconds. */
const surveyMs = 5_000;
/** The most bells that one read takes of a stream. */
const mostBells = 1_000;

/** Options of `redis_streams` that matter here. */
type Options = Required<Pick<RedisStreams, "claimMinIdleTimeMs" | "blockTimeMs" | "maxRetryIntervalMs">>;

/**
 * Asks for as many runs as doorbells rang. Which runs come is the server's to say, so a bell that is old, doubled or
 * garbage does no harm; it is acknowledged when its question was answered.
 */
export function redisStreams(
  options: Options,
  context: SubscriberContext,
  connector: RedisConnector | null,
): Subscriber {
  const { env, logger, session } = context;
  const polling = adaptivePolling(fallback, env, fallbackWaitMs);
  if (connector === null) {
    noticeNoRedis(logger);
    return polling;
  }
  const keys = () => keysOf(context.streams(), context.serves(), context.shardKeys);
  const notice = redisNotice(connector.at, logger);
  const delivers = () => context.streams() !== null;
  const line = openLine({ ...options, env, connector, session, keys, notice, delivers });
  /** Of what was asked for everything came: more may be waiting, and needs no bell. */
  let isBacklog = false;
  /** When the server last had no more runs than were asked for, and of which streams. Monotonic milliseconds. */
  let surveyed = { at: Number.NEGATIVE_INFINITY, keys: "" };
  /** Bells that ring for nothing are read faster. */
  let haste = 1;

  const learn = (answer: Answer, asksForAll: boolean): void => {
    if (answer.type !== "answered") {
      return;
    }
    const isShort = answer.runs < answer.asked;
    isBacklog = asksForAll && !isShort;
    if (isShort || asksForAll) {
      surveyed = { at: env.elapsed(), keys: keys().join() };
    }
  };

  const survey: Question = { waitMs: 0, settled: (answer) => learn(answer, true) };

  /** Asks for a run for each bell. When fewer came there are no more, and all bells were for runs that are gone. */
  const question = (doorbells: Doorbells, bells: Bell[], free: number, count: number): Question => ({
    waitMs: 0,
    limit: Math.min(bells.length, free),
    rung: true,
    settled(answer) {
      learn(answer, bells.length >= free);
      if (answer.type === "answered") {
        const isShort = answer.runs < answer.asked;
        haste = isShort && bells.length >= count ? haste * 2 : 1;
        doorbells.answer(isShort ? bells : bells.slice(0, answer.runs));
        doorbells.pass(isShort ? [] : bells.slice(answer.runs));
      } else if (answer.type === "failed") {
        doorbells.keep(bells);
      } else {
        doorbells.pass(bells);
      }
    },
  });

  return {
    async next(free, signal) {
      for (let { doorbells } = line; doorbells !== null && !signal.aborted; { doorbells } = line) {
        if (!delivers()) {
          doorbells.close();
          break;
        }
        const dueMs = surveyed.at + surveyMs - env.elapsed();
        if (isBacklog || dueMs <= 0 || surveyed.keys !== keys().join()) {
          return survey;
        }
        const count = Math.min(mostBells, free * haste);
        const bells = await doorbells.hear(count, Math.min(options.blockTimeMs, dueMs), signal);
        if (bells.length > 0) {
          return question(doorbells, bells, free, count);
        }
      }
      return polling.next(free, signal);
    },
    async close() {
      await line.close();
    },
  };
}

function keysOf(streams: string | null, serves: readonly Served[], shardKeys: readonly string[]): string[] {
  const shards = shardKeys.length === 0 ? [null] : shardKeys;
  return streams === null
    ? []
    : serves.flatMap((served) => shards.map((shardKey) => streamKey(streams, served, shardKey)));
}
