/** Every completed run is executed once more against its own record: it must come to the same, and want nothing new. */

import { silentLogger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import type { ClaimedRun, Entry, OpenWait } from "@aikirun/lib/protocol";
import { createExecution, type Host, type ReportDraft } from "@aikirun/workflow/internal";
import { v7 } from "uuid";
import type { WholeRun } from "../../packages/server/src/core/run.ts";
import { journals } from "../end-to-end/invariants.ts";
import type { DatabaseRows } from "../end-to-end/rows.ts";
import { programVersion } from "./interpreter.ts";

const { version } = programVersion({ ledger: "/dev/null", naps: "/dev/null" });
const env = systemEnv({ id: v7 });

/** How long an execution may take that only repeats. Milliseconds. */
const patienceMs = 5_000;

/** A line for each run that does not. */
export async function misfits({ runs, entries }: Pick<DatabaseRows, "runs" | "entries">): Promise<string[]> {
  const records = journals(entries);
  const lines: string[] = [];
  for (const run of runs) {
    const why = run.state.status === "completed" ? await replayed(run, records.get(run.id) ?? []) : null;
    if (why !== null) lines.push(`${run.id} ${why}`);
  }
  return lines;
}

/** What is wrong; null when nothing is. */
async function replayed(run: WholeRun, journal: Entry[]): Promise<string | null> {
  const said = await telling(run, journal);
  if (said === null) return "stands before something new";
  const { next, entries, opens, starts } = said;
  const news = [...entries, ...opens.filter(isUnknown), ...starts].map(({ address }) => address);
  if (news.length > 0) return `wants to record ${news.join(", ")}`;
  if (next.type !== "finish" || next.outcome.status !== "completed") return `comes to ${JSON.stringify(next)}`;
  const kept = run.state.status === "completed" ? run.state.output : undefined;
  return next.outcome.output === kept ? null : `returns ${next.outcome.output}, and is recorded with ${kept}`;
}

/** Whether the wait is none that a race may leave open when the run ends, so that nothing is recorded of it. */
function isUnknown({ address }: OpenWait): boolean {
  return !/^(sleep:race-|event:whim:)/.test(address);
}

/** Nothing new may begin, so all that an execution can do is repeat, and then report. */
function telling(run: WholeRun, journal: Entry[]): Promise<ReportDraft | null> {
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
        if (isMeanwhile && draft.entries.length + draft.starts.length === 0 && !draft.opens.some(isUnknown)) {
          const released = type === "suspend";
          return { ok: true, first: 0, tail, inbox: run.inbox, entries: [], released, pause: false };
        }
        clearTimeout(timer);
        resolve(draft);
        throw new Error("This is only a rehearsal.");
      },
    };
    const execution = createExecution(version, host);
    const timer = setTimeout(() => {
      execution.abandon("GIVEN_UP");
      resolve(null);
    }, patienceMs);
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
