import type { Env } from "@aikirun/lib";
import type { Api, WakeUpStreams, WorkerLoad } from "@aikirun/lib/protocol";

/** What a worker and its server let each other know beside runs. */
export interface Presence {
  /** The same Api; claims and heartbeats tell how busy the worker is, and their replies where doorbells ring. */
  readonly api: Api;
  /** What the keys of the streams begin with in which doorbells ring; null when they ring nowhere. */
  streams(): WakeUpStreams | null;
}

/** One server of several may not deliver through Redis yet: what others say holds for so long. Milliseconds. */
const hearsayMs = 5_000;

export function presence(api: Api, env: Env, load: () => WorkerLoad): Presence {
  let streams: WakeUpStreams | null = null;
  let heardAt = Number.NEGATIVE_INFINITY;

  const learn = <Reply extends { streams?: WakeUpStreams }>(reply: Reply): Reply => {
    if (reply.streams !== undefined) {
      streams = reply.streams;
      heardAt = env.elapsed();
    } else if (env.elapsed() - heardAt >= hearsayMs) {
      streams = null;
    }
    return reply;
  };

  return {
    api: {
      ...api,
      claim: async (request, options) => learn(await api.claim({ ...request, load: load() }, options)),
      renew: async (request, options) => learn(await api.renew({ ...request, load: load() }, options)),
    },
    streams: () => streams,
  };
}
