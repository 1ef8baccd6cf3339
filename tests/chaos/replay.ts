/** Replays every completed run from its journal. It must return the recorded result and make no new call. */

import { silentLogger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import type { ClaimedRun, Entry, OpenWait } from "@aikirun/lib/protocol";
import { createExecution, type Host, type ReportDraft } from "@aikirun/workflow/internal";
import { v7 } from "uuid";
import type { WholeRun } from "../../packages/server/src/core/run.ts";
import { journals } from "../end-to-end/invariants.ts";
import type { DatabaseRows } from "../end-to-end/rows.ts";
import { programVersion } from "./interpreter.ts";

const { version } = programVersion({ ledger: "/dev/null", sleeps: "/dev/null" });
const env = systemEnv({ id: v7 });

/** How long a replay may take. Milliseconds. */
const deadlineMs = 5_000;

/** One line for each run whose replay differs. */
export async function replayFailures({ runs, entries }: Pick<DatabaseRows, "runs" | "entries">): Promise<string[]> {
  const records = journals(entries);
  const lines: string[] = [];
  for (const run of runs) {
    const why = run.state.status === "completed" ? await replayed(run, records.get(run.id) ?? []) : null;
    if (why !== null) lines.push(`${run.id} ${why}`);
  }
  return lines;
}

/** How the replay differs. Null if it does not. */
async function replayed(run: WholeRun, journal: Entry[]): Promise<string | null> {
  const report = await reportOf(run, journal);
  if (report === null) return "waits for a call that is not recorded";
  const { next, entries, opens, starts } = report;
  const added = [...entries, ...opens.filter(isNew), ...starts].map(({ address }) => address);
  if (added.length > 0) return `wants to record ${added.join(", ")}`;
  if (next.type !== "finish" || next.outcome.status !== "completed") return `ends with ${JSON.stringify(next)}`;
  const stored = run.state.status === "completed" ? run.state.output : undefined;
  return next.outcome.output === stored ? null : `returns ${next.outcome.output}, but ${stored} is recorded`;
}

/** Whether the wait should be recorded. A wait in a race may be open when the run ends, and has no entry then. */
function isNew({ address }: OpenWait): boolean {
  return !/^(sleep:race-|event:optional:)/.test(address);
}

/** Executes the run without allowing new calls, and returns its report. Null if it does not report in time. */
function reportOf(run: WholeRun, journal: Entry[]): Promise<ReportDraft | null> {
  return new Promise((resolve) => {
    const claimed = claimedOf(run, journal);
    const tail = claimed.journal.at(-1)?.seq ?? 0;
    const host: Host = {
      env,
      logger: silentLogger,
      mayBegin: () => false,
      reclaim: () => {
        claimed.fence += 1;
        void execution.resume({ ...claimed, isCached: true, journal: [] });
      },
      expecting: () => {},
      listening: () => {},
      async report(draft) {
        const { type } = draft.next;
        const isMeanwhile = type === "continue" || type === "suspend";
        if (isMeanwhile && draft.entries.length + draft.starts.length === 0 && !draft.opens.some(isNew)) {
          const released = type === "suspend";
          return { ok: true, first: 0, tail, inbox: run.inbox, entries: [], released, pause: false };
        }
        clearTimeout(timer);
        resolve(draft);
        throw new Error("A replay sends no report.");
      },
    };
    const execution = createExecution(version, host);
    const timer = setTimeout(() => {
      execution.abandon("GIVEN_UP");
      resolve(null);
    }, deadlineMs);
    void execution.run(claimed);
  });
}

function claimedOf(run: WholeRun, journal: Entry[]): ClaimedRun {
  const { id, name, versionId, attempt, fence, createdAt, priority, input, parent, inbox } = run;
  return {
    ...{ id, name, versionId, attempt, createdAt, priority, inbox, journal },
    fence: fence + 1,
    tags: [],
    origin: id,
    isCached: false,
    lostLeases: 0,
    waits: [],
    now: Date.now(),
    ...(parent === null ? {} : { parent }),
    ...(input === null ? {} : { input }),
  };
}
