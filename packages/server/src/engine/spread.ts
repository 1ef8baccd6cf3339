/** Who is to know of a commit: the cache, who waits here for runs or work, other servers, who listens elsewhere. */

import type { Env } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";
import type { Hint, Ready } from "../delivery/ready.ts";
import type { Doorbells } from "../delivery/redis/doorbells.ts";
import { ringer } from "../delivery/ringer.ts";
import type { Changes } from "./changes.ts";
import type { Committed } from "./commit.ts";
import { type Channel, serverNews } from "./news.ts";
import type { Rows } from "./rows.ts";

export interface Spread {
  /** Of a commit made here. Answers when the first of its runs is due. */
  own(committed: Committed): number;
  /** A claim that is held elsewhere, if anywhere, is to be answered now. */
  recall(claimId: string): void;
  /** Hears from now on of commits that other servers make. */
  start(): void;
  /** Resolves when all is told. */
  close(): Promise<void>;
}

export interface SpreadOptions {
  env: Env;
  rows: Rows;
  ready: Ready;
  changes: Changes;
  channel: Channel | null;
  doorbells: Doorbells | null;
  /** What another server recalls. */
  recalled: (claimId: string) => void;
  /** Aborts when nobody takes anything here any more. */
  closing: AbortSignal;
}

export function spread(options: SpreadOptions): Spread {
  const { env, rows, ready, changes, channel, doorbells, recalled, closing } = options;
  const others = (changed: readonly RunId[], queued: readonly Hint[]) => {
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
  };

  const news = channel === null ? null : serverNews({ env, channel, hear: others, recalled });
  const ring = ringer({
    env,
    isListed: ready.isListed,
    closing,
    ring(hint) {
      doorbells?.ring(hint);
      news?.tell([hint.id], [hint]);
    },
  });

  return {
    own({ changed, hints, fenceFloor }) {
      let due = Number.POSITIVE_INFINITY;
      for (const run of changed) {
        rows.set(run, fenceFloor);
        due = Math.min(due, run.dueAt ?? due);
        if (run.state.status !== "queued") {
          ready.drop(run.id);
        }
      }
      const unheard = hints.filter((run) => !ready.push(run));
      if (news !== null || doorbells !== null) {
        ring(hints);
      }
      for (const run of changed) {
        changes.notify(run.id);
      }
      news?.tell(
        changed.map(({ id }) => id),
        unheard,
      );
      return due;
    },
    recall: (claimId) => news?.recall(claimId),
    start: () => news?.start(),
    async close() {
      await news?.close();
      await doorbells?.close();
    },
  };
}
