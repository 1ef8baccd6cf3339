import type { AikiError } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";

/** A suspended execution that stays in memory. */
export interface Parkable {
  readonly runId: RunId;
  /** Of the claim under which it parked. */
  readonly fence: number;
  /** The code that it executes. */
  readonly definition: unknown;
  readonly execution: {
    /** How much memory it is thought to hold, in bytes. */
    readonly size: number;
    abandon(code: AikiError["code"]): void;
  };
}

/** Bounds of what is kept in memory. When one is passed, the least recently suspended executions are let go. */
export interface ParkedLimits {
  readonly executions: number;
  /** In all of them together. An execution that is larger by itself does not stay at all. */
  readonly bytes: number;
}

const mostExecutions = 1_000;

/**
 * The part of the heap that suspended executions may fill with what was delivered to them. A value takes several times
 * the bytes of its JSON text, and the runs under way need room as well.
 */
const heapShare = 1 / 8;

/** Bounds for each of the `workers` of a process whose heap may grow to `heapLimitBytes`. */
export function parkedLimits(heapLimitBytes: number, workers: () => number): ParkedLimits {
  return {
    executions: mostExecutions,
    get bytes() {
      return (heapLimitBytes * heapShare) / Math.max(1, workers());
    },
  };
}

export interface Parked<Item extends Parkable> {
  /** Keeps it if there may be room for it, for which others may be let go. */
  put(item: Item): void;
  /**
   * Keeps it, whatever room there is, until it is taken or given up: its run is being claimed for it. False, and it is
   * not kept, when one is there that parked later.
   */
  want(item: Item): boolean;
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

/**
 * The least recently suspended execution is let go first: nothing here refers to it any more, and its run is replayed
 * from the journal when it is next claimed. Its handler may still await something that is not durable. When that ends,
 * and the handler makes a durable call, the worker wants the execution back and claims its run.
 */
export function parked<Item extends Parkable>(limits: ParkedLimits): Parked<Item> {
  const items = new Map<RunId, Item>();
  const sizes = new Map<RunId, number>();
  const wanted = new Map<RunId, Item>();
  let bytes = 0;

  const remove = (runId: RunId): Item | null => {
    const item = wanted.get(runId) ?? items.get(runId) ?? null;
    wanted.delete(runId);
    items.delete(runId);
    bytes -= sizes.get(runId) ?? 0;
    sizes.delete(runId);
    return item;
  };
  const drop = (runId: RunId) => remove(runId)?.execution.abandon("EVICTED");

  return {
    put(item) {
      drop(item.runId);
      const { size } = item.execution;
      if (size > limits.bytes) {
        return;
      }
      items.set(item.runId, item);
      sizes.set(item.runId, size);
      bytes += size;
      for (const runId of items.keys()) {
        if (items.size <= limits.executions && bytes <= limits.bytes) {
          break;
        }
        remove(runId);
      }
    },
    want(item) {
      const other = wanted.get(item.runId) ?? items.get(item.runId);
      if (other !== undefined && other.fence > item.fence) {
        return false;
      }
      remove(item.runId);
      if (other !== item) {
        other?.execution.abandon("EVICTED");
      }
      wanted.set(item.runId, item);
      return true;
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
      const item = wanted.get(runId) ?? items.get(runId);
      return item?.fence === fence ? item : null;
    },
    drop,
    clear() {
      for (const runId of [...items.keys(), ...wanted.keys()]) {
        drop(runId);
      }
    },
  };
}
