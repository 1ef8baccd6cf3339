/** The eight verbs, in terms of operations and reads. One bad item never fails its batch. */

import type { Env } from "@aikirun/lib";
import type {
  Api,
  ClaimedRun,
  ClaimReply,
  ClaimRequest,
  RejectionCode,
  RenewResult,
  Report,
  ReportRequest,
  ReportResult,
  Signal,
  SignalItem,
  SignalResult,
  StartResult,
} from "@aikirun/lib/protocol";
import type { Command } from "../core/run.ts";
import type { Ready } from "../delivery/ready.ts";
import type { QueueFilter } from "../storage/queue.ts";
import type { Storage } from "../storage/storage.ts";
import type { Changes } from "./changes.ts";
import { filterOf } from "./claims.ts";
import { find, read } from "./lookup.ts";
import type { Answer, Operation, Result } from "./operation.ts";
import type { Presence } from "./presence.ts";
import type { Rows } from "./rows.ts";
import { isGone, watch } from "./watch.ts";

export interface ApiContext {
  namespace: string;
  env: Env;
  storage: Pick<Storage, "read">;
  rows: Rows;
  ready: Ready;
  changes: Changes;
  presence: Presence;
  submit: (operation: Operation) => Promise<Exclude<Result, { type: "fault" }>>;
  /** Where doorbells ring for the namespace; undefined while none do. */
  streams: () => string | undefined;
  /** When this server began, by the monotonic clock. */
  beganAt: number;
  closing: AbortSignal;
}

/** After a restart, a repeated claim is looked up in storage for so long. Milliseconds. */
const repeatedClaimsMs = 60_000;
/** Sessions whose last claim is remembered. */
const sessionCount = 10_000;

export function createApi(context: ApiContext): Api {
  const { namespace, env, presence, submit, beganAt } = context;
  const claims = new Map<string, LastClaim>();

  const command = async (to: string, command: Command): Promise<Answer> => {
    const result = await submit({ type: "command", namespace, to, command });
    return result.type === "command" ? result.answer : mismatch();
  };

  const start = async (spec: Extract<Operation, { type: "start" }>["spec"]): Promise<StartResult> => {
    const result = await submit({ type: "start", namespace, spec });
    return result.type === "start" ? result.result : mismatch();
  };

  const report = async ({ session, worker }: ReportRequest, report: Report): Promise<ReportResult> =>
    reportResult(report, await command(report.runId, { type: "report", session, worker, report, known: [] }));

  return {
    start: async ({ runs }) => ({ results: await Promise.all(runs.map(start)) }),
    report: async (request) => ({ results: await Promise.all(request.reports.map((one) => report(request, one))) }),
    async renew(request) {
      const { session, leaseMs, runs } = request;
      presence.renewed(namespace, request);
      const renew = async ({ runId, fence }: (typeof runs)[number]) =>
        renewResult(await command(runId, { type: "renew", session, fence, leaseMs }));
      return { results: await Promise.all(runs.map(renew)), ...told(context) };
    },
    signal: async ({ signals }) => ({
      results: await Promise.all(
        signals.map(async (item) => signalResult(item, await command(item.runId, commandOf(item)))),
      ),
    }),
    async claim(request, { signal } = {}) {
      // A repeat gets the first answer: its reply may have been lost on the way.
      const before = claims.get(request.session);
      const isRepeat = before?.claimId === request.claimId;
      const isRecall = request.recall === true;
      if (isRepeat && (isRecall || request.waitMs === 0)) {
        before.recalled.abort();
      }
      if (isRecall) {
        return { runs: [], held: isRepeat, ...told(context) };
      }
      if (isRepeat && before.reply !== null) {
        return before.reply;
      }
      const recalled = new AbortController();
      const last: LastClaim = { claimId: request.claimId, reply: null, recalled };
      remember(claims, request.session, last);
      // One that was answered here before this one repeats nothing from before a restart.
      const mayRepeat = isRepeat || (before === undefined && env.elapsed() - beganAt < repeatedClaimsMs);
      last.reply = claim(context, request, { mayRepeat, signal, recalled: recalled.signal }).finally(() => {
        last.reply = null;
      });
      return last.reply;
    },
    watch: (request, options = {}) => watch(context, request, options.signal),
    find: (request) => find(context, request),
    read: (request) => read(context, request),
  };
}

function told({ streams }: ApiContext): { streams?: string } {
  const where = streams();
  return where === undefined ? {} : { streams: where };
}

/** What a claim finds when nothing was hinted at and storage was asked a moment ago: that needs no transaction. */
const nothing: Extract<Result, { type: "claim" }> = { type: "claim", runs: [] };

/** A session's last claim; `reply` until it is answered. After that storage knows what it took. */
interface LastClaim {
  claimId: string;
  reply: Promise<ClaimReply> | null;
  /** Aborts when the caller wants its answer now. */
  recalled: AbortController;
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
  mayRepeat: boolean;
  /** Aborts when the caller has gone. */
  signal: AbortSignal | undefined;
  /** Aborts when the caller wants its answer now. */
  recalled: AbortSignal;
}

async function claim(
  context: ApiContext,
  request: ClaimRequest,
  { mayRepeat, signal, recalled }: ClaimCall,
): Promise<ClaimReply> {
  const { namespace, env, ready, presence, submit, closing } = context;
  const filter = filterOf(namespace, request);
  const until = env.elapsed() + request.waitMs;
  let isRepeat = mayRepeat;
  for (;;) {
    presence.claimed(namespace, request);
    const isAsked = isRepeat || request.reclaim !== undefined || request.rung === true;
    const isHopeful = isAsked || ready.isHopeful(filter);
    const result = isHopeful ? await submit({ type: "claim", namespace, request, isRepeat }) : nothing;
    isRepeat = false;
    const runs = result.type === "claim" ? result.runs : mismatch();
    if (isGone(signal) && runs.length > 0) {
      await release(context, request, runs);
      return { runs: [] };
    }
    const left = until - env.elapsed();
    if (runs.length > 0 || left <= 0 || recalled.aborted || closing.aborted || isGone(signal)) {
      // What it leaves may be for somebody else who waits.
      ready.pass(filter);
      return { runs, ...told(context) };
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
  { ready, env }: ApiContext,
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
async function release({ submit }: ApiContext, request: ClaimRequest, runs: ClaimedRun[]): Promise<void> {
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

function commandOf({ signalId, signal }: SignalItem): Command {
  switch (signal.type) {
    case "event":
      return { type: "receive", arrival: { ...signal, signalId }, known: [] };
    case "cancel":
    case "pause":
    case "resume":
    case "wake":
    case "retry":
      return { ...signal, signalId, known: [] };
    default:
      return signal satisfies never;
  }
}

function signalResult({ signal }: { signal: Signal }, answer: Answer): SignalResult {
  if (!answer.ok) {
    return rejected(answer);
  }
  const { id, state } = answer.run;
  const isAnew = signal.type === "retry" && (state.status === "failed" || state.status === "cancelled");
  return isAnew
    ? { ok: true, runId: signal.newRunId, status: "queued" }
    : { ok: true, runId: id, status: state.status };
}

function renewResult(answer: Answer): RenewResult {
  if (!answer.ok) {
    return rejected(answer);
  }
  const { state, inbox } = answer.run;
  return { ok: true, inbox, pause: state.status === "running" && state.pauseRequested };
}

function reportResult({ fence }: Report, answer: Answer): ReportResult {
  if (!answer.ok) {
    return rejected(answer);
  }
  const { run, first, news } = answer;
  const isHeld = run.state.status === "running" && run.fence === fence;
  return {
    ok: true,
    first,
    tail: run.tail,
    inbox: run.inbox,
    entries: news,
    parked: !isHeld,
    pause: isHeld && run.state.status === "running" && run.state.pauseRequested,
  };
}

function rejected({ code, message }: Extract<Answer, { ok: false }>): {
  ok: false;
  code: RejectionCode;
  message: string;
} {
  return { ok: false, code: code === "NOT_DUE" ? "ILLEGAL_STATE" : code, message };
}

function mismatch(): never {
  throw new Error("An operation was answered with another's result.");
}
