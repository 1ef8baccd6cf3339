/** Claims: take runs for a worker, and load what it needs to execute them. */

import type { ClaimedRun, ClaimedWait, Entry, QueueKey, RunId } from "@aikirun/lib/protocol";
import { limits, queuesOf } from "@aikirun/lib/protocol";
import type { Claim, DecisionContext, NewFact, Resumable, Run, Wait } from "../core/run.ts";
import { isLoaded, isUnread, isUnreadEnd } from "../core/unread.ts";
import type { QueueCache, ScanRemainder } from "../delivery/queue-cache.ts";
import { fits } from "../storage/heavy.ts";
import { cutJournal, entryBytes } from "../storage/journal.ts";
import type { Transaction } from "../storage/storage.ts";
import { type Budget, parts, replyBudget, waitsBytes } from "./budget.ts";
import { readJournals } from "./journals.ts";
import type { Operation } from "./operation.ts";
import type { UnitOfWork } from "./unit-of-work.ts";
import { whole } from "./whole.ts";

const journalEntries = 1_000_000;
/** The largest entry: a payload and its other fields. Bytes. */
const maxEntryBytes = limits.payloadBytes + 100_000;

export interface ClaimContext {
  transaction: Transaction;
  work: UnitOfWork;
  cache: QueueCache;
  moment: DecisionContext;
  /** Runs that each claim took from the cache. */
  offers: Map<Operation, RunId[]>;
  /** Runs that claims of this transaction have taken. In storage they are still queued. */
  taken: Set<RunId>;
  /** For all answers of this transaction. A claim that finds it spent is repeated in the next transaction. */
  reply: Budget;
  /** Runs whose input is in the reply; the worker reads the others. */
  inputs: Set<RunId>;
  operation: ClaimOperation;
}

export type ClaimOperation = Extract<Operation, { type: "claim" }>;

/** A claim between `beginClaim` and `endClaim`. */
export interface Claiming {
  context: ClaimContext;
  claimed: Run[];
  /** Whether it scans storage for queued runs, which locks them. */
  mustScan: boolean;
}

/** Takes runs without a scan of storage: runs that the caller suspended, runs of lost claims, and cached runs. */
export async function beginClaim(context: ClaimContext): Promise<Claiming> {
  const { request } = context.operation;
  const claimed: Run[] = [];
  // Each claim answers for all runs that it reclaims: the worker takes a run that is missing in the reply as refused.
  const reclaim = request.reclaim ?? [];
  await fetchAll(
    context,
    reclaim.map(({ runId }) => runId),
  );
  for (const { runId, fence } of reclaim) {
    await take(context, runId, { reclaim: fence }, claimed);
  }
  const reclaimed = claimed.length;
  await takeUnanswered(context, claimed);
  if (claimed.length > reclaimed) {
    return { context, claimed, mustScan: false };
  }
  await takeCached(context, claimed);
  const isFull = claimed.length >= request.limit;
  if (!context.reply.isLeft && !isFull) {
    // Runs that it took from the cache may not fit into the reply: the next claim scans storage for them.
    context.cache.invalidate(queuesIn(context.operation));
  }
  const { mustScan } = context.cache.plan(queuesIn(context.operation), 0);
  return { context, claimed, mustScan: mustScan && !isFull && context.reply.isLeft };
}

/** Scans storage if needed, and loads inputs and journals. `more`: the budget is spent, so more runs may be queued. */
export async function endClaim({
  context,
  claimed,
  mustScan,
}: Claiming): Promise<{ runs: ClaimedRun[]; more: boolean }> {
  if (mustScan) {
    await scan(context, claimed);
  }
  const more = !context.reply.isLeft && claimed.length < context.operation.request.limit;
  return { runs: claimed.length === 0 ? [] : await handOut(context, claimed), more };
}

/** Takes runs of claims whose answers were lost, but not more than one claim may take. */
async function takeUnanswered(context: ClaimContext, claimed: Run[]): Promise<void> {
  const { work, operation, transaction } = context;
  const { request, repeats } = operation;
  if (repeats.length === 0) {
    return;
  }
  const ids = await transaction.claimed(request.session, repeats);
  await fetchAll(context, ids);
  await fits(work.refresh(ids));
  const most = request.limit + (request.reclaim?.length ?? 0);
  for (const id of ids) {
    if (claimed.length < most) {
      await take(context, id, { repeats }, claimed);
    }
  }
}

/** The queues of a claim, each once. */
export function queuesIn({ namespace, request }: ClaimOperation): QueueKey[] {
  return queuesOf(namespace, request);
}

/** How many times a claim takes runs from the cache, if those before are no longer queued. */
const cacheRounds = 5;

/** A cached run may no longer be queued, so several are tried until the claim is full. */
async function takeCached(context: ClaimContext, claimed: Run[]): Promise<void> {
  const { cache, offers, operation } = context;
  const { request } = operation;
  const queues = queuesIn(operation);
  const offered = offers.get(operation) ?? [];
  offers.set(operation, offered);
  let next = 0;
  const isFull = (): boolean => claimed.length >= request.limit || !context.reply.isLeft;
  for (let round = 0; round < cacheRounds && !isFull(); round += 1) {
    if (next === offered.length) {
      offered.push(...cache.plan(queues, request.limit - claimed.length).ids);
    }
    const ids = offered.slice(next, next + request.limit - claimed.length);
    if (ids.length === 0) {
      return;
    }
    next += ids.length;
    await takeAll(context, ids, claimed);
  }
}

async function takeAll(context: ClaimContext, ids: readonly RunId[], claimed: Run[]): Promise<void> {
  const { work, reply } = context;
  for (const some of parts(ids)) {
    const isAll = await fits(work.fetch(some));
    for (const id of some) {
      if (!reply.isLeft) {
        return;
      }
      await take(context, id, {}, claimed);
    }
    if (!isAll) {
      spend(reply);
    }
  }
}

/** Loads all rows even if they do not fit at once: a caller that does not get these runs would lose its executions. */
async function fetchAll({ work }: ClaimContext, ids: RunId[]): Promise<void> {
  while (!(await fits(work.fetch(ids)))) {}
}

/** Treats the reply as full, because some rows were not loaded: claims of the next transaction take those runs. */
function spend(reply: Budget): void {
  reply.takeBytes(reply.left);
}

/** Takes runs from storage if the cache is incomplete: after a restart, an overflow, or a commit of another server. */
async function scan(context: ClaimContext, claimed: Run[]): Promise<void> {
  const { work, cache, taken, transaction, operation } = context;
  const { limit } = operation.request;
  const plan = cache.plan(queuesIn(operation), 0);
  const found: Run[] = [];
  const most = limit + taken.size;
  const { ids, more } = await transaction.queued(plan.queues, most);
  work.hold(ids);
  for (const some of parts(ids)) {
    if (claimed.length >= limit || !context.reply.isLeft) {
      break;
    }
    const isAll = await fits(work.fetch(some));
    // Storage says that they are queued: a cached row that says otherwise is stale.
    const isFresh = await fits(work.refresh(some.filter((id) => work.get(id)?.state.status !== "queued")));
    for (const id of some) {
      const before = claimed.length;
      if (before < limit && context.reply.isLeft) {
        await take(context, id, {}, claimed);
      }
      found.push(...claimed.slice(before));
    }
    if (!(isAll && isFresh)) {
      spend(context.reply);
    }
  }
  const isCut = claimed.length < limit && !context.reply.isLeft;
  cache.scanned(plan, found, isCut ? "more" : restOf(more, ids.length === most));
}

/** A scan that found fewer runs than requested found all that no other transaction has locked. */
function restOf(more: boolean, isFilled: boolean): ScanRemainder {
  if (!more) {
    return "nothing";
  }
  return isFilled ? "more" : "held";
}

async function take(
  { work, taken, operation, reply, inputs }: ClaimContext,
  id: RunId,
  how: Pick<Claim, "reclaim" | "repeats">,
  claimed: Run[],
): Promise<void> {
  const { claimId, session, worker, leaseMs, serves } = operation.request;
  const run = work.get(id);
  if (run === undefined || run.namespace !== operation.namespace) {
    return;
  }
  // A cached queue entry may be outdated; the row is not.
  if (how.reclaim === undefined && how.repeats === undefined && run.state.status !== "queued") {
    return;
  }
  const build = serves.find(({ name, versionId }) => name === run.name && versionId === run.versionId)?.build;
  const claim = { claimId, session, worker, leaseMs, ...(build !== undefined && { build }), ...how };
  const decision = await work.apply(id, { type: "claim", claim });
  if (decision?.ok === true) {
    claimed.push(decision.run);
    taken.add(id);
    if (heldOf(decision.run) === null && reply.isLeft) {
      inputs.add(id);
      reply.take(decision.run.input);
      reply.takeBytes(waitsBytes(decision.run));
    }
  }
}

/**
 * Runs with inputs and journals. Journals are read in the same transaction, so that they agree with `inbox`. Entries
 * that this transaction has decided but not yet saved follow at their end.
 */
async function handOut(context: ClaimContext, runs: Run[]): Promise<ClaimedRun[]> {
  const { transaction, moment, inputs } = context;
  const loaded = await whole(
    transaction,
    runs.filter(({ id }) => inputs.has(id)),
  );
  const byId = new Map(loaded.map((run) => [run.id, run]));
  const parts = runs.map((run) => ({ run: byId.get(run.id) ?? run, held: heldOf(run) }));
  // If a worker has held the run, another server may have recorded entries without a change to the row. Then the tail
  // of a cached row is too low, and the journal must be read to find its end.
  const wanted = parts.filter(({ run, held }) => run.fence > 1 || run.tail > (held?.tail ?? 0));
  const pages = await pagesOf(context, wanted);
  const none: Page = { entries: [], isCut: false };
  return parts.map(({ run, held }) => claimedRun(run, held, pages.get(run.id) ?? none, moment.now));
}

interface Part {
  run: Run;
  /** What its holder already has of the run; null if nothing. */
  held: Resumable | null;
}

/** The first page of each journal, until the budget is spent. The caller reads the other pages. */
async function pagesOf({ transaction, work, reply }: ClaimContext, wanted: readonly Part[]): Promise<Map<RunId, Page>> {
  const budget = replyBudget(Math.min(limits.journalPageBytes, reply.left));
  const bytes = Math.max(100_000, Math.floor(limits.journalPageBytes / Math.max(1, wanted.length)));
  const requests = wanted.map(({ run, held }) => ({
    runId: run.id,
    after: held?.tail ?? 0,
    limit: journalEntries,
    bytes: bytes + maxEntryBytes,
  }));
  const read = await readJournals(transaction, requests, budget);
  reply.takeBytes(budget.taken);
  return new Map(
    wanted.map(({ run: { id }, held }, index) => {
      const entries = read[index] ?? null;
      return [id, entries === null ? notRead : pageOf(entries, bytes, held?.tail ?? 0, work.recorded(id))];
    }),
  );
}

const notRead: Page = { entries: [], isCut: true };

interface Page {
  entries: Entry[];
  /** Whether more entries may follow, which the caller must read. */
  isCut: boolean;
}

/**
 * Entries up to `bytes`. `read` has more than that if the journal has more. If the page ends with the last saved entry,
 * the entries of this transaction (`added`) follow, up to the first one that is not loaded.
 */
function pageOf(read: Entry[], bytes: number, after: number, added: readonly NewFact[]): Page {
  const entries = cutJournal(read, journalEntries, bytes);
  const isCut = entries.length < read.length || (entries.length === 1 && read.every((one) => entryBytes(one) > bytes));
  const follows = added[0]?.seq === (entries.at(-1)?.seq ?? after) + 1;
  const unread = added.findIndex(isUnreadEnd);
  const loaded = added.slice(0, unread < 0 ? added.length : unread).filter(isLoaded);
  return isCut || !follows ? { entries, isCut } : { entries: [...entries, ...loaded], isCut };
}

function heldOf({ state, attempt }: Run): Resumable | null {
  return state.status === "running" && state.resumable?.session === state.session && state.resumable.attempt === attempt
    ? state.resumable
    : null;
}

function claimedRun(run: Run, held: Resumable | null, { entries: journal, isCut }: Page, now: number): ClaimedRun {
  const last = journal.at(-1)?.seq ?? held?.tail ?? 0;
  const { options } = run;
  return {
    id: run.id,
    name: run.name,
    versionId: run.versionId,
    attempt: run.attempt,
    fence: run.fence,
    createdAt: run.createdAt,
    priority: run.priority,
    tags: options.tags ?? [],
    origin: options.origin ?? run.id,
    inbox: run.inbox,
    isCached: held !== null,
    journal,
    waits: held === null ? run.waits.map(claimedWait) : [],
    lostLeases: run.lostLeases,
    now,
    ...(isUnread(run.input) ? { inputLeftOut: true } : {}),
    ...(run.input === null || isUnread(run.input) ? {} : { input: run.input }),
    ...(run.shardKey === null ? {} : { shardKey: run.shardKey }),
    ...(run.referenceId === null ? {} : { referenceId: run.referenceId }),
    ...(options.retry === undefined ? {} : { retry: options.retry }),
    ...(run.parent === null ? {} : { parent: run.parent }),
    ...(run.build === null ? {} : { build: run.build }),
    ...(isCut || last < run.tail ? { journalCutAt: last } : {}),
  };
}

export function claimedWait({ address, callSite }: Wait): ClaimedWait {
  return callSite === undefined ? { address } : { address, callSite };
}
