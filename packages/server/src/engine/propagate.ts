/** After a commit: updates caches, wakes long polls of this server, and notifies other servers and workers. */

import type { Notification } from "../delivery/message.ts";
import type { Notifier } from "../delivery/notifier.ts";
import type { QueueCache } from "../delivery/queue-cache.ts";
import type { Changes } from "./changes.ts";
import type { Committed } from "./commit.ts";
import type { RowCache } from "./rows.ts";

export interface PropagateContext {
  rows: RowCache;
  cache: QueueCache;
  changes: Changes;
  notifier: Notifier | null;
}

/** After a commit of this server. Returns when the first of its runs is due; epoch milliseconds. */
export function propagate({ rows, cache, changes, notifier }: PropagateContext, committed: Committed): number {
  const { changed, queued, fenceFloor } = committed;
  let dueAt = Number.POSITIVE_INFINITY;
  for (const run of changed) {
    rows.set(run, fenceFloor);
    dueAt = Math.min(dueAt, run.dueAt ?? dueAt);
    if (run.state.status !== "queued") cache.remove(run.id);
  }
  const queues = queued.filter((run) => run.state.status === "queued" && !cache.enqueue(run));
  for (const { id } of changed) changes.notify(id);
  notifier?.publish({ changed: changed.map(({ id }) => id), queues });
  return dueAt;
}

/** After a commit of another server. */
export function receive({ rows, cache, changes }: PropagateContext, { changed, queues }: Notification): void {
  for (const id of changed) {
    rows.forget(id);
    cache.remove(id);
  }
  cache.invalidate(queues);
  for (const id of changed) changes.notify(id);
}
