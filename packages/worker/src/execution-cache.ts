import type { ErrorCode } from "@aikirun/lib";
import type { RunId } from "@aikirun/lib/protocol";

/** A suspended execution. */
export interface Cacheable {
  readonly runId: RunId;
  /** The fence of the claim under which it was suspended. */
  readonly fence: number;
  /** The workflow version that it executes. */
  readonly definition: unknown;
  /** Its estimated memory. Bytes. */
  readonly size: number;
  /** Ends the execution: it is never resumed, and its handler's calls have no effect. */
  abandon(code: ErrorCode): void;
}

/** Limits of the cache. Above a limit, the least recently suspended executions are evicted. */
export interface CacheLimits {
  readonly executions: number;
  /** The total size of all executions. A single larger execution is not cached. */
  readonly bytes: number;
}

const maxExecutions = 1_000;

/**
 * The part of the heap that the values of cached executions may use, measured as JSON text. A value in memory takes
 * several times the bytes of its JSON text, and running executions need memory as well.
 */
const heapShare = 1 / 8;

/** The limits for one of the `workers` of a process whose heap may grow to `heapLimitBytes`. */
export function cacheLimits(heapLimitBytes: number, workers: () => number): CacheLimits {
  return {
    executions: maxExecutions,
    get bytes() {
      return (heapLimitBytes * heapShare) / Math.max(1, workers());
    },
  };
}

/**
 * The suspended executions that a worker keeps in memory, to resume them without replay.
 *
 * An evicted execution is removed from the cache but not abandoned. When its run is next claimed, the run is replayed
 * from the journal. Its handler may still await non-durable work. If this work ends and the handler makes a durable
 * call, the execution is reserved in the cache, and the worker claims the run for it.
 */
export class ExecutionCache<Item extends Cacheable> {
  readonly #limits: CacheLimits;
  /** The least recently suspended one first. */
  readonly #items = new Map<RunId, Item>();
  readonly #sizes = new Map<RunId, number>();
  /** Executions for which a claim is in progress: the limits do not apply to them. */
  readonly #reserved = new Map<RunId, Item>();
  #bytes = 0;

  constructor(limits: CacheLimits) {
    this.#limits = limits;
  }

  /** Caches the execution if it fits within the limits. May evict others. */
  put(item: Item): void {
    this.drop(item.runId);
    const { size } = item;
    if (size > this.#limits.bytes) return;
    this.#items.set(item.runId, item);
    this.#sizes.set(item.runId, size);
    this.#bytes += size;
    for (const runId of this.#items.keys()) {
      if (this.#items.size <= this.#limits.executions && this.#bytes <= this.#limits.bytes) break;
      this.#remove(runId);
    }
  }

  /**
   * Caches the execution without limits until it is taken or dropped, because its run is being claimed for it. Returns
   * false, and caches nothing, when the cache holds an execution of the run that was suspended later.
   */
  reserve(item: Item): boolean {
    const other = this.#find(item.runId);
    if (other !== null && other.fence > item.fence) return false;
    this.#remove(item.runId);
    if (other !== item) other?.abandon("EVICTED");
    this.#reserved.set(item.runId, item);
    return true;
  }

  /**
   * Removes and returns the execution of the run, if it was suspended under the previous fence and executes the same
   * code. Otherwise abandons the cached execution of the run and returns null.
   */
  take(runId: RunId, fence: number, definition: unknown): Item | null {
    const item = this.#remove(runId);
    if (item === null || (item.fence === fence - 1 && item.definition === definition)) return item;
    item.abandon("EVICTED");
    return null;
  }

  /** The cached execution of the run, if it was suspended under this fence. */
  peek(runId: RunId, fence: number): Item | null {
    const item = this.#find(runId);
    return item?.fence === fence ? item : null;
  }

  /** Abandons the cached execution of one run. */
  drop(runId: RunId): void {
    this.#remove(runId)?.abandon("EVICTED");
  }

  /** Abandons all cached executions. */
  clear(): void {
    for (const runId of [...this.#items.keys(), ...this.#reserved.keys()]) this.drop(runId);
  }

  #find(runId: RunId): Item | null {
    return this.#reserved.get(runId) ?? this.#items.get(runId) ?? null;
  }

  #remove(runId: RunId): Item | null {
    const item = this.#find(runId);
    this.#reserved.delete(runId);
    this.#items.delete(runId);
    this.#bytes -= this.#sizes.get(runId) ?? 0;
    this.#sizes.delete(runId);
    return item;
  }
}
