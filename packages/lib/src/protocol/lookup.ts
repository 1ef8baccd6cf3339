/** The verbs `find` and `read`. */

import type { Entry } from "./entry.ts";
import type { ClaimedWait, Rejection, Served, WorkerLoad } from "./messages.ts";
import type { RunId, RunStatus, RunView } from "./run.ts";

/** A page of runs; every field narrows the choice. */
export interface FindRequest {
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
  /** Only children of this run. */
  parentId?: RunId;
  /** Runs that carry all of these. */
  tags?: string[];
  /** Runs that failed with an error of this code, at most 255 characters; a code that is a number, as its digits. */
  errorCode?: string;
  /** Epoch milliseconds, inclusive. */
  createdAfter?: number;
  /** Epoch milliseconds, exclusive. */
  createdBefore?: number;
  /** By when they were created, then by id. Newest first is the default. */
  order?: "newest" | "oldest";
  /** 1 to 200; default 50. */
  limit?: number;
  /** From the reply before. Opaque. */
  cursor?: string;
}

/** One page of runs, and where the next begins. */
export interface FindReply {
  /** The runs of the page, without `input` and `outcome.output`. */
  runs: RunView[];
  /**
   * Where the next page begins; absent on the last one. A server examines a bounded number of runs for a page, so a
   * page may hold fewer runs than its `limit`, or none, and still have a cursor.
   */
  cursor?: string;
}

/** Runs to read by id, with a page of their entries where asked for. */
export interface ReadRequest {
  /** The runs to read, at most `limits.batchItems`. */
  runs: Array<{
    runId: RunId;
    /** Absent: no entries. */
    entries?: { after: number; limit: number };
    /** Whether to list all its open waits, as a claim does. */
    waits?: boolean;
  }>;
  /** Whether to list the live workers of the namespace too. */
  workers?: boolean;
}

/** A worker's process that was heard of lately, by any server of this database. */
export interface LiveWorker {
  /** The id of the worker's process. */
  session: string;
  /** Its id: a label that several may share. */
  worker: string;
  /** The workflow versions that it executes. */
  serves: Served[];
  /** The shard keys that it serves; empty: only runs without one. */
  shardKeys: string[];
  /** Absent when it did not say. */
  load?: WorkerLoad;
  /** Epoch milliseconds by the database's clock. */
  since: number;
  /** Epoch milliseconds by the database's clock of its last sign. */
  seenAt: number;
}

/** One run as the outside sees it; `more` when entries remain after these. */
export type ReadResult = { ok: true; run: RunView; entries: Entry[]; more: boolean; waits?: ClaimedWait[] } | Rejection;

/** One result per run, in order; with `more`, of the first runs. `workers` when asked for, by id and by session. */
export interface ReadReply {
  /** One result for each run, in order. */
  results: ReadResult[];
  /** True when the reply is full (`limits.replyBytes`): `results` are of the first runs; ask again for the others. */
  more?: boolean;
  /** The live workers; present when they were asked for. */
  workers?: LiveWorker[];
}
