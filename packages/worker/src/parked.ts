import type { RunId } from "@aikirun/lib/protocol";

/** A suspended execution that stays in memory. */
export interface Parkable {
  readonly runId: RunId;
  /** Of the claim under which it parked. */
  readonly fence: number;
  /** The code that it executes. */
  readonly definition: unknown;
  readonly execution: { readonly size: number; abandon(code: string): void };
}

/** Bounds of what stays in memory. */
export interface ParkedLimits {
  executions: number;
  /** In all of them together. */
  entries: number;
}

export interface Parked<Item extends Parkable> {
  put(item: Item): void;
  /**
   * The execution to go on with: parked under the fence just before this one, and of the same code. Otherwise null, and
   * whatever was parked of the run is given up.
   */
  take(runId: RunId, fence: number, definition: unknown): Item | null;
  /** What is parked of the run, if it was parked under this fence. */
  peek(runId: RunId, fence: number): Item | null;
  /** Gives up one. */
  drop(runId: RunId): void;
  /** Gives up all. */
  clear(): void;
}

const parkedLimits: ParkedLimits = { executions: 1_000, entries: 200_000 };

/** Least recently used goes first. What is given up is replayed from its journal when it is next claimed. */
export function parked<Item extends Parkable>(limits: ParkedLimits = parkedLimits): Parked<Item> {
  const items = new Map<RunId, Item>();
  const sizes = new Map<RunId, number>();
  let entries = 0;

  const remove = (runId: RunId): Item | null => {
    const item = items.get(runId);
    if (item === undefined) {
      return null;
    }
    items.delete(runId);
    entries -= sizes.get(runId) ?? 0;
    sizes.delete(runId);
    return item;
  };
  const drop = (runId: RunId) => remove(runId)?.execution.abandon("EVICTED");

  return {
    put(item) {
      drop(item.runId);
      const size = Math.max(1, item.execution.size);
      items.set(item.runId, item);
      sizes.set(item.runId, size);
      entries += size;
      for (const runId of items.keys()) {
        if (items.size <= limits.executions && entries <= limits.entries) {
          break;
        }
        drop(runId);
      }
    },
    take(runId, fence, definition) {
      const item = remove(runId);
      if (item === null || (item.fence === fence - 1 && item.definition === definition)) {
        return item;
      }
      item.execution.abandon("EVICTED");
      return null;
    },
    peek(runId, fence) {
      const item = items.get(runId);
      return item?.fence === fence ? item : null;
    },
    drop,
    clear() {
      for (const runId of [...items.keys()]) {
        drop(runId);
      }
    },
  };
}
