/** I23: every finished run is replayed against its own record; it must end the same, and do nothing new. */

import { silentLogger } from "@aikirun/lib";
import type { ClaimedRun, ReportResult } from "@aikirun/lib/protocol";
import { createExecution, type Draft, type Host } from "@aikirun/workflow";
import type { Run } from "../../packages/server/src/core/run.ts";
import type { Code } from "./code.ts";
import { programWorkflow } from "./interpreter.ts";
import type { Ledger } from "./ledger.ts";
import type { Mirror } from "./mirror.ts";
import type { Process } from "./process.ts";
import { isTimed, type Program } from "./program.ts";
import type { World } from "./world.ts";

export interface AuditOptions {
  world: World;
  mirror: Mirror;
  ledger: Ledger;
  code: Code;
}

/** How long a replay may take, which waits for nothing. Virtual milliseconds. */
const patienceMs = 5_000;

export async function audit(options: AuditOptions): Promise<void> {
  for (const run of options.mirror.runs.values()) if (isReplayable(run, options.code)) await replay(options, run);
}

/** Its handler had the last word, under the code that it began with, and awaited nothing but durable calls. */
function isReplayable({ id, state, input }: Run, { edits }: Code): boolean {
  const { program }: { program: Program } = JSON.parse(input ?? "{}");
  const hasLastWord =
    state.status === "completed" || (state.status === "failed" && state.error.code !== "RUN_TIMED_OUT");
  return hasLastWord && !edits.has(id) && !isTimed(program.ops);
}

async function replay({ world, mirror, ledger, code }: AuditOptions, run: Run): Promise<void> {
  const name = world.names.of(run.id);
  const process = world.spawn(`audit ${name}`);
  const before = ledger.effects.length;
  const { version } = programWorkflow({ ledger, process, code, isPoisonous: () => false, kill: () => {} });
  const drafts: Draft[] = [];
  const execution = createExecution(version, hostOf(process, drafts));
  void execution.run(claimed(mirror, run));
  await world.run(world.now + patienceMs, () => drafts.length > 0);
  process.kill();
  const [draft] = drafts;
  const next = draft?.next;
  const isSame = next?.type === "finish" && isSameEnd(next.outcome, run.state);
  const isQuiet = draft !== undefined && draft.entries.length + draft.opens.length + draft.starts.length === 0;
  if (!isSame || !isQuiet || ledger.effects.length > before) {
    const said = draft === undefined ? "nothing" : JSON.stringify(draft).slice(0, 500);
    world.violate("I23", `${name} is ${run.state.status} at attempt ${run.attempt}, and its replay said ${said}`);
  }
}

function isSameEnd(outcome: { status: string; output?: string }, state: Run["state"]): boolean {
  if (outcome.status !== state.status) return false;
  return state.status !== "completed" || state.output === outcome.output;
}

/** Takes what the replay says, and answers nothing. */
function hostOf({ env }: Process, drafts: Draft[]): Host {
  return {
    env,
    logger: silentLogger,
    report: (draft) => {
      drafts.push(draft);
      return new Promise<ReportResult>(() => {});
    },
    mayBegin: () => true,
    reclaim: () => {},
    listening: () => {},
  };
}

function claimed(mirror: Mirror, run: Run): ClaimedRun {
  const { id, name, versionId, attempt, fence, createdAt, priority, inbox, options, input, parent } = run;
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
    hot: false,
    journal: [...mirror.journal(id)],
    lapses: 0,
    now: mirror.now(),
    ...(input === null ? {} : { input }),
    ...(options.retry === undefined ? {} : { retry: options.retry }),
    ...(parent === null ? {} : { parent }),
  };
}
