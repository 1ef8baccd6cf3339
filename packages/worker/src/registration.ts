import type { Env } from "@aikirun/lib";
import type {
  Api,
  CallOptions,
  RenewReply,
  RenewRequest,
  WakeUpStreams,
  WorkerDescription,
} from "@aikirun/lib/protocol";

/** An Api that adds the worker's registration to heartbeats. */
export interface WorkerApi extends Omit<Api, "renew"> {
  renew(request: Pick<RenewRequest, "runs" | "leaving">, options?: CallOptions): Promise<RenewReply>;
}

/** The data that a worker and its server exchange with claims and heartbeats. */
export interface Registration {
  readonly api: WorkerApi;
  /** Where the server publishes wake-ups; null while it publishes none through Redis. */
  streams(): WakeUpStreams | null;
}

/** How long a server's streams stay valid while other servers, without Redis, report none. Milliseconds. */
const otherServersMs = 5_000;

/** `describe` returns the current description of the worker, which claims and heartbeats contain. */
export function registration(api: Api, env: Env, describe: () => WorkerDescription): Registration {
  let streams: WakeUpStreams | null = null;
  let receivedAt = Number.NEGATIVE_INFINITY;

  const readStreams = <Reply extends { streams?: WakeUpStreams }>(reply: Reply): Reply => {
    if (reply.streams !== undefined) {
      streams = reply.streams;
      receivedAt = env.elapsed();
    } else if (env.elapsed() - receivedAt >= otherServersMs) {
      streams = null;
    }
    return reply;
  };

  return {
    api: {
      ...api,
      claim: async (request, options) => readStreams(await api.claim({ ...describe(), ...request }, options)),
      renew: async (request, options) => readStreams(await api.renew({ ...describe(), ...request }, options)),
    },
    streams: () => streams,
  };
}
