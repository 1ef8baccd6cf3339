/** Claims as their callers see them: held until there is a run, recalled, doubled, repeated, or never answered. */

import type { Env } from "@aikirun/lib";
import type { Api, ClaimedRun, ClaimReply, ClaimRequest, Report } from "@aikirun/lib/protocol";
import type { Command } from "../core/run.ts";
import type { Ready } from "../delivery/ready.ts";
import type { QueueFilter } from "../storage/queue.ts";
import { filterOf } from "./claims.ts";
import { mismatch, type Operation, type Result } from "./operation.ts";
import type { Presence } from "./presence.ts";
import { isGone } from "./watch.ts";

export interface HeldClaimsContext {
  namespace: string;
  env: Env;
  ready: Ready;
  presence: Presence;
  submit: (operation: Operation) => Promise<Exclude<Result, { type: "fault" }>>;
  /** Where doorbells ring for the namespace; undefined while none do. */
  streams: () => string | undefined;
  /** Claims that are held, by id, in any namespace: what ends each now. */
  recalls: Map<string, () => void>;
  /** Tells other servers that a claim is recalled which is none of this server's. */
  tellRecall: (claimId: string) => void;
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
export function heldClaims(context: HeldClaimsContext): Api["claim"] {
  const claims = new Map<string, LastClaim>();
  return async (request, { signal } = {}) => {
    const { session, claimId, repeats = [] } = request;
    const before = claims.get(session);
    const isHere = before?.claimId === claimId;
    if (request.recall === true) {
      if (isHere) before.recalled.abort();
      else context.tellRecall(claimId);
      return { runs: [], recalled: isHere, ...told(context) };
    }
    if (isHere) {
      // The network has doubled it.
      return before.reply;
    }
    // A session asks for one thing at a time: nobody waits for the one before.
    before?.recalled.abort();
    const recalled = new AbortController();
    const take = () => claim(context, request, { signal, recalled: recalled.signal });
    const isLost = before !== undefined && repeats.includes(before.claimId);
    // What it has taken is to be seen.
    const reply = isLost ? before.reply.catch(() => {}).then(take) : take();
    const last = { claimId, recalled, reply };
    context.recalls.set(claimId, () => recalled.abort());
    const answered = () => {
      last.reply = Promise.resolve({ runs: [] });
    };
    const failed = () => {
      if (claims.get(session) === last) claims.delete(session);
    };
    void reply.then(answered, failed).then(() => context.recalls.delete(claimId));
    remember(claims, session, last);
    return reply;
  };
}

/** What a claim finds when nothing was hinted at and storage was asked a moment ago: that needs no transaction. */
const nothing: Extract<Result, { type: "claim" }> = { type: "claim", runs: [], more: false };

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

async function claim(context: HeldClaimsContext, request: ClaimRequest, call: ClaimCall): Promise<ClaimReply> {
  const { namespace, env, ready, presence, submit, closing } = context;
  const ends = [call.recalled, closing, ...(call.signal === undefined ? [] : [call.signal])];
  const isEnding = () => ends.some(({ aborted }) => aborted);
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
    const { runs, more } = result.type === "claim" ? result : mismatch();
    if (isGone(call.signal) && runs.length > 0) {
      await release(context, request, runs);
      return { runs: [] };
    }
    const left = until - env.elapsed();
    if (runs.length > 0 || left <= 0 || isEnding()) {
      // What it leaves may be for somebody else who waits.
      ready.pass(filter);
      const taken = runs.length > 0 ? { takenAfterMs: Math.floor(askedAt - heardAt) } : {};
      return { runs, ...(more && { more }), ...taken, ...told(context) };
    }
    await hinted(context, filter, left, ends);
    if (isEnding()) {
      ready.pass(filter);
      return { runs: [], ...told(context) };
    }
  }
}

/** Resolves when a run that fits may be ready, the time is up, or it is to end for another reason. */
function hinted(
  { ready, env }: HeldClaimsContext,
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
async function release({ submit }: HeldClaimsContext, request: ClaimRequest, runs: ClaimedRun[]): Promise<void> {
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
export function told({ streams }: Pick<HeldClaimsContext, "streams">): { streams?: string } {
  const where = streams();
  return where === undefined ? {} : { streams: where };
}
