/** Listeners for changes of runs. A spurious call is harmless: a listener reads the run again. */

import type { RunId } from "@aikirun/lib/protocol";

export interface Changes {
  /** Calls `wake` with every id of these that changes, until cancelled. */
  on(ids: Iterable<RunId>, wake: (id: RunId) => void): () => void;
  notify(id: RunId): void;
}

export function runChanges(): Changes {
  const listeners = new Map<RunId, Set<(id: RunId) => void>>();
  return {
    on(ids, wake) {
      const all = [...ids];
      for (const id of all) {
        const existing = listeners.get(id);
        if (existing === undefined) {
          listeners.set(id, new Set([wake]));
        } else {
          existing.add(wake);
        }
      }
      return () => {
        for (const id of all) {
          const existing = listeners.get(id);
          existing?.delete(wake);
          if (existing?.size === 0) {
            listeners.delete(id);
          }
        }
      };
    },
    notify(id) {
      for (const wake of [...(listeners.get(id) ?? [])]) {
        wake(id);
      }
    },
  };
}
