/** Doorbells as a server rings them, for servers that do not ring by themselves. */

import type { Api, Served } from "@aikirun/lib/protocol";
import { streamKey, streamsOf } from "@aikirun/lib/protocol";
import type { RedisAddress } from "../real/redis-process.ts";
import { sendTo } from "../real/redis-process.ts";

export interface Bells {
  /** What the keys of the streams begin with. */
  readonly streams: string;
  /** The same Api, whose replies say where doorbells ring; nowhere while `isRinging` is false. */
  heardThrough(api: Api): Api;
  isRinging: boolean;
  key(served: Served, shardKey?: string): string;
  /** Rings for a run; `content` is what an entry carries. Like a server's, a bell that cannot ring is lost. */
  ring(served: Served, shardKey?: string, ...content: string[]): Promise<void>;
}

export function bellsAt(address: RedisAddress, prefix: string): Bells {
  const streams = streamsOf(prefix, "default");
  const bells: Bells = {
    streams,
    isRinging: true,
    heardThrough(api) {
      const told = <Reply extends object>(reply: Reply) => (bells.isRinging ? { ...reply, streams } : reply);
      return {
        ...api,
        claim: async (request, options) => told(await api.claim(request, options)),
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
