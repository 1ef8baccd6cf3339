/** How every dialect stores workers: the last state that each process reported with a claim or a heartbeat. */

import type { LiveWorker } from "@aikirun/lib/protocol";
import { numberOf, type Row, textOf } from "./row.ts";
import { fromText, toText } from "./text.ts";

/** A worker process in its last reported state. */
export interface RegisteredWorker extends LiveWorker {
  namespace: string;
  /** When the worker stops counting as live if it does not report again. Epoch milliseconds; 0: it has left. */
  liveUntil: number;
}

export interface WorkerColumns {
  namespace: string;
  session: string;
  worker: string;
  /** JSON, as are the shard keys: no statement searches them. */
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

/** The row to store: the later one, with the earlier `since`. A row of a worker that has left is not replaced. */
export function laterWorker(before: RegisteredWorker | undefined, after: RegisteredWorker): RegisteredWorker {
  if (before === undefined) return after;
  const hasLeft = before.liveUntil === 0;
  const isNewer = after.liveUntil === 0 || after.seenAt >= before.seenAt;
  return hasLeft || !isNewer ? before : { ...after, since: Math.min(before.since, after.since) };
}
