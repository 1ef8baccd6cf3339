/** The answer to the question why a run does not move. */

import type { RunId, RunStatus } from "./run.ts";

/** Every cause for which a run can be where it is. */
export const whyReasons = [
  /** Its start time has not come. */
  "scheduled",
  /** It is queued, and a worker with a free slot serves it. */
  "ready",
  /** It is queued, and all slots of the workers that serve it are busy. */
  "workers_busy",
  /** It is queued, and no live worker serves it. */
  "no_worker",
  /** A worker executes it. */
  "executing",
  /** A worker replays it and waits for a call that the code made before. */
  "replaying",
  /** A worker records what is in flight; then the run is paused. */
  "pausing",
  /** The lease of its worker has ended; the server queues the run again. */
  "worker_lost",
  /** It is paused until somebody resumes it. */
  "paused",
  /** It waits for the end of a sleep. */
  "sleeping",
  /** It waits for an event. */
  "awaiting_event",
  /** It waits for the end of a child. */
  "awaiting_child",
  /** A task failed and is tried again later. */
  "awaiting_task",
  /** An attempt of the run failed; the next one begins later. */
  "awaiting_attempt",
  /** It is stalled: it lost its worker too often. */
  "crash_loop",
  /** It is stalled: the code does not make the recorded calls again. */
  "diverged",
  /** It is stalled: alike calls cannot be distinguished. */
  "ambiguous_call",
  /** It is stalled: a schema refuses recorded data. */
  "schema_mismatch",
  /** It is stalled: its handler awaited nothing durable for too long. */
  "idle",
  /** It has ended. */
  "completed",
  "failed",
  "cancelled",
] as const;

/** The cause for which a run is where it is. */
export type WhyReason = (typeof whyReasons)[number];

/** One run of the answer: why it is where it is. */
export interface WhyLink {
  /** The id of the run. */
  runId: RunId;
  /** The name of the workflow. */
  name: string;
  /** The id of the workflow version. */
  versionId: string;
  /** The status of the run. */
  status: RunStatus;
  /** The cause. */
  reason: WhyReason;
  /** The cause, since when it lasts, and what would move the run, in sentences for people. */
  text: string;
  /** Since when the cause lasts, in epoch milliseconds by the database's clock. */
  since: number;
  /** When the server moves the run by itself at the latest, in epoch milliseconds. Null if never. */
  until: number | null;
}

/** Why a run does not move, since when, and what would move it. */
export interface Why {
  /** The whole answer, in sentences for people: the texts of all links. Durations in it are from `at`. */
  text: string;
  /** When the answer was made, in epoch milliseconds by the database's clock. */
  at: number;
  /**
   * The run, then the child that it waits for, then the child that this child waits for, and so on. The last one is the
   * root cause. At most 20 runs.
   */
  links: WhyLink[];
}
