/**
 * The cache of rows. It evicts the row that changed longest ago. Every write compares revisions, so a stale row only
 * causes a second decision.
 */

import type { RunId } from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";
import { withoutLarge } from "../core/unread.ts";
import { waitsBytes } from "./budget.ts";

export interface RowCache {
  /** Undefined if the fence floor of the transaction is not the latest: then it reads a former database. */
  get(id: RunId, fenceFloor?: number): Run | undefined;
  /** `fenceFloor`: that of the transaction that read or wrote the row. */
  set(run: Run, fenceFloor: number): void;
  forget(id: RunId): void;
  /** The fence floor has risen. Commits below it may have been lost, so all rows are removed. */
  rise(fenceFloor: number): void;
}

/** The size of a row without payloads, waits and arrivals, and of the arrivals of one event name. Bytes. */
const rowBytes = 1_500;
const arrivalsBytes = 150;
/** The share of the heap that rows may take, and the least in bytes. */
const heapShare = 0.05;
const leastBytes = 1_000_000;

/** How much memory cached rows may take in a process with this heap limit. Bytes. */
export function rowsBytes(heapLimitBytes: number): number {
  return Math.max(leastBytes, heapLimitBytes * heapShare);
}

export function cachedRows(capacity: number): RowCache {
  const rows = new Map<RunId, { run: Run; weight: number }>();
  let bytes = 0;
  let latest = 0;

  const remove = (id: RunId) => {
    bytes -= rows.get(id)?.weight ?? 0;
    rows.delete(id);
  };

  return {
    get(id, fenceFloor = latest) {
      return fenceFloor === latest ? rows.get(id)?.run : undefined;
    },
    set(row, fenceFloor) {
      if (fenceFloor !== latest) {
        return;
      }
      const run = withoutLarge(row);
      const known = rows.get(run.id)?.run;
      if (known !== undefined && isNewer(known, run)) {
        return;
      }
      remove(run.id);
      const weight = weightOf(run);
      if (weight > capacity / 10) {
        return;
      }
      rows.set(run.id, { run, weight });
      bytes += weight;
      for (const oldest of rows.keys()) {
        if (bytes <= capacity) {
          break;
        }
        remove(oldest);
      }
    },
    forget: remove,
    rise(fenceFloor) {
      latest = fenceFloor;
      rows.clear();
      bytes = 0;
    },
  };
}

/** Results of two concurrent transactions may arrive in reverse order. */
function isNewer(known: Run, run: Run): boolean {
  return known.revision > run.revision || (known.revision === run.revision && known.tail > run.tail);
}

/** About how much memory the row takes: two bytes for each character. */
function weightOf({ input, state, waits, events, options, lastError }: Run): number {
  const payloads = lengthOf(input) + (state.status === "completed" ? lengthOf(state.output) : 0);
  const errors = [lastError, state.status === "failed" ? state.error : null];
  const texts = errors.reduce((sum, error) => sum + (error === null ? 0 : lengthOf(JSON.stringify(error))), payloads);
  const tags = (options.tags ?? []).reduce((sum, tag) => sum + tag.length, 0);
  return rowBytes + 2 * (texts + tags) + waitsBytes({ waits }) + arrivalsBytes * events.size;
}

function lengthOf(payload: Run["input"] | undefined): number {
  return typeof payload === "string" ? payload.length : 0;
}
