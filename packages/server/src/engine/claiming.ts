/** A claim as its caller sees it: it waits until there is a run, is recalled, doubled, repeated, or never heard. */

import type { Env } from "@aikirun/lib";
import type { Api, ClaimedRun, ClaimReply, ClaimRequest, Report } from "@aikirun/lib/protocol";
import type { Command } from "../core/run.ts";
import type { Ready } from "../delivery/ready.ts";
import type { QueueFilter } from "../storage/queue.ts";
import { filterOf } from "./claims.ts";
import { mismatch, type Operation, type Result } from "./operation.ts";
import type { Presence } from "./presence.ts";
import { isGone } from "./watch.ts";

export interface ClaimingContext {
  namespace: string;
  env: Env;
  ready: Ready;
  presence: Presence;
  submit: (operation: Operation) => Promise<Exclude<Result, { type: "fault" }>>;
  /** Where doorbells ring for the namespace; undefined while none do. */
  streams: () => string | undefined;
  closing: AbortSignal;
}

/** Sessions whose last claim is remembered. */
const sessionCount = 10_000;

/** A session's last claim. */
interface LastClaim {
  claimId: string;
  /** Aborts when the caller wants its answer now. */
  recalled: AbortController;
  /** Once it is given, nothing. */
  reply: Promise<ClaimReply>;
}

/** The verb. Remembers what each session asked last. */
export function claiming(context: ClaimingContext): Api["claim"] {
  const claims = new Map<string, LastClaim>();
  return async (request, { signal } = {}) => {
    const { session, claimId, repeats = [], recall = false } = request;
    const before = claims.get(session);
    const held = before?.claimId === claimId;
    if (recall) {
      if (held) before.recalled.abort();
      return { runs: [], held, ...told(context) };
    }
    if (held) {
      // The network has doubled it.
      return before.reply;
    }
    const recalled = new AbortController();
    const take = () => claim(context, request, { signal, recalled: recalled.signal });
    const isLost = before !== undefined && repeats.includes(before.claimId);
    const reply = isLost ? ended(before).then(take) : take();
    const last = { claimId, recalled, reply };
    const forget = () => {
      last.reply = Promise.resolve({ runs: [] });
    };
    reply.then(forget, forget);
    remember(claims, session, last);
    return reply;
  };
}

/** What a claim finds when nothing was hinted at and storage was asked a moment ago: that needs no transaction. */
const nothing: Extract<Result, { type: "claim" }> = { type: "claim", runs: [] };

/** Ends it now; resolves when all that it has taken is to be seen. */
async function ended({ recalled, reply }: LastClaim): Promise<void> {
  recalled.abort();
  await reply.catch(() => {});
}

function remember(claims: Map<string, LastClaim>, session: string, last: LastClaim): void {
  claims.delete(session);
  claims.set(session, last);
  for (const oldest of claims.keys()) {
    if (claims.size <= sessionCount) {
      return;
    }
    claims.delete(oldest);
  }
}

interface ClaimCall {
  /** Aborts when the caller has gone. */
  signal: AbortSignal | undefined;
  /** Aborts when the caller wants its answer now. */
  recalled: AbortSignal;
}

async function claim(
  context: ClaimingContext,
  request: ClaimRequest,
  { signal, recalled }: ClaimCall,
): Promise<ClaimReply> {
  const { namespace, env, ready, presence, submit, closing } = context;
  const filter = filterOf(namespace, request);
  const heardAt = env.elapsed();
  const until = heardAt + request.waitMs;
  let { repeats = [] } = request;
  for (;;) {
    presence.claimed(namespace, request);
    const isAsked = repeats.length > 0 || request.reclaim !== undefined || request.rung === true;
    const isHopeful = isAsked || ready.isHopeful(filter);
    const askedAt = env.elapsed();
    const result = isHopeful ? await submit({ type: "claim", namespace, request, repeats }) : nothing;
    repeats = [];
    const runs = result.type === "claim" ? result.runs : mismatch();
    if (isGone(signal) && runs.length > 0) {
      await release(context, request, runs);
      return { runs: [] };
    }
    const left = until - env.elapsed();
    if (runs.length > 0 || left <= 0 || recalled.aborted || closing.aborted || isGone(signal)) {
      // What it leaves may be for somebody else who waits.
      ready.pass(filter);
      const held = runs.length > 0 ? { heldMs: Math.floor(askedAt - heardAt) } : {};
      return { runs, ...held, ...told(context) };
    }
    await hinted(context, filter, left, [recalled, closing, ...(signal === undefined ? [] : [signal])]);
    if (closing.aborted || recalled.aborted || isGone(signal)) {
      ready.pass(filter);
      return recalled.aborted ? { runs: [], ...told(context) } : { runs: [] };
    }
  }
}

/** Resolves when a run that fits may be ready, the time is up, or it is to end for another reason. */
function hinted(
  { ready, env }: ClaimingContext,
  filter: QueueFilter,
  waitMs: number,
  ends: readonly AbortSignal[],
): Promise<void> {
  // The hint, or the end, may have come while the claim that it is for was under way.
  if (ready.isHopeful(filter) || ends.some(({ aborted }) => aborted)) {
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    const wake = () => {
      leave();
      cancel();
      for (const end of ends) end.removeEventListener("abort", wake);
      resolve();
    };
    const leave = ready.wait({ audience: filter, wake });
    const cancel = env.after(Math.min(waitMs, ready.restMs(filter)), wake);
    for (const end of ends) end.addEventListener("abort", wake, { once: true });
  });
}

/** The caller has gone before it was answered: its runs go to somebody else at once. */
async function release({ submit }: ClaimingContext, request: ClaimRequest, runs: ClaimedRun[]): Promise<void> {
  const { session, worker, claimId } = request;
  await Promise.all(
    runs.map(({ id, fence, inbox }) => {
      const report: Report = {
        reportId: `unanswered:${claimId}`,
        runId: id,
        fence,
        seen: inbox,
        // Nobody reads its news.
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

/** Every answer to a worker says where doorbells ring. */
export function told({ streams }: Pick<ClaimingContext, "streams">): { streams?: string } {
  const where = streams();
  return where === undefined ? {} : { streams: where };
}
