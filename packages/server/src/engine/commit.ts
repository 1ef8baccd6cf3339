/**
 * A batch of operations in one transaction: load, decide, write, commit. A batch that loses a race is decided again.
 * `UnitOfWork` holds the rows and the decisions; `settle` carries out what decisions ask for, and saves everything.
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
import type { Rows } from "./rows.ts";
import { insertStarts } from "./starts.ts";
import { RunsChanged, UnitOfWork } from "./unit-of-work.ts";

/** How often a batch is decided again before its callers are told to come back. */
const maxTries = 10;

export interface Committed {
  results: Result[];
  changed: Run[];
  /** Runs that became queued. */
  queued: Run[];
  /** What the transaction found. */
  fenceFloor: number;
}

export interface Committer {
  storage: Storage;
  rows: Rows;
  cache: QueueCache;
  settings: Settings;
  /** The first moment that this server read off the database's clock since the fence floor rose last. */
  bootAt: number | null;
  /** The latest that was found. */
  fenceFloor: number;
}

/** Forgets what was known of runs when the fence floor has risen. To be called with what each transaction found. */
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
  /** Runs that each claim took from the cache: a repetition tries the same ones again. */
  offers: Map<Operation, RunId[]>;
  /** An earlier try failed: due runs are left to a later batch. */
  isAgain?: boolean;
  /** What the database's clock says at most; by default what it said. Epoch milliseconds. */
  latest?: number;
}

/** @throws what the storage threw, and `RunsChanged` or a conflict after ten lost races. */
export async function commit(committer: Committer, operations: Operation[]): Promise<Committed> {
  const stale = new Set<RunId>();
  const offers = new Map<Operation, RunId[]>();
  const committed = await commitOptimistically(committer, operations, offers);
  if (committed !== null) {
    return committed;
  }
  for (let tries = 1; ; tries++) {
    try {
      return await committer.storage.transaction((transaction) =>
        commitOnce(committer, transaction, operations, { stale, offers, isAgain: tries > 1 }),
      );
    } catch (error) {
      const lost = error instanceof RunsChanged ? error.runs : isConflict(error) ? [] : null;
      for (const operation of offers.keys()) {
        dropOffers(committer.cache, operation);
      }
      if (lost === null || tries === maxTries) {
        throw error;
      }
      for (const id of lost) {
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

/** What a failed claim took is no longer cached, though it may be queued: the next try or claim scans storage. */
function dropOffers(cache: QueueCache, operation: Operation): void {
  if (operation.type === "claim") {
    cache.invalidate(queuesIn(operation));
  }
}

/**
 * What may wait for locks comes first, and takes them in id order. Due runs, and queued runs that storage finds, come
 * last: of these it takes only rows that no other transaction holds. So no two transactions wait for one another.
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
  // The clock is read once: a moment later it may say more, and what is due is never early.
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
    fenceFloor,
  };
}

function resultOf(results: ReadonlyMap<Operation, Result>, operation: Operation): Result {
  const result = results.get(operation);
  if (result === undefined) {
    throw new Error(`Nothing was decided of a ${operation.type}.`);
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
  // Storage knows that the session holds them; a cached row that says otherwise is another server's past. And whether
  // the code that the session executes has recorded anything, only the journal tells: another server may know more.
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

/** The holder's code recorded nothing of the run before this claim. */
function isOfNewCode({ state, build }: Run): boolean {
  return state.status === "running" && state.holderCode !== undefined && state.holderCode.id !== build?.id;
}

async function sweep(transaction: Transaction, work: UnitOfWork, limit: number): Promise<number> {
  const now = transaction.now();
  const ids = await transaction.due(now, limit);
  work.hold(ids);
  // What is left in storage stays due.
  await fits(work.fetch(ids));
  // Storage knows them as due; a cached row that says otherwise is another server's past.
  await fits(work.refresh(ids.filter((id) => (work.get(id)?.dueAt ?? Number.POSITIVE_INFINITY) > now)));
  for (const id of ids) {
    await work.apply(id, { type: "tick" });
  }
  return ids.length;
}
