/** Hands queued runs to a worker, with what it needs to execute them. */

import type { ClaimedRun, ClaimRequest, Entry, RunId } from "@aikirun/lib/protocol";
import { limits } from "@aikirun/lib/protocol";
import type { Held, Moment, Run } from "../core/run.ts";
import type { Ready } from "../delivery/ready.ts";
import type { QueueFilter, Reader, Transaction } from "../storage/storage.ts";
import type { Operation } from "./operation.ts";
import type { Work } from "./work.ts";

const journalEntries = 1_000_000;

export interface ClaimContext {
  transaction: Transaction;
  work: Work;
  ready: Ready;
  moment: Moment;
  offers: Map<Operation, RunId[]>;
  operation: Extract<Operation, { type: "claim" }>;
}

export async function claimRuns(context: ClaimContext): Promise<ClaimedRun[]> {
  const { work, operation, transaction, moment } = context;
  const { request } = operation;
  const claimed: Run[] = [];
  for (const { runId, fence } of request.reclaim ?? []) {
    await work.fetch([runId]);
    await take(context, runId, fence, claimed);
  }
  const offered = offer(context);
  await work.fetch(offered);
  for (const id of offered) {
    await take(context, id, undefined, claimed);
  }
  if (claimed.length < request.limit) {
    await scan(context, claimed);
  }
  return claimed.length === 0 ? [] : await handOut(transaction, claimed, moment.now);
}

export function filterOf(namespace: string, { serves, shardKeys }: ClaimRequest): QueueFilter {
  return { namespace, serves, shardKeys };
}

function offer({ ready, offers, operation }: ClaimContext): RunId[] {
  const { namespace, request } = operation;
  const before = offers.get(operation) ?? [];
  const missing = request.limit - before.length;
  const more = missing > 0 ? ready.take(filterOf(namespace, request), missing) : [];
  const offered = [...before, ...more];
  offers.set(operation, offered);
  return offered;
}

/** Asks storage for runs nobody hinted at: after a restart, an overflow, or on another server. */
async function scan(context: ClaimContext, claimed: Run[]): Promise<void> {
  const { work, ready, moment, transaction, operation } = context;
  const filter = filterOf(operation.namespace, operation.request);
  if (filter.serves.length === 0 || !ready.isStale(filter, moment.now)) {
    return;
  }
  const limit = operation.request.limit;
  const ids = await transaction.queued(filter, limit);
  ready.scanned(filter, moment.now, ids.length < limit);
  await work.fetch(ids);
  for (const id of ids) {
    if (claimed.length < limit) {
      await take(context, id, undefined, claimed);
    }
  }
}

async function take(
  { work, operation }: ClaimContext,
  id: RunId,
  reclaim: number | undefined,
  claimed: Run[],
): Promise<void> {
  const { claimId, session, worker, leaseMs } = operation.request;
  const run = work.get(id);
  if (run === undefined || run.namespace !== operation.namespace) {
    return;
  }
  // A hint may be old; what it says is never believed.
  if (reclaim === undefined && run.state.status !== "queued") {
    return;
  }
  const claim = { claimId, session, worker, leaseMs, ...(reclaim === undefined ? {} : { reclaim }) };
  const decision = await work.apply(id, { type: "claim", claim });
  if (decision?.ok === true) {
    claimed.push(decision.run);
  }
}

/** Runs as their holder needs them; journals are read in the same transaction, so that they agree with `inbox`. */
export async function handOut(reader: Reader, runs: Run[], now: number): Promise<ClaimedRun[]> {
  const parts = runs.map((run) => ({ run, held: heldOf(run) }));
  const wanted = parts.filter(({ run, held }) => run.tail > (held?.tail ?? 0));
  const journals = new Map<RunId, Entry[]>();
  if (wanted.length > 0) {
    const bytes = Math.max(100_000, Math.floor(limits.journalPageBytes / wanted.length));
    const requests = wanted.map(({ run, held }) => ({
      runId: run.id,
      after: held?.tail ?? 0,
      limit: journalEntries,
      bytes,
    }));
    const pages = await reader.journal(requests);
    wanted.forEach(({ run }, index) => journals.set(run.id, pages[index] ?? []));
  }
  return parts.map(({ run, held }) => claimedRun(run, held, journals.get(run.id) ?? [], now));
}

function heldOf({ state, attempt }: Run): Held | null {
  return state.status === "running" && state.held?.session === state.session && state.held.attempt === attempt
    ? state.held
    : null;
}

function claimedRun(run: Run, held: Held | null, journal: Entry[], now: number): ClaimedRun {
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
    hot: held !== null,
    journal,
    confirm: run.lapses > 0,
    now,
    ...(run.input === null ? {} : { input: run.input }),
    ...(run.shardKey === null ? {} : { shardKey: run.shardKey }),
    ...(run.referenceId === null ? {} : { referenceId: run.referenceId }),
    ...(options.retry === undefined ? {} : { retry: options.retry }),
    ...(run.parent === null ? {} : { parent: run.parent }),
    ...(last < run.tail ? { journalCutAt: last } : {}),
  };
}
