/** The verbs `find` and `read`. */

import type { Entry } from "./entry.ts";
import type { ClaimedWait, Rejection, Served, WorkerLoad } from "./messages.ts";
import type { RunId, RunStatus, RunView } from "./run.ts";
import type { Why } from "./why.ts";

/** A request for a page of the runs that match every filter that is present. */
export interface FindRequest {
  /** The beginning of the run's id, 1 to 36 characters of a UUID in lower case. */
  idPrefix?: string;
  /** The workflow's name. */
  name?: string;
  /** The id of the workflow version. */
  versionId?: string;
  /** The run has one of these statuses. */
  status?: RunStatus[];
  /** The reference id that the run was started with. */
  referenceId?: string;
  /** The shard key that the run was started with. */
  shardKey?: string;
  /** The run is a child of this run. */
  parentId?: RunId;
  /** The run has all of these tags. */
  tags?: string[];
  /** The run failed with an error of this code, at most 255 characters. Write a code that is a number in digits. */
  errorCode?: string;
  /** The run was created at this time or later. Epoch milliseconds. */
  createdAfter?: number;
  /** The run was created before this time. Epoch milliseconds. */
  createdBefore?: number;
  /** The runs are sorted by the time of their creation, then by id. Default: the newest run comes first. */
  order?: "newest" | "oldest";
  /** The maximum number of runs of the page, 1 to 200; default 50. */
  limit?: number;
  /** The `cursor` of the reply with the previous page. Absent for the first page. */
  cursor?: string;
}

/** One page of runs, and where the next page begins. */
export interface FindReply {
  /** The runs of the page, without `input` and `outcome.output`. */
  runs: RunView[];
  /**
   * Where the next page begins; absent on the last page. A server examines a bounded number of runs for a page, so a
   * page may hold fewer runs than its `limit`, or none, and still have a cursor.
   */
  cursor?: string;
}

/** A request to read runs by id, each with a page of its entries if requested. */
export interface ReadRequest {
  /** The runs to read, at most `limits.batchItems`. */
  runs: Array<{
    runId: RunId;
    /** The page of entries to return: at most `limit`, beginning after the `seq` `after`. Absent: no entries. */
    entries?: { after: number; limit: number };
    /** Whether to return all open waits of the run, as a claim does. Default false. */
    waits?: boolean;
  }>;
  /** Whether to return the live workers of the namespace too. Default false. */
  workers?: boolean;
  /** The run of which to return why it does not move. Absent: the reply has no `why`. */
  why?: RunId;
}

/**
 * A session of a worker that sent a claim or a heartbeat to any server of this database in the last 90 s, or within its
 * lease if that is longer.
 */
export interface LiveWorker {
  /** The id of the session. */
  session: string;
  /** The worker's id: a label that several workers may share. */
  worker: string;
  /** The workflow versions that it executes. */
  serves: Served[];
  /** The shard keys that it serves. If empty, it serves only runs without a shard key. */
  shardKeys: string[];
  /** How busy the worker is. Absent if the worker did not report it. */
  load?: WorkerLoad;
  /** When a server first received a claim or heartbeat of it, in epoch milliseconds by the database's clock. */
  since: number;
  /** When a server last received a claim or heartbeat of it, in epoch milliseconds by the database's clock. */
  seenAt: number;
}

/** The view of one run, with the requested entries. `more` is true if the run has entries after these. */
export type ReadResult = { ok: true; run: RunView; entries: Entry[]; more: boolean; waits?: ClaimedWait[] } | Rejection;

/** Why the run does not move, or that there is no such run. */
export type WhyResult = { ok: true; why: Why } | Rejection;

/** The requested runs, and the live workers and why a run does not move if these were requested. */
export interface ReadReply {
  /** One result for each run, in the order of the request. If `more` is true, only the first runs have results. */
  results: ReadResult[];
  /** True if the reply is full (`limits.replyBytes`). Request the runs without a result again. */
  more?: boolean;
  /** The live workers, sorted by id and then by session. Present if they were requested. */
  workers?: LiveWorker[];
  /** The version of the server, such as `0.1.0`. Present if the workers were requested. */
  serverVersion?: string;
  /** Why the run does not move. Present if it was requested. */
  why?: WhyResult;
}
