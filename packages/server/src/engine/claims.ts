/** Hands queued runs to a worker, with what it needs to execute them. */

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
/** No entry is larger: a payload and what is around it. */
const maxEntryBytes = limits.payloadBytes + 100_000;

export interface ClaimContext {
  transaction: Transaction;
  work: UnitOfWork;
  cache: QueueCache;
  moment: DecisionContext;
  /** Runs that each claim took from the cache. */
  offers: Map<Operation, RunId[]>;
  /** What claims of this transaction have taken; storage still has them as queued. */
  taken: Set<RunId>;
  /** For the answers of this transaction. A claim that finds it spent is made again, in the next one. */
  reply: Budget;
  /** Runs whose input is in the reply; the worker reads the others. */
  inputs: Set<RunId>;
  operation: ClaimOperation;
}

export type ClaimOperation = Extract<Operation, { type: "claim" }>;

/** A claim on its way. */
export interface Claiming {
  context: ClaimContext;
  claimed: Run[];
  /** It is to scan storage for queued runs, which are then held for it. */
  mustScan: boolean;
}

/** Takes what needs no scan of storage: what earlier claims took, what the caller suspended, and cached runs. */
export async function beginClaim(context: ClaimContext): Promise<Claiming> {
  const { request } = context.operation;
  const claimed = await takeUnanswered(context);
  if (claimed.length > 0) {
    return { context, claimed, mustScan: false };
  }
  const reclaim = request.reclaim ?? [];
  await fetchAll(
    context,
    reclaim.map(({ runId }) => runId),
  );
  for (const { runId, fence } of reclaim) {
    await take(context, runId, { reclaim: fence }, claimed);
  }
  await takeCached(context, claimed);
  const isFull = claimed.length >= request.limit;
  if (!context.reply.isLeft && !isFull) {
    // Runs that it took from the cache may be left out of the reply: the next claim scans storage for them.
    context.cache.invalidate(queuesIn(context.operation));
  }
  const { mustScan } = context.cache.plan(queuesIn(context.operation), 0);
  return { context, claimed, mustScan: mustScan && !isFull && context.reply.isLeft };
}

/** Takes what storage finds, and loads inputs and journals; `more`: the budget is spent, so more may be queued. */
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

/** What claims took whose answers were lost, but no more than one of them was to bring. */
async function takeUnanswered(context: ClaimContext): Promise<Run[]> {
  const { work, operation, transaction } = context;
  const { request, repeats } = operation;
  const claimed: Run[] = [];
  if (repeats.length === 0) {
    return claimed;
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
  return claimed;
}

/** The queues that a claim asks for, each once. */
export function queuesIn({ namespace, request }: ClaimOperation): QueueKey[] {
  return queuesOf(namespace, request);
}

/** How often a claim takes further runs from the cache when those before are no longer queued. */
const cacheRounds = 5;

/** Cached runs may no longer be queued. Several are tried, so that one of them does not keep others from the caller. */
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

/** What the caller had of these runs is lost if it does not get them: all rows are loaded, as many as it names. */
async function fetchAll({ work }: ClaimContext, ids: RunId[]): Promise<void> {
  while (!(await fits(work.fetch(ids)))) {}
}

/** Rows were left in storage: they are for the claims of the next transaction, as if the reply were full. */
function spend(reply: Budget): void {
  reply.takeBytes(reply.left);
}

/** Takes runs that are not in the cache: after a restart, an overflow, or a commit of another server. */
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
    // Storage has them as queued. A cached row that says otherwise is outdated: another server has changed it.
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

/** A scan that found fewer than it asked for found all that no other transaction holds. */
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
  // The cached run may no longer be queued: only the row says so.
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
 * Runs as their holder needs them; journals are read in the same transaction, so that they agree with `inbox`.
 * They end with what this transaction has decided to record, which storage does not have yet.
 */
async function handOut(context: ClaimContext, runs: Run[]): Promise<ClaimedRun[]> {
  const { transaction, moment, inputs } = context;
  const loaded = await whole(
    transaction,
    runs.filter(({ id }) => inputs.has(id)),
  );
  const byId = new Map(loaded.map((run) => [run.id, run]));
  const parts = runs.map((run) => ({ run: byId.get(run.id) ?? run, held: heldOf(run) }));
  // Once a run was held, another server may have recorded facts without a change to its row: a cached one has too low a
  // tail, and only the journal itself says where it ends.
  const wanted = parts.filter(({ run, held }) => run.fence > 1 || run.tail > (held?.tail ?? 0));
  const pages = await pagesOf(context, wanted);
  const none: Page = { entries: [], isCut: false };
  return parts.map(({ run, held }) => claimedRun(run, held, pages.get(run.id) ?? none, moment.now));
}

interface Part {
  run: Run;
  /** What its holder has of it. */
  held: Resumable | null;
}

/** Of each journal the first page, until the budget is spent: the caller reads the rest. */
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
  /** More may follow, which the caller reads. */
  isCut: boolean;
}

/**
 * As much as goes into a reply. More was read than that, so what is left over shows that something is. Of what was
 * `added` it ends before what is not loaded.
 */
function pageOf(read: Entry[], bytes: number, after: number, added: readonly NewFact[]): Page {
  const entries = cutJournal(read, journalEntries, bytes);
  const isCut = entries.length < read.length || (entries.length === 1 && read.every((one) => entryBytes(one) > bytes));
  const follows = added[0]?.seq === (entries.at(-1)?.seq ?? after) + 1;
  const unread = added.findIndex(isUnreadEnd);
  const told = added.slice(0, unread < 0 ? added.length : unread).filter(isLoaded);
  return isCut || !follows ? { entries, isCut } : { entries: [...entries, ...told], isCut };
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
