/** Random walks of one run through commands. */

import { withdrawnAddress } from "@aikirun/lib/internal";
import type { NewEntry, Next, OpenWait, Report } from "@aikirun/lib/protocol";
import { uuid } from "@aikirun/testing/virtual-env";
import fc from "fast-check";
import { decide } from "../src/core/decide.ts";
import { entryKeysOf, keyText } from "../src/core/entry-keys.ts";
import type { Command, Decision, DecisionContext, Entry, Run } from "../src/core/run.ts";
import { openRun } from "../src/core/start.ts";
import { isLoaded } from "../src/core/unread.ts";
import { diverged, error, settings } from "./runs.ts";

/** One step, independent of the state in which it finds the run. */
export interface Step {
  kind: (typeof kinds)[number];
  /** Time that passes before the step. Milliseconds. */
  afterMs: number;
  /** Selects an address, a name, a signal or an outcome. */
  choice: number;
  /** Whether the command is of another session, or of a worker that lacks entries. */
  isStale: boolean;
}

const kinds = [
  "tick",
  "claim",
  "claim again",
  "reclaim",
  "renew",
  "leave",
  "continue",
  "suspend",
  "withdraw",
  "suspend with waits",
  "release",
  "stall",
  "finish",
  "retryLater",
  "event",
  "child",
  "cancel",
  "pause",
  "resume",
  "wake",
  "retry",
  "orphan",
  "childless",
] as const;

/** Commands that end the run are rare, so that walks are long. */
const weights: Partial<Record<Step["kind"], number>> = {
  claim: 12,
  tick: 10,
  "suspend with waits": 8,
  withdraw: 6,
  continue: 6,
  event: 6,
  finish: 1,
  cancel: 1,
  orphan: 1,
  stall: 2,
};

const kind = fc.oneof(...kinds.map((one) => ({ arbitrary: fc.constant(one), weight: weights[one] ?? 3 })));

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind,
    afterMs: fc.constantFrom(0, 1, 200, 1_000, 12_000, 100_000),
    choice: fc.nat(5),
    isStale: fc.nat(9).map((n) => n === 0),
  }),
  { minLength: 5, maxLength: 60 },
);

export interface Walked {
  step: Step;
  before: Run;
  command: Command;
  moment: DecisionContext;
  decision: Decision;
  after: Run;
}

export const begin: DecisionContext = { now: 1_000_000, latest: 1_000_000, bootAt: 0, fenceFloor: 0, settings };

export function firstRun(choice: number): Run {
  const timeout = choice % 2 === 0 ? {} : { timeoutMs: 400_000 };
  const delay = choice % 3 === 0 ? { delayMs: 500 } : {};
  return openRun("default", { id: uuid(1), name: "order", versionId: "1", ...timeout, ...delay }, begin);
}

/** Decides the steps one after the other, and calls `onStep` after each. */
export function walk(
  first: Run,
  all: readonly Step[],
  onStep: (walked: Walked, journal: readonly Entry[]) => void,
): void {
  let run = first;
  let time = begin.now;
  const journal: Entry[] = [];
  all.forEach((step, index) => {
    time += step.afterMs;
    const moment = { ...begin, now: time, latest: time };
    const command = informed(commandOf(step, run, index, journal), run, journal);
    const before = run;
    const decision = decide(run, command, moment);
    if (decision.ok) {
      run = decision.run;
      journal.push(...decision.entries.filter(isLoaded));
    }
    onStep({ step, before, command, moment, decision, after: run }, journal);
  });
}

function informed(command: Command, run: Run, journal: readonly Entry[]): Command {
  if (!("known" in command)) {
    return command;
  }
  const wanted = new Set(entryKeysOf(run, command).map(keyText));
  return { ...command, known: journal.filter((entry) => wanted.has(keyText(entry))) };
}

function commandOf({ kind, choice, isStale }: Step, run: Run, index: number, journal: readonly Entry[]): Command {
  const session = isStale ? "other-session" : "session";
  const signalled = { signalId: `signal-${index - (isStale ? 1 : 0)}`, known: [] };
  const reported = (next: Next, more: ReportedFields = {}) => reportOf(isStale, run, index, next, more);
  const claim = { claimId: `claim-${index}`, session, worker: "worker", leaseMs: 90_000 };
  switch (kind) {
    case "tick":
    case "orphan":
    case "childless":
      return { type: kind };
    case "claim":
      return { type: "claim", claim: { ...claim, session: "session" } };
    case "claim again":
      return { type: "claim", claim: { ...claim, session: "session", repeats: [`claim-${index - 1}`] } };
    case "reclaim":
      return { type: "claim", claim: { ...claim, reclaim: run.fence } };
    case "renew":
      return { type: "renew", session, fence: run.fence, leaseMs: 90_000 };
    case "leave":
      return { type: "leave", session };
    case "continue":
      return reported({ type: "continue" }, { entries: [fact(choice)], opens: [opening(choice + index, 3_000)] });
    case "suspend":
      return reported({ type: "suspend", children: choice > 3 ? 1 : 0 });
    case "withdraw":
      return reported(choice > 2 ? { type: "continue" } : { type: "suspend", children: 1 }, {
        entries: [withdrawal(choice, run, journal)],
        opens: [opening(choice + index, 3_000)],
      });
    case "suspend with waits":
      return reported({ type: "suspend", children: 0 }, { opens: [opening(choice, 500), opening(index, 150_000)] });
    case "release":
      return reported({ type: "release", reason: choice > 2 ? "unserved" : "shutdown" });
    case "stall":
      return reported({ type: "stall", stall: choice > 2 ? { reason: "idle", idleMs: 300_000 } : diverged });
    case "finish":
      return choice > 2
        ? reported({ type: "finish", outcome: { status: "completed" } })
        : reported({ type: "finish", outcome: { status: "failed", error, retryInMs: null } });
    case "retryLater":
      return reported({ type: "finish", outcome: { status: "failed", error, retryInMs: 700 } });
    case "event":
      return {
        type: "receive",
        known: [],
        arrival: { type: "event", name: `e${choice % 2}`, signalId: signalled.signalId },
      };
    case "child":
      return {
        type: "receive",
        known: [],
        arrival: {
          type: "child",
          address: `child:c#${choice}`,
          outcome: { status: "completed" },
          runId: uuid(2),
          counted: true,
        },
      };
    case "retry":
      return { type: "retry", newRunId: uuid(3), ...signalled };
    case "cancel":
    case "pause":
    case "resume":
    case "wake":
      return { type: kind, ...signalled };
    default:
      return kind satisfies never;
  }
}

type ReportedFields = Partial<Pick<Report, "entries" | "opens">>;

function reportOf(isStale: boolean, run: Run, index: number, next: Next, more: ReportedFields): Command {
  return {
    type: "report",
    session: "session",
    worker: "worker",
    known: [],
    report: {
      reportId: `report-${index - (isStale ? 1 : 0)}`,
      runId: run.id,
      fence: run.fence,
      seen: run.inbox - (isStale ? 1 : 0),
      after: run.tail,
      entries: [],
      opens: [],
      starts: [],
      next,
      ...more,
    },
  };
}

function fact(choice: number): NewEntry {
  return { address: `task:t#${choice}`, value: { type: "returned", output: `${choice}` } };
}

/** The withdrawal of an open wait, or of one that has received an event. */
function withdrawal(choice: number, { waits, attempt }: Run, journal: readonly Entry[]): NewEntry {
  const isEnd = (entry: Entry) => entry.attempt === attempt && entry.value.type === "received";
  const withdrawn = new Set(journal.flatMap((entry) => (entry.attempt === attempt ? [entry.address] : [])));
  const all = [...waits, ...journal.filter(isEnd)]
    .map(({ address }) => withdrawnAddress(address))
    .filter((address) => !withdrawn.has(address));
  return { address: all[choice % all.length] ?? `sleep:#${choice}/withdrawn`, value: { type: "withdrawn" } };
}

function opening(n: number, durationMs: number): OpenWait {
  return n % 2 === 0
    ? { address: `sleep:#${n}`, type: "sleep", durationMs }
    : {
        address: `event:e${n % 4 === 1 ? 0 : 1}#${n}`,
        type: "event",
        name: `e${n % 4 === 1 ? 0 : 1}`,
        durationMs: null,
      };
}
