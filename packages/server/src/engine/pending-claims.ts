/** Claims as long polls: answered when there is a run, and correct if the request is doubled, repeated or aborted. */

import type { Env } from "@aikirun/lib";
import {
  type Api,
  type CallOptions,
  type ClaimedRun,
  type ClaimReply,
  type ClaimRequest,
  type QueueKey,
  queuesOf,
  type Report,
  type WakeUpStreams,
} from "@aikirun/lib/protocol";
import type { Command } from "../core/run.ts";
import type { QueueCache } from "../delivery/queue-cache.ts";
import { mismatch, type Operation, type Result } from "./operation.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

export interface PendingClaimsContext {
  namespace: string;
  env: Env;
  cache: QueueCache;
  registry: WorkerRegistry;
  submit: (operation: Operation) => Promise<Exclude<Result, { type: "fault" }>>;
  /** Publishes that these queues have runs for which no claim is pending here. */
  publish: (queues: readonly QueueKey[]) => void;
  /** Where wake-ups for workers are published; undefined while none are. */
  streams: () => WakeUpStreams | undefined;
  closing: AbortSignal;
}

/** For how many sessions the last claim is kept. The oldest ones are dropped. */
const sessionCount = 10_000;

/** A session's last claim. */
interface LastClaim {
  claimId: string;
  /** Ends its wait. */
  ended: AbortController;
  /** After the answer it is replaced by an empty one, to free memory. */
  reply: Promise<ClaimReply>;
}

/** The verb `claim`. A session has one claim at a time: a new one ends the wait of the one before. */
export function pendingClaims(context: PendingClaimsContext): Api["claim"] {
  const claims = new Map<string, LastClaim>();
  return (request, options = {}) => {
    const { session, claimId, repeats = [] } = request;
    const before = claims.get(session);
    // The network has doubled the request.
    if (before?.claimId === claimId) return before.reply;
    before?.ended.abort();
    const ended = new AbortController();
    const take = () => claim(context, request, ended, options);
    const isNamed = before !== undefined && repeats.includes(before.claimId);
    // The runs that the named claim took must be committed, so that this one finds them.
    const reply = isNamed ? before.reply.catch(() => {}).then(take) : take();
    const last: LastClaim = { claimId, ended, reply };
    const answered = () => {
      last.reply = Promise.resolve({ runs: [] });
    };
    const failed = () => {
      if (claims.get(session) === last) claims.delete(session);
    };
    reply.then(answered, failed);
    remember(claims, session, last);
    return reply;
  };
}

function remember(claims: Map<string, LastClaim>, session: string, last: LastClaim): void {
  claims.delete(session);
  claims.set(session, last);
  for (const oldest of claims.keys()) {
    if (claims.size <= sessionCount) return;
    claims.delete(oldest);
  }
}

/** Waits until there is a run, the time is up, the caller aborts, the session claims again, or the server closes. */
async function claim(
  context: PendingClaimsContext,
  request: ClaimRequest,
  ended: AbortController,
  { signal }: CallOptions,
): Promise<ClaimReply> {
  const end = () => ended.abort();
  const ends = [context.closing, ...(signal === undefined ? [] : [signal])];
  for (const one of ends) one.addEventListener("abort", end, { once: true });
  if (ends.some(({ aborted }) => aborted)) end();
  try {
    return await untilAnswered(context, request, ended.signal, () => signal?.aborted === true);
  } finally {
    for (const one of ends) one.removeEventListener("abort", end);
  }
}

async function untilAnswered(
  context: PendingClaimsContext,
  request: ClaimRequest,
  ended: AbortSignal,
  isGone: () => boolean,
): Promise<ClaimReply> {
  const { namespace, env, cache, registry, submit } = context;
  const queues = queuesOf(namespace, request);
  const receivedAt = env.elapsed();
  const until = receivedAt + request.waitMs;
  let { repeats = [] } = request;
  let isWoken = false;
  try {
    for (;;) {
      // A claim of suspended runs alone does not say what the worker serves.
      if (request.serves.length > 0) registry.seen(namespace, request);
      const isSpecific = repeats.length > 0 || request.reclaim !== undefined;
      const askedAt = env.elapsed();
      // If nothing is cached and no scan is due, a transaction would find nothing.
      const isWorthwhile = isSpecific || cache.plan(queues, 0).waitMs === 0;
      const result = isWorthwhile ? await submit({ type: "claim", namespace, request, repeats }) : nothing;
      repeats = [];
      const { runs, more } = result.type === "claim" ? result : mismatch();
      if (isGone() && runs.length > 0) {
        await release(context, request, runs);
        return { runs: [] };
      }
      if (runs.length > 0) {
        return { runs, ...(more && { more }), pendingMs: Math.floor(askedAt - receivedAt), ...streamsOf(context) };
      }
      const leftMs = until - env.elapsed();
      const { waitMs } = cache.plan(queues, 0);
      if (waitMs > 0 && leftMs > 0) isWoken = await cache.wait(queues, Math.min(leftMs, waitMs), ended);
      if (ended.aborted || leftMs <= 0) return { runs: [], ...streamsOf(context) };
    }
  } finally {
    const left = cache.passOn(queues);
    // No wake-up was published for the run that woke this claim, and the claim may have taken another one.
    if (isWoken) context.publish(left);
  }
}

/** Every reply to a worker says where wake-ups are published. */
export function streamsOf({ streams }: Pick<PendingClaimsContext, "streams">): { streams?: WakeUpStreams } {
  const where = streams();
  return where === undefined ? {} : { streams: where };
}

const nothing: Extract<Result, { type: "claim" }> = { type: "claim", runs: [], more: false };

/** Releases runs whose claim was aborted by its caller, so that they are queued again at once. */
async function release({ submit }: PendingClaimsContext, request: ClaimRequest, runs: ClaimedRun[]): Promise<void> {
  const { session, worker, claimId } = request;
  await Promise.all(
    runs.map(({ id, fence, inbox }) => {
      const report: Report = {
        reportId: `unanswered:${claimId}`,
        runId: id,
        fence,
        seen: inbox,
        // The reply is not read, so it needs no entries.
        after: Number.MAX_SAFE_INTEGER,
        entries: [],
        opens: [],
        starts: [],
        next: { type: "release", reason: "shutdown" },
      };
      const command: Command = { type: "report", session, worker, report, known: [] };
      return submit({ type: "command", namespace: null, to: id, command });
    }),
  );
}
