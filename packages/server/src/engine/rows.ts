/**
 * Rows this server has seen, oldest change first out. A stale one costs a repetition: every write compares revisions.
 */

import type { RunId } from "@aikirun/lib/protocol";
import type { Run } from "../core/run.ts";
import { withoutLarge } from "../core/unread.ts";
import { waitsBytes } from "./budget.ts";

export interface Rows {
  /** Nothing for a transaction that found another fence floor than the latest: it is of a former database. */
  get(id: RunId, fenceFloor?: number): Run | undefined;
  /** `fenceFloor`: what the transaction found that read or wrote the row. */
  set(run: Run, fenceFloor: number): void;
  forget(id: RunId): void;
  /** From now on the fence floor is this one. What was known of older ones may never have been: all is forgotten. */
  rise(fenceFloor: number): void;
}

/** What a row takes besides what varies. Bytes. */
const rowBytes = 1_500;
const arrivalsBytes = 150;
/** The share of the heap that rows may take, and the least in bytes. */
const heapShare = 0.05;
const leastBytes = 1_000_000;

/** How much cached rows may take in a process with this heap. Bytes. */
export function rowsBytes(heapLimitBytes: number): number {
  return Math.max(leastBytes, heapLimitBytes * heapShare);
}

export function cachedRows(capacity: number): Rows {
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

/** Of two transactions that end at once the later may be told of first. */
function isNewer(known: Run, run: Run): boolean {
  return known.revision > run.revision || (known.revision === run.revision && known.tail > run.tail);
}

/** About what the row takes in memory: a character up to two bytes. */
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
