/** How workers are stored, alike in every dialect: what each process said last with a claim or a heartbeat. */

import type { LiveWorker } from "@aikirun/lib/protocol";
import { numberOf, type Row, textOf } from "./row.ts";
import { fromText, toText } from "./text.ts";

/** A worker's process as it was seen last. */
export interface RegisteredWorker extends LiveWorker {
  namespace: string;
  /** Until when it counts as live if it is not seen again. Epoch milliseconds; 0: it has left. */
  liveUntil: number;
}

export interface WorkerColumns {
  namespace: string;
  session: string;
  worker: string;
  /** JSON, as are the shard keys: nobody searches them in SQL. */
  serves: string;
  shardKeys: string;
  slots: number | null;
  busy: number | null;
  since: number;
  seenAt: number;
  liveUntil: number;
}

export function workerColumns({ load, ...worker }: RegisteredWorker): WorkerColumns {
  return {
    namespace: toText(worker.namespace),
    session: toText(worker.session),
    worker: toText(worker.worker),
    serves: JSON.stringify(worker.serves),
    shardKeys: JSON.stringify(worker.shardKeys),
    slots: load?.slots ?? null,
    busy: load?.busy ?? null,
    since: worker.since,
    seenAt: worker.seenAt,
    liveUntil: worker.liveUntil,
  };
}

export function workerOf(row: Row): RegisteredWorker {
  return {
    namespace: fromText(textOf(row, "namespace")),
    session: fromText(textOf(row, "session")),
    worker: fromText(textOf(row, "worker")),
    serves: JSON.parse(textOf(row, "serves")),
    shardKeys: JSON.parse(textOf(row, "shard_keys")),
    ...(row.slots === null ? {} : { load: { slots: numberOf(row, "slots"), busy: numberOf(row, "busy") } }),
    since: numberOf(row, "since"),
    seenAt: numberOf(row, "seen_at"),
    liveUntil: numberOf(row, "live_until"),
  };
}

/** What is stored after a row was saved: the later one, with the earlier `since`. A worker that left stays gone. */
export function laterWorker(before: RegisteredWorker | undefined, after: RegisteredWorker): RegisteredWorker {
  if (before === undefined) return after;
  const hasLeft = before.liveUntil === 0;
  const isNews = after.liveUntil === 0 || after.seenAt >= before.seenAt;
  return hasLeft || !isNews ? before : { ...after, since: Math.min(before.since, after.since) };
}
