/**
 * Rows this server has seen, oldest change first out. A stale one costs a repetition: every write compares revisions.
 */

import type { RunId } from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";

export interface Rows {
  get(id: RunId): Run | undefined;
  set(run: Run): void;
  forget(id: RunId): void;
}

/** Rows with larger payloads are read anew: a few of them would hold more memory than all others. Characters. */
const maxPayload = 65_536;
/** A row takes the place of one more for each so many open waits. */
const waitsPerPlace = 100;

/** `capacity`: how many rows with few waits. */
export function cachedRows(capacity: number): Rows {
  const rows = new Map<RunId, Run>();
  let places = 0;

  const remove = (run: Run) => {
    rows.delete(run.id);
    places -= placesOf(run);
  };

  return {
    get(id) {
      return rows.get(id);
    },
    set(run) {
      const known = rows.get(run.id);
      if (known !== undefined && isNewer(known, run)) {
        return;
      }
      if (known !== undefined) {
        remove(known);
      }
      if (weightOf(run) > maxPayload) {
        return;
      }
      rows.set(run.id, run);
      places += placesOf(run);
      for (const oldest of rows.values()) {
        if (places <= capacity) {
          break;
        }
        remove(oldest);
      }
    },
    forget(id) {
      const known = rows.get(id);
      if (known !== undefined) {
        remove(known);
      }
    },
  };
}

/** Of two transactions that end at once the later may be told of first. */
function isNewer(known: Run, run: Run): boolean {
  return known.revision > run.revision || (known.revision === run.revision && known.tail > run.tail);
}

function placesOf({ waits }: Run): number {
  return 1 + Math.floor(waits.length / waitsPerPlace);
}

function weightOf({ input, state }: Run): number {
  const output = state.status === "completed" ? (state.output?.length ?? 0) : 0;
  return (input?.length ?? 0) + output;
}
