/** The named points of a server: around and inside every transaction, and before every reply. */

import { AsyncLocalStorage } from "node:async_hooks";
import type { Api, Signal } from "@aikirun/lib/protocol";
import type { Entry, Run } from "../../packages/server/src/core/run.ts";
import * as postgres from "../../packages/server/src/storage/postgres/statements.ts";
import * as sqlite from "../../packages/server/src/storage/sqlite/statements.ts";
import type { Batch, Storage, Transaction } from "../../packages/server/src/storage/storage.ts";
import type { Reach } from "./fault.ts";
import { kindsOf } from "./worker-points.ts";

/** Wraps a storage so that it reaches points, and observes its connection to know the statements of a transaction. */
export interface Reaching {
  observe: (sql: string) => void;
  around: (storage: Storage) => Storage;
}

/** The progress of one transaction. Several are open at once. */
interface Doing {
  readonly kinds: Set<string>;
  hasEntries: boolean;
}

/**
 * A point is `<kind>.<stage>`. The kind says what the transaction does (`start`, `claim`, `record`, …). Stages:
 * `writing` (nothing is written), `written-in-part` (rows, not yet entries), `committing` (all is written, COMMIT is
 * next), `committed` (durable, but no reply is sent).
 */
export function reachingStorage(reach: Reach): Reaching {
  const open = new AsyncLocalStorage<Doing>();
  const reachAll = ({ kinds }: Doing, stage: string) => {
    for (const kind of kinds) reach(`${kind}.${stage}`);
  };

  const watching = (transaction: Transaction, doing: Doing): Transaction => ({
    ...reading(transaction),
    insert: (runs) => {
      for (const run of runs) doing.kinds.add(kindOfInsert(run));
      reachAll(doing, "writing");
      return transaction.insert(runs);
    },
    save: (batch) => {
      for (const kind of kindsOfBatch(batch)) doing.kinds.add(kind);
      reachAll(doing, "writing");
      return transaction.save(batch);
    },
    reuse: (from, to) => transaction.reuse(from, to),
  });

  return {
    observe(sql) {
      const doing = open.getStore();
      if (doing === undefined || doing.hasEntries || !writesEntries(sql)) return;
      doing.hasEntries = true;
      reachAll(doing, "written-in-part");
    },
    around: (storage) => ({
      read: (work) => storage.read(work),
      close: () => storage.close(),
      async transaction(work) {
        const doing: Doing = { kinds: new Set(), hasEntries: false };
        const decide = async (transaction: Transaction) => {
          doing.kinds.clear();
          doing.hasEntries = false;
          const value = await work(watching(transaction, doing));
          reachAll(doing, "committing");
          return value;
        };
        const result = await open.run(doing, () => storage.transaction(decide));
        reachAll(doing, "committed");
        return result;
      },
    }),
  };
}

function writesEntries(sql: string): boolean {
  return [sqlite, postgres].some(({ insertEntry, copyEntry }) => sql === insertEntry || sql === copyEntry);
}

function reading(transaction: Transaction): Omit<Transaction, "insert" | "save" | "reuse"> {
  return {
    now: () => transaction.now(),
    fenceFloor: () => transaction.fenceFloor(),
    load: (ids) => transaction.load(ids),
    payloads: (ids) => transaction.payloads(ids),
    journal: (requests) => transaction.journal(requests),
    entriesAt: (keys) => transaction.entriesAt(keys),
    queued: (filter, limit) => transaction.queued(filter, limit),
    due: (now, limit) => transaction.due(now, limit),
    hold: (ids) => transaction.hold(ids),
    nextDue: () => transaction.nextDue(),
    children: (parents, limit) => transaction.children(parents, limit),
    claimed: (session, claimIds) => transaction.claimed(session, claimIds),
    inSession: (namespace, session, limit) => transaction.inSession(namespace, session, limit),
    stalledChildren: (parents) => transaction.stalledChildren(parents),
    referenced: (keys) => transaction.referenced(keys),
    find: (namespace, request, listLimits) => transaction.find(namespace, request, listLimits),
    workers: (namespace, at) => transaction.workers(namespace, at),
    stats: (at, limits) => transaction.stats(at, limits),
    all: (after, limit) => transaction.all(after, limit),
    saveWorkers: (workers) => transaction.saveWorkers(workers),
    forgetWorkers: (before) => transaction.forgetWorkers(before),
  };
}

function kindOfInsert({ parent, options }: Run): string {
  if (options.retryOf !== undefined) return "retry";
  return parent === null ? "start" : "child";
}

function kindsOfBatch({ changes, holds, entries }: Batch): Set<string> {
  const kinds = new Set(entries.map(kindOfEntry).filter((kind) => kind !== null));
  for (const { before, after } of changes) {
    const kind = kindOfChange(before, after);
    if (kind !== null) kinds.add(kind);
    else if (!entries.some(({ runId }) => runId === after.id)) kinds.add("renew");
  }
  if (holds.length > 0) kinds.add("record");
  return kinds;
}

function kindOfEntry({ address, value, worker }: Entry): string | null {
  switch (value.type) {
    case "arrived":
      return "event";
    case "elapsed":
      return "elapse";
    case "marked":
      return value.mark;
    case "started":
      return "child";
    case "returned":
    case "threw":
      return address.endsWith("/result") && worker === undefined ? "child-result" : "record";
    case "retrying":
    case "observed":
    case "asked":
    case "reused":
    case "withdrawn":
      return "record";
    case "received":
      return null;
    default:
      return value satisfies never;
  }
}

/** Null for a change that its entries already identify. */
function kindOfChange(before: Run, after: Run): string | null {
  const from = before.state.status;
  const to = after.state.status;
  if (after.fence > before.fence) return "claim";
  if (to === "completed" || to === "failed") return from === "running" ? "finish" : null;
  if (from !== "running") return from === to ? null : `${from}-${to}`;
  if (to === "queued") return "release";
  return to === "running" ? null : "suspend";
}

/** Adds the stages `asked` (nothing is done yet) and `answering` (all is done, the reply is not yet sent). */
export function reachingServerApi(api: Api, reach: Reach): Api {
  const around = async <Reply>(kinds: Iterable<string>, call: () => Promise<Reply>): Promise<Reply> => {
    const all = new Set(kinds);
    for (const kind of all) reach(`${kind}.asked`);
    const reply = await call();
    for (const kind of all) reach(`${kind}.answering`);
    return reply;
  };
  return {
    ...api,
    start: (request, options) => around(["start"], () => api.start(request, options)),
    report: (request, options) => around(request.reports.flatMap(kindsOf), () => api.report(request, options)),
    signal: (request, options) =>
      around(
        request.signals.map(({ signal }) => kindOfSignal(signal)),
        () => api.signal(request, options),
      ),
    renew: (request, options) => around(request.runs.length > 0 ? ["renew"] : [], () => api.renew(request, options)),
    async claim(request, options) {
      const reply = await api.claim(request, options);
      if (reply.runs.length > 0) reach("claim.answering");
      return reply;
    },
  };
}

function kindOfSignal({ type }: Signal): string {
  return type;
}
