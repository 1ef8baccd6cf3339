import type { Client } from "@aikirun/client";
import type { LiveWorker, RunStatus, RunView } from "@aikirun/lib/protocol";

/** What `aiki top` shows. */
export interface Overview {
  workers: LiveWorker[];
  /** How many runs have each status, except those that no run has. */
  statuses: StatusCount[];
  /** The runs that changed last, the latest first, among the newest runs of each status. */
  changed: RunView[];
}

export interface StatusCount {
  status: RunStatus;
  count: number;
  /** Whether more runs than `count` have the status. */
  isMore: boolean;
}

/** The statuses in the order in which they are shown. */
const shownStatuses: readonly RunStatus[] = [
  "running",
  "queued",
  "awaiting_event",
  "awaiting_child_workflow",
  "sleeping",
  "scheduled",
  "awaiting_retry",
  "paused",
  "stalled",
  "failed",
  "cancelled",
  "completed",
];

/** How many runs of each status are counted and searched for the latest changes. */
const mostCounted = 200;
/** How many pages are read of each status: a page may have fewer runs than requested and not be the last one. */
const mostPages = 4;

/** Reads the first runs of each status, and the live workers. */
export async function readOverview(aiki: Client): Promise<Overview> {
  const [workers, ...found] = await Promise.all([
    aiki.workers.list(),
    ...shownStatuses.map((status) => firstRuns(aiki, status)),
  ]);
  const statuses = found.map(({ status, runs, isMore }) => ({ status, count: runs.length, isMore }));
  const changed = found.flatMap(({ runs }) => runs).toSorted((left, right) => right.updatedAt - left.updatedAt);
  return { workers, statuses: statuses.filter(({ count, isMore }) => count > 0 || isMore), changed };
}

async function firstRuns(aiki: Client, status: RunStatus) {
  const runs: RunView[] = [];
  let cursor: string | undefined;
  let pages = 0;
  do {
    const limit = mostCounted - runs.length;
    const page = await aiki.api.find({ status: [status], limit, ...(cursor === undefined ? {} : { cursor }) });
    runs.push(...page.runs);
    cursor = page.cursor;
    pages += 1;
  } while (cursor !== undefined && runs.length < mostCounted && pages < mostPages);
  return { status, runs, isMore: cursor !== undefined };
}
