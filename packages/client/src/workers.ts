import { AikiError } from "@aikirun/lib";
import type { Api, LiveWorker } from "@aikirun/lib/protocol";

/** Lists the workers that execute runs. */
export interface Workers {
  /**
   * The live workers of all servers of the database: what they serve, their shards and their load, ordered by id and
   * session. A worker that stops is removed immediately. A worker that crashes is removed 90 s after its last
   * heartbeat, or one lease after it if the lease is longer. `since` and `seenAt` are epoch milliseconds. Throws
   * `UNREACHABLE`, and `BAD_REPLY` when the server is too old to list workers.
   */
  list(): Promise<LiveWorker[]>;
}

export function createWorkers(api: Api): Workers {
  return {
    async list() {
      const { workers } = await api.read({ runs: [], workers: true });
      if (workers !== undefined) {
        return workers;
      }
      throw new AikiError("BAD_REPLY", "The reply has no list of workers; the server may be older than the client.");
    },
  };
}
