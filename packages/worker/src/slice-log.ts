import { type LogFields, type Logger, restoreError } from "@aikirun/lib";
import type { ClaimedRun } from "@aikirun/lib/protocol";
import type { SliceEnd } from "@aikirun/workflow";

/** One line per thing that happened to a run: what is expected at debug, what somebody may have to look at at warn. */
export interface SliceLog {
  claimed(run: ClaimedRun): void;
  ended(run: ClaimedRun, end: SliceEnd): void;
  released(run: ClaimedRun, reason: string): void;
  crashed(run: ClaimedRun, error: unknown): void;
}

export function sliceLog(logger: Logger): SliceLog {
  const finished = (run: ClaimedRun, end: Extract<SliceEnd, { type: "finished" }>): void => {
    const fields = fieldsOf(run);
    if (end.status === "completed") {
      logger.debug("completed", fields);
    } else if (end.status === "failed") {
      logger.warn("failed", { ...fields, error: restoreError(end.error) });
    } else {
      logger.warn("attempt failed", { ...fields, retryInMs: end.retryInMs, error: restoreError(end.error) });
    }
  };
  return {
    claimed(run) {
      const { hot, journal, lapses } = run;
      logger.debug("claimed", { ...fieldsOf(run), hot, entries: journal.length, ...(lapses > 0 ? { lapses } : {}) });
    },
    released: (run, reason) => logger.debug("released", { ...fieldsOf(run), reason }),
    crashed: (run, error) => logger.error("the worker failed at a run", { ...fieldsOf(run), error }),
    ended(run, end) {
      const fields = fieldsOf(run);
      switch (end.type) {
        case "parked":
          return logger.debug("parked", fields);
        case "released":
          return logger.debug("released", fields);
        case "finished":
          return finished(run, end);
        case "diverged":
          return logger.warn("diverged: the code no longer fits the run", {
            ...fields,
            call: end.call,
            unclaimed: end.unclaimed,
          });
        case "lost":
          return logger.warn("lost", { ...fields, code: end.code });
        default:
          return end satisfies never;
      }
    },
  };
}

function fieldsOf({ id, name, versionId, attempt, fence }: ClaimedRun): LogFields {
  return { runId: id, workflow: name, version: versionId, attempt, fence };
}
