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

export function cachedRows(capacity: number): Rows {
  const rows = new Map<RunId, Run>();
  return {
    get(id) {
      return rows.get(id);
    },
    set(run) {
      const known = rows.get(run.id);
      if (known !== undefined && isNewer(known, run)) {
        return;
      }
      rows.delete(run.id);
      if (weightOf(run) > maxPayload) {
        return;
      }
      rows.set(run.id, run);
      if (rows.size > capacity) {
        for (const oldest of rows.keys()) {
          rows.delete(oldest);
          break;
        }
      }
    },
    forget(id) {
      rows.delete(id);
    },
  };
}

/** Of two transactions that end at once the later may be told of first. */
function isNewer(known: Run, run: Run): boolean {
  return known.revision > run.revision || (known.revision === run.revision && known.tail > run.tail);
}

function weightOf({ input, state }: Run): number {
  const output = state.status === "completed" ? (state.output?.length ?? 0) : 0;
  return (input?.length ?? 0) + output;
}
