/** The eight verbs, made of operations and reads. A bad item does not fail the other items of its request. */

import { present } from "@aikirun/lib/internal";
import type {
  Api,
  RejectionCode,
  RenewRequest,
  RenewResult,
  Report,
  ReportRequest,
  ReportResult,
  SignalItem,
  SignalResult,
  StartResult,
} from "@aikirun/lib/protocol";
import type { Command } from "../core/run.ts";
import { type Budget, replyBudget, roomIn } from "./budget.ts";
import { find, type LookupContext, read } from "./lookup.ts";
import { type Answer, mismatch, type Operation, type Result } from "./operation.ts";
import { type PendingClaimsContext, pendingClaims, streamsOf } from "./pending-claims.ts";
import { type WatchContext, watch } from "./watch.ts";

/** How many runs one transaction releases when a session ends, so that other callers do not wait for long. */
const releasedAtOnce = 500;

export type ApiContext = PendingClaimsContext & WatchContext & LookupContext;

export function createApi(context: ApiContext): Api {
  const { namespace, registry, submit } = context;

  const answered = (result: Exclude<Result, { type: "fault" }>): Answer =>
    result.type === "command" ? result.answer : mismatch();

  const command = (to: string, command: Command): Promise<Answer> =>
    submit({ type: "command", namespace, to, command }).then(answered);

  const start = async (spec: Extract<Operation, { type: "start" }>["spec"]): Promise<StartResult> => {
    const result = await submit({ type: "start", namespace, spec });
    return result.type === "start" ? result.result : mismatch();
  };

  const report = ({ session, worker }: ReportRequest, report: Report, reply: Budget): Promise<ReportResult> => {
    const command: Command = { type: "report", session, worker, report, known: [] };
    return submit({ type: "command", namespace, to: report.runId, command, roomIn: roomIn(reply) }).then((result) =>
      reportResult(report, answered(result)),
    );
  };

  /** The request names runs that the session has suspended; the runs that it executes are found in storage. */
  const leave = async ({ session, runs }: RenewRequest): Promise<RenewResult[]> => {
    const results = await Promise.all(
      runs.map(async ({ runId }) => leaveResult(await command(runId, { type: "leave", session }))),
    );
    for (let released = releasedAtOnce; released === releasedAtOnce; ) {
      const result = await submit({ type: "leave", namespace, session, limit: releasedAtOnce });
      released = result.type === "leave" ? result.released : mismatch();
    }
    return results;
  };

  return {
    start: async ({ runs }) => ({ results: await Promise.all(runs.map(start)) }),
    async report(request) {
      const reply = replyBudget();
      return { results: await Promise.all(request.reports.map((one) => report(request, one, reply))) };
    },
    async renew(request) {
      const { session, leaseMs, runs } = request;
      registry.seen(namespace, request);
      if (request.leaving === true) {
        return { results: await leave(request), ...streamsOf(context) };
      }
      const renew = async ({ runId, ...held }: (typeof runs)[number]) =>
        renewResult(await command(runId, { type: "renew", session, leaseMs, ...held }));
      return { results: await Promise.all(runs.map(renew)), ...streamsOf(context) };
    },
    signal: async ({ signals }) => ({
      results: await Promise.all(signals.map(async (item) => signalResult(await command(item.runId, commandOf(item))))),
    }),
    claim: pendingClaims(context),
    watch: (request, options = {}) => watch(context, request, options.signal),
    find: (request) => find(context, request),
    read: (request) => read(context, request),
  };
}

function commandOf({ signalId, by, signal }: SignalItem): Command {
  switch (signal.type) {
    case "event":
      return { type: "receive", arrival: { ...signal, signalId }, known: [] };
    case "cancel":
    case "pause":
    case "resume":
    case "wake":
    case "retry":
      return { ...signal, signalId, ...present({ by }), known: [] };
    default:
      return signal satisfies never;
  }
}

function signalResult(answer: Answer): SignalResult {
  if (!answer.ok) {
    return rejected(answer);
  }
  const { id, state } = answer.retried ?? answer.run;
  return { ok: true, runId: id, status: state.status };
}

function leaveResult(answer: Answer): RenewResult {
  return answer.ok
    ? { ok: false, code: "FENCED", message: "The session has ended; other workers may claim the run." }
    : rejected(answer);
}

function renewResult(answer: Answer): RenewResult {
  if (!answer.ok) {
    return rejected(answer);
  }
  const { state, inbox } = answer.run;
  return { ok: true, inbox, pause: state.status === "running" && state.pause !== undefined };
}

function reportResult({ fence }: Report, answer: Answer): ReportResult {
  if (!answer.ok) {
    return rejected(answer);
  }
  const { run, first, newEntries, cutAt } = answer;
  const isHeld = run.state.status === "running" && run.fence === fence;
  return {
    ok: true,
    first,
    tail: run.tail,
    inbox: run.inbox,
    entries: newEntries,
    ...(cutAt === null ? {} : { entriesCutAt: cutAt }),
    released: !isHeld,
    pause: isHeld && run.state.status === "running" && run.state.pause !== undefined,
  };
}

function rejected({ code, message }: Extract<Answer, { ok: false }>): {
  ok: false;
  code: RejectionCode;
  message: string;
} {
  return { ok: false, code: code === "NOT_DUE" ? "ILLEGAL_STATE" : code, message };
}
