/**
 * A batch of operations in one transaction: load, decide, write, commit. If it conflicts with another transaction, it
 * is decided again. `UnitOfWork` has the rows and decisions; `settle` carries out the effects and saves everything.
 */

import type { RunId } from "@aikirun/lib/protocol";
import { holderOf } from "../core/claim.ts";
import type { DecisionContext, Run, Settings } from "../core/run.ts";
import type { QueueCache } from "../delivery/queue-cache.ts";
import { fits } from "../storage/heavy.ts";
import { isConflict, type Storage, type Transaction } from "../storage/storage.ts";
import { answer } from "./answers.ts";
import { replyBudget } from "./budget.ts";
import { beginClaim, type Claiming, endClaim, queuesIn } from "./claims.ts";
import { settle } from "./effects.ts";
import type { Operation, Result } from "./operation.ts";
import { NeedsLoad, optimisticTransaction } from "./optimistic.ts";
import type { RowCache } from "./rows.ts";
import { insertStarts } from "./starts.ts";
import { RunsChanged, type Transition, UnitOfWork } from "./unit-of-work.ts";

/** How many times a batch is decided. If the last one conflicts too, its callers get `UNAVAILABLE`. */
const maxTries = 10;

export interface Committed {
  results: Result[];
  changed: Run[];
  /** Runs that became queued. */
  queued: Run[];
  /** Runs that were inserted or changed, as they were before the transaction and as they are after it. */
  transitions: Transition[];
  /** As read by the transaction. */
  fenceFloor: number;
}

export interface Committer {
  storage: Storage;
  rows: RowCache;
  cache: QueueCache;
  settings: Settings;
  /** The first time that this server read from the database's clock after the fence floor last rose; null before. */
  bootAt: number | null;
  /** The highest one that a transaction of this server has read. */
  fenceFloor: number;
}

/** Clears all caches of runs if the fence floor has risen. To be called with the fence floor of every transaction. */
export function keepUp(committer: Committer, fenceFloor: number): void {
  if (fenceFloor > committer.fenceFloor) {
    committer.fenceFloor = fenceFloor;
    committer.bootAt = null;
    committer.rows.rise(fenceFloor);
    committer.cache.invalidate();
  }
}

interface Try {
  /** Runs that earlier tries found changed by other transactions. */
  stale: Set<RunId>;
  /** Runs that each claim took from the queue cache: the next try takes the same ones. */
  offers: Map<Operation, RunId[]>;
  /** An earlier try failed: due runs are left to a later batch. */
  isAgain?: boolean;
  /** The database's clock is not ahead of this; default: the time of the transaction. Epoch milliseconds. */
  latest?: number;
}

/** @throws what the storage threw, and `RunsChanged` or a conflict after ten conflicts. */
export async function commit(committer: Committer, operations: Operation[]): Promise<Committed> {
  const stale = new Set<RunId>();
  const offers = new Map<Operation, RunId[]>();
  const dropAllOffers = () => {
    for (const operation of offers.keys()) dropOffers(committer.cache, operation);
  };
  const committed = await commitOptimistically(committer, operations, offers).catch((error: unknown) => {
    dropAllOffers();
    throw error;
  });
  if (committed !== null) {
    return committed;
  }
  for (let tries = 1; ; tries++) {
    try {
      return await committer.storage.transaction((transaction) =>
        commitOnce(committer, transaction, operations, { stale, offers, isAgain: tries > 1 }),
      );
    } catch (error) {
      const conflicting = error instanceof RunsChanged ? error.runs : isConflict(error) ? [] : null;
      dropAllOffers();
      if (conflicting === null || tries === maxTries) {
        throw error;
      }
      for (const id of conflicting) {
        stale.add(id);
        committer.rows.forget(id);
      }
    }
  }
}

/** Null when something must be loaded first, or the write found a conflict. */
async function commitOptimistically(
  committer: Committer,
  operations: Operation[],
  offers: Map<Operation, RunId[]>,
): Promise<Committed | null> {
  const { optimistic } = committer.storage;
  const time = optimistic?.now() ?? null;
  if (optimistic === undefined || time === null) {
    return null;
  }
  const transaction = optimisticTransaction(time);
  try {
    const tried = { stale: new Set<RunId>(), offers, latest: time.latest };
    const committed = await commitOnce(committer, transaction, operations, tried);
    return (await optimistic.write(transaction.batch)) ? committed : null;
  } catch (error) {
    if (error instanceof NeedsLoad) {
      return null;
    }
    throw error;
  }
}

/** The runs that a failed claim took may be queued but are no longer cached: the next try or claim scans storage. */
function dropOffers(cache: QueueCache, operation: Operation): void {
  if (operation.type === "claim") {
    cache.invalidate(queuesIn(operation));
  }
}

/**
 * Operations that may wait for locks come first, and lock rows in id order. Due runs, and queued runs that a scan
 * finds, come last: of these it locks only rows that no other transaction has locked. So transactions never deadlock.
 */
async function commitOnce(
  committer: Committer,
  transaction: Transaction,
  operations: Operation[],
  { stale, offers, isAgain = false, latest }: Try,
): Promise<Committed> {
  const { rows, cache, settings } = committer;
  const now = transaction.now();
  const fenceFloor = transaction.fenceFloor();
  keepUp(committer, fenceFloor);
  committer.bootAt ??= now;
  const moment: DecisionContext = { now, latest: latest ?? now, bootAt: committer.bootAt, fenceFloor, settings };
  const work = new UnitOfWork({ transaction, moment, rows, stale });
  const starts = await insertStarts(transaction, work, operations, moment);
  const commands = operations.filter((operation) => operation.type === "command");
  await work.fetch(commands.map(({ to }) => to));
  const left = commands.filter(({ command }) => command.type === "leave").flatMap(({ to }) => work.get(to) ?? []);
  await work.refresh(left.filter(isOfNewCode).map(({ id }) => id));
  await work.loadTaken(commands);
  const results = new Map<Operation, Result>();
  const reply = replyBudget();
  for (const command of commands) {
    const answered = answer({ transaction, work, reply }, command);
    results.set(command, { type: "command", answer: answered instanceof Promise ? await answered : answered });
  }
  for (const leaving of operations.filter((operation) => operation.type === "leave")) {
    results.set(leaving, { type: "leave", released: await release(transaction, work, leaving) });
  }
  const taken = new Set<RunId>();
  const claims: Claiming[] = [];
  for (const operation of operations.filter((one) => one.type === "claim")) {
    claims.push(
      await beginClaim({ transaction, work, cache, moment, offers, taken, reply, inputs: new Set(), operation }),
    );
  }
  const sweeps = operations.filter((operation) => operation.type === "sweep");
  if (sweeps.length > 0 || claims.some(({ mustScan }) => mustScan)) {
    await settle(transaction, work);
  }
  for (const operation of sweeps) {
    const due = isAgain ? null : await sweep(transaction, work, operation.limit);
    results.set(operation, { type: "sweep", due });
  }
  for (const claiming of claims) {
    results.set(claiming.context.operation, { type: "claim", ...(await endClaim(claiming)) });
  }
  await settle(transaction, work);
  for (const [operation, result] of starts) {
    results.set(operation, { type: "start", result });
  }
  const { changed, queued } = work.outcome();
  const started = [...starts].flatMap(([{ spec }, result]) => (result.ok && result.created ? [spec.id] : []));
  const startsQueued = started.flatMap((id) => work.get(id) ?? []).filter(({ state }) => state.status === "queued");
  return {
    results: operations.map((operation) => resultOf(results, operation)),
    changed,
    queued: [...queued, ...startsQueued],
    transitions: work.transitions(),
    fenceFloor,
  };
}

function resultOf(results: ReadonlyMap<Operation, Result>, operation: Operation): Result {
  const result = results.get(operation);
  if (result === undefined) {
    throw new Error(`An operation of type ${operation.type} has no result.`);
  }
  return result;
}

async function release(
  transaction: Transaction,
  work: UnitOfWork,
  { namespace, session, limit }: Extract<Operation, { type: "leave" }>,
): Promise<number> {
  const ids = await transaction.inSession(namespace, session, limit);
  const isAll = await fits(work.fetch(ids));
  // Storage says that the session holds them: a cached row that says otherwise is stale, as another server changed it.
  // Nor does a cached row show whether the session's code has recorded anything through another server.
  const stale = ids.filter((id) => {
    const run = work.get(id);
    return run !== undefined && (holderOf(run.state) !== session || isOfNewCode(run));
  });
  const isFresh = await fits(work.refresh(stale));
  for (const id of ids) {
    await work.apply(id, { type: "leave", session });
  }
  return isAll && isFresh ? ids.length : limit;
}

/** Whether the holder's code had recorded nothing of the run when it claimed it. */
function isOfNewCode({ state, build }: Run): boolean {
  return state.status === "running" && state.holderCode !== undefined && state.holderCode.id !== build?.id;
}

async function sweep(transaction: Transaction, work: UnitOfWork, limit: number): Promise<number> {
  const now = transaction.now();
  const ids = await transaction.due(now, limit);
  work.hold(ids);
  // Rows that do not fit stay due.
  await fits(work.fetch(ids));
  // Storage says that they are due: a cached row that says otherwise is stale.
  await fits(work.refresh(ids.filter((id) => (work.get(id)?.dueAt ?? Number.POSITIVE_INFINITY) > now)));
  for (const id of ids) {
    await work.apply(id, { type: "tick" });
  }
  return ids.length;
}
