/** Publishes wake-ups like a server, for servers without Redis. */

import type { Api, ClaimRequest, Served } from "@aikirun/lib/protocol";
import { wakeUpStream } from "@aikirun/lib/protocol";
import type { RedisAddress } from "../real/redis-process.ts";
import { sendTo } from "../real/redis-process.ts";

export interface Publisher {
  /**
   * Wraps an Api so that its replies name the streams of wake-ups, unless `isPublishing` is false. A long poll returns
   * no run that is queued while it waits, so only wake-ups and regular claims find those runs.
   */
  wrap(api: Api): Api;
  isPublishing: boolean;
  stream(served: Served, shardKey?: string): string;
  /** Publishes a wake-up with this `content`. A wake-up that cannot be sent is lost. */
  publish(served: Served, shardKey?: string, ...content: string[]): Promise<void>;
}

/** How long a long poll lasts. Milliseconds. */
const pollMs = 3_000;

export function publisherAt(address: RedisAddress, prefix: string): Publisher {
  const namespace = "default";
  const wait = ({ waitMs }: ClaimRequest, signal: AbortSignal | undefined) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(waitMs, pollMs));
      signal?.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  const publisher: Publisher = {
    isPublishing: true,
    wrap(api) {
      const withStreams = <Reply extends object>(reply: Reply) =>
        publisher.isPublishing ? { ...reply, streams: { prefix, namespace } } : reply;
      return {
        ...api,
        async claim(request, options) {
          const first = await api.claim({ ...request, waitMs: 0 }, options);
          if (first.runs.length > 0 || request.waitMs === 0) return withStreams(first);
          await wait(request, options?.signal);
          return withStreams({ runs: [] });
        },
        renew: async (request, options) => withStreams(await api.renew(request, options)),
      };
    },
    stream: ({ name, versionId }, shardKey = undefined) =>
      wakeUpStream(prefix, { namespace, name, versionId, shardKey: shardKey ?? null }),
    async publish(served, shardKey, ...content) {
      const fields = content.length === 0 ? ["wake", "1"] : content;
      const command = ["xadd", publisher.stream(served, shardKey), "maxlen", "~", 10_000, "*", ...fields];
      await sendTo(address, command).catch(() => {});
    },
  };
  return publisher;
}
