import { pause, type RedisConnector } from "@aikirun/client/internal";
import type { Cancel } from "@aikirun/lib";
import { type Served, streamKey } from "@aikirun/lib/protocol";
import type { Doorbells } from "./doorbells.ts";
import { openLine } from "./line.ts";
import { noticeNoRedis, redisNotice } from "./notice.ts";
import { adaptivePolling, type Growth } from "./polling.ts";
import type { Bell } from "./replies.ts";
import type { RedisStreams } from "./strategy.ts";
import type { Question, Subscriber, SubscriberContext } from "./subscriber.ts";

/** How the server is asked without a bell: it holds the question. */
const growth: Growth = {
  minPollIntervalMs: 50,
  maxPollIntervalMs: 2_000,
  backoffMultiplier: 2,
  emptyPollThreshold: 3,
  jitterFactor: 0.2,
};
/** While nothing can be heard, so often is looked whether something can. Milliseconds. */
const deafMs = 200;
/** So long is a question held meanwhile: the next answer may say where doorbells ring. Milliseconds. */
const deafWaitMs = 2_000;
/** The longest read: it goes on with the streams that it began with. Milliseconds. */
const longestReadMs = 5_000;
/** Who is answered within this time is busy: the bells are for others. Milliseconds. */
const graceMs = 10;
/** Bells that nothing was asked for within this time ring for others. Milliseconds. */
const keptMs = 1_000;
/** The most bells that one read takes of a stream. */
const mostBells = 1_000;

/** Options of `redis_streams` that matter here. */
type Options = Required<Pick<RedisStreams, "claimMinIdleTimeMs" | "blockTimeMs" | "maxRetryIntervalMs">>;

/**
 * The server holds a question until a doorbell rings, and then looks into its database for what was queued elsewhere.
 * Which runs come is the server's to say, so a bell that is old, doubled or garbage does no harm; it is acknowledged
 * when the server has looked and there was no more. Without Redis the held question remains.
 */
export function redisStreams(
  options: Options,
  context: SubscriberContext,
  connector: RedisConnector | null,
): Subscriber {
  const { env, logger, session } = context;
  const holding = adaptivePolling(growth, env);
  const deaf = adaptivePolling(growth, env, deafWaitMs);
  if (connector === null) {
    noticeNoRedis(logger);
    return holding;
  }
  const keys = () => keysOf(context.streams(), context.serves(), context.shardKeys);
  const notice = redisNotice(connector.at, logger);
  const delivers = () => context.streams() !== null;
  const line = openLine({ ...options, env, connector, session, keys, notice, delivers });
  /** Bells that one read takes of a stream: one is reason enough to look, but those that ring for nothing go fast. */
  let count = 1;
  let cancelPass: Cancel = () => {};

  const hearing = (): Doorbells | null => (delivers() && line.doorbells?.isOpen === true ? line.doorbells : null);

  /** When fewer runs came than slots were free storage was asked, and no more are queued: all bells were answered. */
  const rungFor = (doorbells: Doorbells, bells: Bell[]): Question => ({
    waitMs: 0,
    rung: true,
    settled(answer) {
      if (answer.type === "answered") {
        const isShort = answer.runs < answer.asked;
        count = isShort && bells.length >= count ? Math.min(mostBells, count * 2) : 1;
        if (isShort) doorbells.answer(bells);
        else doorbells.pass(bells);
      } else {
        doorbells.pass(bells);
      }
    },
  });

  const untilRung = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      const doorbells = hearing();
      if (doorbells === null) await pause(env, deafMs, signal);
      else if (await doorbells.isRung(count, Math.min(options.blockTimeMs, longestReadMs), signal)) return;
    }
  };

  /** The server may hold it until a bell rings, for then it is to look. */
  const heldUntilRung = (question: Question): Question => {
    const settled = new AbortController();
    const recall = new AbortController();
    void pause(env, graceMs, settled.signal)
      .then(() => untilRung(settled.signal))
      .then(() => {
        if (settled.signal.aborted) return;
        cancelPass = env.after(keptMs, () => line.doorbells?.passAll());
        recall.abort();
      })
      .catch(() => recall.abort());
    return {
      ...question,
      recall: recall.signal,
      settled(answer) {
        const isRecalled = recall.signal.aborted;
        settled.abort();
        question.settled?.(isRecalled ? { type: "unasked" } : answer);
        const isFull = answer.type === "answered" && answer.runs >= answer.asked;
        // Without a slot nobody asks for what rang meanwhile.
        if (isFull || (answer.type === "unasked" && !isRecalled)) line.doorbells?.passAll();
      },
    };
  };

  return {
    async next(free, signal) {
      cancelPass();
      const doorbells = hearing();
      if (doorbells === null) line.doorbells?.close();
      const bells = doorbells?.heard() ?? [];
      return doorbells !== null && bells.length > 0
        ? rungFor(doorbells, bells)
        : heldUntilRung(await (doorbells === null ? deaf : holding).next(free, signal));
    },
    async close() {
      cancelPass();
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
