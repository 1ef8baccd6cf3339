import { AikiError } from "./error.ts";

/** Options of a `batcher`. */
export interface BatchOptions<Item, Result> {
  /** Sends one batch. Resolves with one result per item, in the order of the items. */
  send: (items: Item[]) => Promise<Result[]>;
  /** The most items of one batch. */
  max: number;
  /** How many batches may be in flight at once (lanes). Default 1. Free lanes share the waiting items. */
  lanes?: number;
  /** Delays each batch: items that arrive meanwhile join it. Default: until after the current microtask. */
  soon?: (then: () => void) => void;
  /** The weight of an item, for example its bytes. */
  weigh?: (item: Item) => number;
  /** The largest total weight of a batch; a heavier item is sent alone. */
  maxWeight?: number;
}

/** Up to this number of items are sent together even if another lane is free. */
const minShare = 16;

interface Waiting<Item, Result> {
  item: Item;
  weight: number;
  resolve: (result: Result) => void;
  reject: (reason: unknown) => void;
}

/**
 * Sends items in batches. One `send` is in flight at a time (or one for each lane); items that arrive meanwhile form
 * the next batch. The first item waits only for `soon`, so a single item is not delayed, and many items form large
 * batches without a timer.
 * A `send` that rejects rejects all of its items, and those only; a wrong number of results is `BATCH_MISMATCH`.
 */
export function batcher<Item, Result>(options: BatchOptions<Item, Result>): (item: Item) => Promise<Result> {
  const {
    send,
    max,
    lanes = 1,
    soon = queueMicrotask,
    weigh = () => 0,
    maxWeight = Number.POSITIVE_INFINITY,
  } = options;
  let waiting: Array<Waiting<Item, Result>> = [];
  let inFlight = 0;
  let isPlanned = false;

  const take = (): Array<Waiting<Item, Result>> => {
    const most = Math.min(max, Math.max(minShare, Math.ceil(waiting.length / (lanes - inFlight))));
    let count = 0;
    let weight = 0;
    for (const next of waiting) {
      weight += next.weight;
      if (count > 0 && (count >= most || weight > maxWeight)) break;
      count++;
    }
    const batch = waiting.slice(0, count);
    waiting = waiting.slice(count);
    return batch;
  };

  const plan = (): void => {
    if (isPlanned || inFlight === lanes || waiting.length === 0) return;
    isPlanned = true;
    soon(() => {
      isPlanned = false;
      void flush();
    });
  };

  const flush = async (): Promise<void> => {
    const batch = take();
    inFlight += 1;
    plan();
    try {
      settle(batch, await send(batch.map(({ item }) => item)));
    } catch (reason) {
      for (const { reject } of batch) reject(reason);
    }
    inFlight -= 1;
    plan();
  };

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, weight: weigh(item), resolve, reject });
      plan();
    });
}

function settle<Item, Result>(batch: ReadonlyArray<Waiting<Item, Result>>, results: readonly Result[]): void {
  if (results.length !== batch.length) {
    const counts = `${results.length} results for ${batch.length} items`;
    throw new AikiError(
      "BATCH_MISMATCH",
      `The reply to a batch has ${counts}; use the same version for client and server.`,
    );
  }
  for (const [index, result] of results.entries()) batch[index]?.resolve(result);
}
