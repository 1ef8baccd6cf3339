/** Publishes wake-ups as a server does, for servers that have no Redis. */

import type { Api, ClaimRequest, Served } from "@aikirun/lib/protocol";
import { wakeUpStream } from "@aikirun/lib/protocol";
import type { RedisAddress } from "../real/redis-process.ts";
import { sendTo } from "../real/redis-process.ts";

export interface Publisher {
  /**
   * The same Api, whose replies say where wake-ups are published; nowhere while `isPublishing` is false. A long poll
   * takes no run that is queued while it waits, so only wake-ups and regular claims find those.
   */
  besides(api: Api): Api;
  isPublishing: boolean;
  stream(served: Served, shardKey?: string): string;
  /** Publishes a wake-up, whose entry has this `content`. Like a server's, one that cannot be sent is lost. */
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
    besides(api) {
      const told = <Reply extends object>(reply: Reply) =>
        publisher.isPublishing ? { ...reply, streams: { prefix, namespace } } : reply;
      return {
        ...api,
        async claim(request, options) {
          const first = await api.claim({ ...request, waitMs: 0 }, options);
          if (first.runs.length > 0 || request.waitMs === 0) return told(first);
          await wait(request, options?.signal);
          return told({ runs: [] });
        },
        renew: async (request, options) => told(await api.renew(request, options)),
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
