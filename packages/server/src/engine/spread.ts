/** Who is to know of a commit: the cache, who waits for a run or for work, and whoever listens elsewhere. */

import type { RunId } from "@aikirun/lib/protocol";
import type { Hint, Ready } from "../delivery/ready.ts";
import type { Doorbells } from "../delivery/redis/doorbells.ts";
import type { Changes } from "./changes.ts";
import type { Committed } from "./commit.ts";
import type { Rows } from "./rows.ts";

export interface Spread {
  /** Of a commit made here. Answers when the first of its runs is due, and which hints nobody here was woken by. */
  own(committed: Committed): { due: number; unheard: Hint[] };
  /** Of one that another server made. */
  others(changed: readonly RunId[], queued: readonly Hint[]): void;
}

export interface SpreadOptions {
  rows: Rows;
  ready: Ready;
  changes: Changes;
  doorbells: Doorbells | null;
}

export function spread({ rows, ready, changes, doorbells }: SpreadOptions): Spread {
  return {
    own({ changed, hints }) {
      let due = Number.POSITIVE_INFINITY;
      for (const run of changed) {
        rows.set(run);
        due = Math.min(due, run.dueAt ?? due);
        if (run.state.status !== "queued") {
          ready.drop(run.id);
        }
      }
      const unheard = hints.filter((run) => !ready.push(run));
      for (const run of hints) {
        doorbells?.ring(run);
      }
      for (const run of changed) {
        changes.notify(run.id);
      }
      return { due, unheard };
    },
    others(changed, queued) {
      const stillQueued = new Set(queued.map(({ id }) => id));
      for (const id of changed) {
        rows.forget(id);
        if (!stillQueued.has(id)) {
          ready.drop(id);
        }
      }
      for (const hint of queued) {
        ready.hear(hint);
      }
      for (const id of changed) {
        changes.notify(id);
      }
    },
  };
}
