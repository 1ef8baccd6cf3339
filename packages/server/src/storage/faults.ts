/**
 * Logs the faults of a storage. No other code logs them:
 *
 *   works ── a fault: warning ──> fails ── a success, 5 s after the last fault: info with the count ──> works
 *
 * While the storage fails, faults with the same code are logged once a minute.
 */

import { type AikiError, type Env, isAikiError, type Logger } from "@aikirun/lib";
import type { Keys } from "./keys.ts";
import type { Storage } from "./storage.ts";

/** The storage works again when an operation succeeds and none has failed for this long. Milliseconds. */
const settledMs = 5_000;

/** How often faults with the same code are logged. Milliseconds. */
const sameFaultMs = 60_000;

/** A success of `read` does not show that a full or read-only database works again after a fault of `write`. */
type Access = "read" | "write";

interface Failing {
  since: number;
  lastFaultAt: number;
  count: number;
  access: Access;
  /** When a fault with this code was logged last. */
  loggedAt: Map<string, number>;
}

export interface StorageFaultsOptions {
  env: Pick<Env, "elapsed">;
  logger: Logger;
  count?: (code: string) => void;
}

/** Logs the faults of the operations that it observes. */
export class StorageFaults {
  readonly #env: Pick<Env, "elapsed">;
  readonly #logger: Logger;
  readonly #count: (code: string) => void;
  #failing: Failing | null = null;

  /** `count` receives the code of every fault, logged or not. */
  constructor({ env, logger, count }: StorageFaultsOptions) {
    this.#count = count ?? (() => {});
    this.#env = env;
    this.#logger = logger;
  }

  /** Settles as the operation does. */
  observe<T>(access: Access, operation: Promise<T>): Promise<T> {
    return operation.then(
      (result) => {
        if (this.#failing !== null) this.#succeeded(access, this.#failing);
        return result;
      },
      (error) => {
        if (isFault(error)) this.#failed(access, error);
        throw error;
      },
    );
  }

  #failed(access: Access, error: AikiError): void {
    this.#count(error.code);
    const now = this.#env.elapsed();
    this.#failing ??= { since: now, lastFaultAt: now, count: 0, access, loggedAt: new Map() };
    const failing = this.#failing;
    failing.lastFaultAt = now;
    failing.count += 1;
    if (access === "write") failing.access = "write";
    if (now - (failing.loggedAt.get(error.code) ?? Number.NEGATIVE_INFINITY) < sameFaultMs) return;
    failing.loggedAt.set(error.code, now);
    const fields = { code: error.code, faults: failing.count, error };
    if (error.code === "STORAGE_FAILED") this.#logger.error("the database refused what the server asked", fields);
    else this.#logger.warn("the database fails", fields);
  }

  #succeeded(access: Access, { since, lastFaultAt, count, access: failed }: Failing): void {
    if (access === "read" && failed === "write") return;
    if (this.#env.elapsed() - lastFaultAt < settledMs) return;
    this.#failing = null;
    this.#logger.info("the database works again", { faults: count, failedForMs: Math.round(lastFaultAt - since) });
  }
}

/** The same storage; its faults are logged. */
export function observedStorage(storage: Storage, faults: StorageFaults): Storage {
  const { lanes, optimistic } = storage;
  return {
    transaction: (work) => faults.observe("write", storage.transaction(work)),
    read: (work) => faults.observe("read", storage.read(work)),
    close: () => storage.close(),
    ...(lanes === undefined ? {} : { lanes }),
    ...(optimistic === undefined
      ? {}
      : {
          optimistic: {
            now: () => optimistic.now(),
            write: (batch) => faults.observe("write", optimistic.write(batch)),
          },
        }),
  };
}

/** The same keys; their faults are logged. */
export function observedKeys(keys: Keys, faults: StorageFaults): Keys {
  return {
    insert: (key) => faults.observe("write", keys.insert(key)),
    load: (ids) => faults.observe("read", keys.load(ids)),
    list: (after, limit) => faults.observe("read", keys.list(after, limit)),
    revoke: (id) => faults.observe("write", keys.revoke(id)),
    touch: (ids) => faults.observe("write", keys.touch(ids)),
  };
}

/** Not a fault: a conflict, which is decided again, and a storage that the server itself has closed. */
function isFault(error: unknown): error is AikiError {
  if (!isAikiError(error) || error.code === "STORAGE_CONFLICT" || error.code === "STORAGE_CLOSED") return false;
  return error.code.startsWith("STORAGE_") || error.code === "ROW_UNREADABLE";
}
