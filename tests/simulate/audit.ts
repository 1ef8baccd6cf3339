/** Replays every finished run from its journal. It must end in the same way and make no new call. */

import type { ClaimedRun, ReportResult } from "@aikirun/lib/protocol";
import { createExecution, type Host, type ReportDraft } from "@aikirun/workflow/internal";
import type { Run } from "../../packages/server/src/core/run.ts";
import { wholeOf, wholeRun } from "../../packages/server/src/core/unread.ts";
import { fingerprintOf } from "../../packages/workflow/src/replay/fingerprint.ts";
import { addressLogger } from "./address-logger.ts";
import type { Code } from "./code.ts";
import { programWorkflow } from "./interpreter.ts";
import type { Ledger } from "./ledger.ts";
import type { Mirror } from "./mirror.ts";
import type { Process } from "./process.ts";
import type { Program } from "./program.ts";
import { isRenamedSleep, mayBeRefused } from "./stalls.ts";
import { isPlain, leavesBehind, orderOf } from "./timing.ts";
import type { World } from "./world.ts";

export interface AuditOptions {
  world: World;
  mirror: Mirror;
  ledger: Ledger;
  code: Code;
}

/** How long a replay may take. It waits only for non-durable work. Virtual milliseconds. */
const deadlineMs = 20 * 60_000;
const buildId = "audit";
/** How often each run is replayed, each time with non-durable work of a different duration. */
const times = 3;

export async function audit(options: AuditOptions): Promise<void> {
  for (const run of options.mirror.runs.values()) {
    if (!isReplayable(run, options.code)) continue;
    const { program }: { program: Program } = JSON.parse(wholeOf(run.input ?? "{}", run.id));
    for (let nth = 0; nth < (isPlain(program.ops) ? times : 1); nth++) await replay(options, run, program, nth);
  }
}

/** Whether the handler itself ended the run, and its code never changed. */
function isReplayable({ id, state }: Run, { edits }: Code): boolean {
  const endedByHandler =
    state.status === "completed" || (state.status === "failed" && state.error.code !== "RUN_TIMED_OUT");
  return endedByHandler && !edits.has(id);
}

async function replay({ world, mirror, ledger, code }: AuditOptions, run: Run, program: Program, nth: number) {
  const name = world.names.of(run.id);
  const process = world.spawn(`audit ${name} ${nth}`);
  const before = ledger.effects.length;
  const { version } = programWorkflow({ ledger, process, code, mayCrash: () => false, kill: () => {} });
  const drafts: ReportDraft[] = [];
  const execution = createExecution(version, hostOf(process, mirror, run, drafts), { buildId });
  // The build is the recorded one, so the replay waits for recorded calls without a limit.
  const build = { id: fingerprintOf(version.handler, buildId), since: 0 };
  void execution.run({ ...claimed(mirror, run), build });
  await world.run(world.now + deadlineMs, () => drafts.length > 0);
  process.kill();
  const [draft] = drafts;
  const next = draft?.next;
  const isSame = next?.type === "finish" && isSameEnd(next.outcome, run.state);
  // In this replay, non-durable work may delay calls that cannot be distinguished then.
  const stall = next?.type === "stall" ? next.stall : null;
  if (stall?.reason === "ambiguous_call" && mayBeRefused(ledger, run, program, stall.call)) return;
  const isUnsettled = ledger.wasRefused(run.id) || ledger.identity.isUnsettled(run.id, null);
  // A later attempt records a call twice if it did not find it, because a lock was taken in another order.
  const isLater = orderOf(program.ops) === "lock" && (run.attempt > 1 || run.options.retryOf !== undefined);
  const isRepeated = stall?.reason === "diverged" && isLater && ledger.isRecordedTwice(run.id, stall.call);
  if (stall?.reason === "diverged" && (isUnsettled || isRepeated || isRenamedSleep(stall))) return;
  // If non-durable work decides which lane of a pool takes an item, alike calls exchange their values and their order.
  const isExchanged = ledger.identity.wasMistaken(run.id) || orderOf(program.ops) === "lock";
  if (next?.type === "finish" && isExchanged && ledger.effects.length === before) return;
  // Branches that the handler does not await may make new calls while it awaits non-durable work.
  const mayStray = isPlain(program.ops) && (leavesBehind(program.ops) || orderOf(program.ops) === "timed");
  if (mayStray && draft !== undefined) return;
  if (!isSame || draft === undefined || !isQuiet(draft) || ledger.effects.length > before) {
    const reported = draft === undefined ? "nothing" : JSON.stringify(draft).slice(0, 500);
    world.violate(
      "REPLAY",
      `${name} is ${run.state.status} at attempt ${run.attempt}, but its replay reported ${reported}`,
    );
  }
}

function isSameEnd(outcome: { status: string; output?: string }, state: Run["state"]): boolean {
  if (outcome.status !== state.status) return false;
  return state.status !== "completed" || state.output === outcome.output;
}

/** Collects the reports of a replay. Replies only to empty reports, with which it waits for a call. */
function hostOf({ env }: Process, mirror: Mirror, run: Run, drafts: ReportDraft[]): Host {
  return {
    env,
    logger: addressLogger,
    report: (draft) => {
      if (draft.next.type === "continue" && isQuiet(draft)) return Promise.resolve(answer(mirror, run));
      drafts.push(draft);
      return new Promise<ReportResult>(() => {});
    },
    mayBegin: () => false,
    reclaim: () => {},
    expecting: () => {},
    listening: () => {},
  };
}

function isQuiet({ entries, opens, starts }: ReportDraft): boolean {
  return entries.length + opens.length + starts.length === 0;
}

function answer(mirror: Mirror, { id, inbox }: Run): ReportResult {
  const tail = mirror.journal(id).length;
  return { ok: true, first: tail + 1, tail, inbox, entries: [], released: false, pause: false };
}

function claimed(mirror: Mirror, run: Run): ClaimedRun {
  const { id, name, versionId, attempt, fence, createdAt, priority, inbox, options, input, parent } = wholeRun(run);
  return {
    id,
    name,
    versionId,
    attempt,
    fence,
    createdAt,
    priority,
    inbox,
    tags: options.tags ?? [],
    origin: options.origin ?? id,
    isCached: false,
    journal: [...mirror.journal(id)],
    waits: [],
    lostLeases: 0,
    now: mirror.now(),
    ...(input === null ? {} : { input }),
    ...(options.retry === undefined ? {} : { retry: options.retry }),
    ...(parent === null ? {} : { parent }),
  };
}
