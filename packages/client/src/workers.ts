import { AikiError } from "@aikirun/lib";
import type { Api, LiveWorker } from "@aikirun/lib/protocol";

/** Who executes runs. */
export interface Workers {
  /**
   * The workers that any server of the database heard of lately: what they serve, their shards and their load, by id
   * and then by session. One that says goodbye is gone at once, one that dies 90 s after its last sign, or its lease
   * after that when it is longer. `since` and `seenAt` are epoch milliseconds. Throws `UNREACHABLE`, and `BAD_REPLY`
   * when the server is too old to know.
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
      throw new AikiError("BAD_REPLY", "The server listed no workers, not even none; it may be older than the client.");
    },
  };
}
