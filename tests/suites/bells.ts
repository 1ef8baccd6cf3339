/** Doorbells as a server rings them, for servers that do not ring by themselves. */

import type { Api, ClaimRequest, Served } from "@aikirun/lib/protocol";
import { streamKey, streamsOf } from "@aikirun/lib/protocol";
import type { RedisAddress } from "../real/redis-process.ts";
import { sendTo } from "../real/redis-process.ts";

export interface Bells {
  /** What the keys of the streams begin with. */
  readonly streams: string;
  /**
   * The same Api, whose replies say where doorbells ring; nowhere while `isRinging` is false. It is that of a server
   * which hears nothing of runs that start elsewhere: a claim that it holds takes none that is queued meanwhile.
   */
  heardThrough(api: Api): Api;
  isRinging: boolean;
  key(served: Served, shardKey?: string): string;
  /** Rings for a run; `content` is what an entry carries. Like a server's, a bell that cannot ring is lost. */
  ring(served: Served, shardKey?: string, ...content: string[]): Promise<void>;
}

/** How long a server that hears nothing holds a claim. Milliseconds. */
const deafMs = 3_000;

export function bellsAt(address: RedisAddress, prefix: string): Bells {
  const streams = streamsOf(prefix, "default");
  const bells: Bells = {
    streams,
    isRinging: true,
    heardThrough(api) {
      const told = <Reply extends object>(reply: Reply) => (bells.isRinging ? { ...reply, streams } : reply);
      const held = new Map<string, () => void>();
      const hold = ({ claimId, waitMs }: ClaimRequest, signal: AbortSignal | undefined) =>
        new Promise<void>((resolve) => {
          const end = () => {
            clearTimeout(timer);
            held.delete(claimId);
            resolve();
          };
          const timer = setTimeout(end, Math.min(waitMs, deafMs));
          held.set(claimId, end);
          signal?.addEventListener("abort", end, { once: true });
        });
      return {
        ...api,
        async claim(request, options) {
          const end = held.get(request.claimId);
          if (request.recall === true) {
            end?.();
            return told({ runs: [], recalled: end !== undefined });
          }
          const first = await api.claim({ ...request, waitMs: 0 }, options);
          if (first.runs.length > 0 || request.waitMs === 0) return told(first);
          await hold(request, options?.signal);
          return told({ runs: [] });
        },
        renew: async (request, options) => told(await api.renew(request, options)),
      };
    },
    key: (served, shardKey) => streamKey(streams, served, shardKey ?? null),
    async ring(served, shardKey, ...content) {
      const fields = content.length === 0 ? ["run", "?"] : content;
      await sendTo(address, ["xadd", bells.key(served, shardKey), "maxlen", "~", 10_000, "*", ...fields]).catch(
        () => {},
      );
    },
  };
  return bells;
}
