/** Measures the operations of a storage. */

import type { Env, Metrics } from "@aikirun/lib";
import { createCounter, createHistogram } from "@aikirun/lib/internal";
import type { Storage } from "../storage/storage.ts";
import * as definitions from "./definitions.ts";

/** Returns a function that counts one fault of the database by its error code. */
export function storeErrors(metrics: Metrics): (code: string) => void {
  const errors = createCounter(metrics, definitions.storeErrors);
  return (code) => errors.inc({ code }, 1);
}

/** The same storage; the time of every operation is measured, whether it succeeds or fails. */
export function measuredStorage(storage: Storage, metrics: Metrics, env: Pick<Env, "elapsed">): Storage {
  const duration = createHistogram(metrics, definitions.storeDuration);
  const measure = <T>(operation: string, result: Promise<T>): Promise<T> => {
    const began = env.elapsed();
    return result.finally(() => duration.observe({ operation }, (env.elapsed() - began) / 1_000));
  };
  const { lanes, optimistic } = storage;
  return {
    transaction: (work) => measure("transaction", storage.transaction(work)),
    read: (work) => measure("read", storage.read(work)),
    close: () => storage.close(),
    ...(lanes === undefined ? {} : { lanes }),
    ...(optimistic === undefined
      ? {}
      : { optimistic: { now: () => optimistic.now(), write: (batch) => measure("write", optimistic.write(batch)) } }),
  };
}
