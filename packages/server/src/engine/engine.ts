/** The shell: collects requests of callers, decides and commits them in batches, then notifies. It has no rules. */

import { setMaxListeners } from "node:events";
import { getHeapStatistics } from "node:v8";
import { AikiError, type Env, type Logger } from "@aikirun/lib";
import { batcher } from "@aikirun/lib/internal";
import { type Api, limits, type WakeUpStreams } from "@aikirun/lib/protocol";
import type { Settings } from "../core/run.ts";
import type { Notifier } from "../delivery/notifier.ts";
import { QueueCache } from "../delivery/queue-cache.ts";
import { RowsLeft } from "../storage/heavy.ts";
import type { Storage } from "../storage/storage.ts";
import { createApi } from "./api.ts";
import { runChanges } from "./changes.ts";
import { Clock } from "./clock.ts";
import { type Committed, type Committer, commit, keepUp } from "./commit.ts";
import { listQueue } from "./list-queue.ts";
import type { Operation, Result } from "./operation.ts";
import type { PendingClaimsContext } from "./pending-claims.ts";
import { propagate, receive } from "./propagate.ts";
import { cachedRows, type RowCache, rowsBytes } from "./rows.ts";
import { RunsChanged } from "./unit-of-work.ts";
import { WorkerRegistry } from "./worker-registry.ts";

export interface EngineOptions {
  storage: Storage;
  /** Notifies other servers, and workers; null if there are none to notify. */
  notifier?: Notifier | null;
  env: Env;
  settings?: Partial<Settings>;
  logger: Logger;
  /** Receives every committed batch: its operations, their results, and the rows that changed. */
  observe?: (batch: ObservedBatch) => void;
}

export interface ObservedBatch extends Committed {
  operations: Operation[];
}

export interface Engine {
  /** The eight verbs for one namespace: the same object at each call with the same name. */
  api(namespace: string): Api;
  /** Starts the clock. */
  start(): Promise<void>;
  /** Rejects new requests, answers pending ones, and finishes the batch in flight. May be called twice. */
  close(): Promise<void>;
}

/** Operations decided in one transaction: few enough that a blocking database blocks for milliseconds. */
const batchSize = 200;

/** Lists that are read at once: few enough that connections remain free for other reads. */
const listsAtOnce = 2;
/** Lists that may wait for those; further ones are refused as `UNAVAILABLE`. */
const listsWaiting = 100;

const defaultSettings: Settings = {
  unconfirmedLeaseMs: 10_000,
  redeliverMs: 5_000,
  maxRedeliverMs: 300_000,
  maxCrashes: 5,
  maxOpenWaits: limits.openWaits,
  aliveMs: 90_000,
};

export function createEngine(options: EngineOptions): Engine {
  const { storage, env, settings, logger, observe, notifier = null } = options;
  const rows = cachedRows(rowsBytes(getHeapStatistics().heap_size_limit));
  const cache = new QueueCache(env);
  const changes = runChanges();
  const closing = new AbortController();
  // Every long poll adds a listener; more than ten are not a leak.
  setMaxListeners(0, closing.signal);
  const committer: Committer = {
    storage,
    rows,
    cache,
    settings: { ...defaultSettings, ...settings },
    bootAt: null,
    fenceFloor: 0,
  };
  let underWay = 0;
  let drained = () => {};

  const propagation = { rows, cache, changes, notifier };

  const send = async (operations: Operation[]): Promise<Result[]> => {
    let committed: Committed;
    try {
      committed = await commit(committer, operations);
    } catch (error) {
      if (error instanceof RowsLeft && operations.length > 1) return inParts(operations, send);
      forget(rows, operations);
      // An operation that cannot be decided or stored must not fail the others.
      if (operations.length > 1 && isOfOne(error)) {
        return (await Promise.all(operations.map((operation) => send([again(operation)])))).flat();
      }
      const fault: Result = { type: "fault", error: asUnavailable(error, logger) };
      return operations.map(({ type }) =>
        error instanceof RowsLeft && type === "sweep" ? { type, due: null } : fault,
      );
    }
    clock.expect(propagate(propagation, committed));
    try {
      observe?.({ ...committed, operations });
    } catch (error) {
      logger.error("An observer of the engine threw", { error });
    }
    return committed.results;
  };

  const enqueue = batcher<Operation, Result>({ ...batches, lanes: storage.lanes ?? 1, soon: env.soon, send });

  const over = () => {
    underWay -= 1;
    if (underWay === 0) {
      drained();
    }
  };

  const submit = (operation: Operation): Promise<Exclude<Result, { type: "fault" }>> => {
    if (closing.signal.aborted) return Promise.reject(closed());
    underWay += 1;
    return enqueue(operation).then(
      (result) => {
        over();
        if (result.type === "fault") {
          throw result.error;
        }
        return result;
      },
      (error) => {
        over();
        throw error;
      },
    );
  };

  const reading = readable(committer);
  const reaching = { ...reading, transaction: storage.transaction.bind(storage) };

  const lists = listQueue({ atOnce: listsAtOnce, waiting: listsWaiting });

  const clock = new Clock({ env, storage: reaching, submit, logger, closing: closing.signal });

  const { aliveMs } = committer.settings;
  const registry = new WorkerRegistry({ env, storage: reaching, logger, aliveMs });

  const publish: PendingClaimsContext["publish"] = (queues) => notifier?.publish({ changed: [], queues });
  const shared = { env, storage: reading, lists, rows, cache, changes, registry, submit, publish };
  const api = once((namespace) =>
    createApi({ ...shared, namespace, streams: () => streamsOf(notifier, namespace), closing: closing.signal }),
  );

  return {
    api,
    async start() {
      await clock.start();
      notifier?.onMessage((notification) => receive(propagation, notification));
    },
    async close() {
      closing.abort();
      clock.stop();
      if (underWay > 0) {
        await new Promise<void>((resolve) => {
          drained = resolve;
        });
      }
      await registry.close();
      await notifier?.close();
    },
  };
}

function streamsOf(notifier: Notifier | null, namespace: string): WakeUpStreams | undefined {
  const prefix = notifier?.wakeUpPrefix;
  return prefix === undefined ? undefined : { prefix, namespace };
}

/** Calls `make` once for each name. */
function once<T>(make: (name: string) => T): (name: string) => T {
  const made = new Map<string, T>();
  return (name) => {
    const one = made.get(name) ?? make(name);
    made.set(name, one);
    return one;
  };
}

/** A retry may copy an input of 2 MB and a journal, so few of them share a transaction. */
function weightOf(operation: Operation): number {
  return operation.type === "command" && operation.command.type === "retry" ? batchSize / 8 : 1;
}

const batches = { max: batchSize, weigh: weightOf, maxWeight: batchSize };

/** The cached rows may be why the batch failed. */
function forget(rows: RowCache, operations: Operation[]): void {
  for (const operation of operations) {
    if (operation.type === "command") {
      rows.forget(operation.to);
    }
  }
}

/** Reads that handle a raised fence floor and storage faults as transactions do. */
function readable(committer: Committer): Pick<Storage, "read"> {
  return {
    read: (work) =>
      committer.storage
        .read((reader) => {
          keepUp(committer, reader.fenceFloor());
          return work(reader);
        })
        .catch((error) => {
          throw isStorageFault(error) ? unavailable(error) : error;
        }),
  };
}

/** A failed commit may have been applied. Every other operation is idempotent by id; a claim names the earlier one. */
function again(operation: Operation): Operation {
  return operation.type === "claim"
    ? { ...operation, repeats: [...operation.repeats, operation.request.claimId] }
    : operation;
}

/** Whether a single operation may have made the batch fail; otherwise the database would fail every operation. */
function isOfOne(error: unknown): boolean {
  return !(error instanceof AikiError) || error.code === "STORAGE_FAILED" || error.code === "ROW_UNREADABLE";
}

function closed(): AikiError {
  return new AikiError(
    "UNAVAILABLE",
    "This server is shutting down; repeat the request, or send it to another server.",
  );
}

/** Rows that do not fit into one transaction are loaded in two, one after the other. */
async function inParts(
  operations: Operation[],
  send: (operations: Operation[]) => Promise<Result[]>,
): Promise<Result[]> {
  const half = Math.ceil(operations.length / 2);
  return [...(await send(operations.slice(0, half))), ...(await send(operations.slice(half)))];
}

/** Storage faults are already in the log; other errors are faults of this server and are logged here. */
function asUnavailable(error: unknown, logger: Logger): AikiError {
  if (error instanceof AikiError && !isStorageFault(error)) {
    return error;
  }
  if (!(error instanceof AikiError || error instanceof RunsChanged || error instanceof RowsLeft)) {
    logger.error("A transaction failed", { error });
  }
  return unavailable(error);
}

function unavailable(error: unknown): AikiError {
  return new AikiError("UNAVAILABLE", "The database could not carry out the request; it is safe to repeat it.", {
    cause: error,
  });
}

function isStorageFault(error: unknown): boolean {
  return error instanceof AikiError && (error.code.startsWith("STORAGE_") || error.code === "ROW_UNREADABLE");
}
