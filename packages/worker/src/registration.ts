import type { Env } from "@aikirun/lib";
import type {
  Api,
  CallOptions,
  RenewReply,
  RenewRequest,
  WakeUpStreams,
  WorkerDescription,
} from "@aikirun/lib/protocol";

/** An Api whose heartbeats need not say what the worker is. */
export interface WorkerApi extends Omit<Api, "renew"> {
  renew(request: Pick<RenewRequest, "runs" | "leaving">, options?: CallOptions): Promise<RenewReply>;
}

/** What a worker and its server let each other know with claims and heartbeats. */
export interface Registration {
  readonly api: WorkerApi;
  /** Where the server publishes wake-ups; null while it publishes none through Redis. */
  streams(): WakeUpStreams | null;
}

/** One server of several may have no Redis: for how long the replies of others count. Milliseconds. */
const otherServersMs = 5_000;

/** `sign`: what the worker is by now. */
export function registration(api: Api, env: Env, sign: () => WorkerDescription): Registration {
  let streams: WakeUpStreams | null = null;
  let learntAt = Number.NEGATIVE_INFINITY;

  const learn = <Reply extends { streams?: WakeUpStreams }>(reply: Reply): Reply => {
    if (reply.streams !== undefined) {
      streams = reply.streams;
      learntAt = env.elapsed();
    } else if (env.elapsed() - learntAt >= otherServersMs) {
      streams = null;
    }
    return reply;
  };

  return {
    api: {
      ...api,
      claim: async (request, options) => learn(await api.claim({ ...sign(), ...request }, options)),
      renew: async (request, options) => learn(await api.renew({ ...sign(), ...request }, options)),
    },
    streams: () => streams,
  };
}
