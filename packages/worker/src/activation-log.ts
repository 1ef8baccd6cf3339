import type { LogFields, Logger } from "@aikirun/lib";
import { restoreError } from "@aikirun/lib/internal";
import type { Address, ClaimedRun, ReportedStall } from "@aikirun/lib/protocol";
import type { ActivationEnd } from "@aikirun/workflow/internal";

/**
 * Logs one line for each change of a run: `debug` for expected changes, `warn` for changes that a person may have to
 * check.
 */
export interface ActivationLog {
  claimed(run: ClaimedRun): void;
  ended(run: ClaimedRun, end: ActivationEnd): void;
  released(run: ClaimedRun, reason: string): void;
  crashed(run: ClaimedRun, error: unknown): void;
  /** The replay waits for a recorded call. `since` is epoch milliseconds. */
  waiting(run: ClaimedRun, call: Address, since: number): void;
}

const causes = {
  diverged: "the code no longer fits the run",
  ambiguous_call: "two alike calls cannot be distinguished",
  schema_mismatch: "recorded data no longer fits the schema",
  idle: "the handler awaited only non-durable work for too long",
} as const satisfies Record<ReportedStall["reason"], string>;

const waitingFor =
  "the replay waits for a call that the code made before; deploy code that makes it, or cancel the run and retry it";

export function activationLog(logger: Logger): ActivationLog {
  const finished = (run: ClaimedRun, end: Extract<ActivationEnd, { type: "finished" }>): void => {
    const fields = fieldsOf(run);
    if (end.status === "completed") {
      logger.debug("completed", fields);
    } else if (end.status === "failed") {
      logger.warn("failed", { ...fields, error: restoreError(end.error) });
    } else {
      logger.warn("attempt failed", { ...fields, retryInMs: end.retryInMs, error: restoreError(end.error) });
    }
  };
  const stalled = (run: ClaimedRun, stall: ReportedStall): void => {
    const { reason, ...details } = stall;
    const error = "error" in stall ? { error: restoreError(stall.error) } : {};
    logger.warn(`stalled: ${causes[reason]}`, { ...fieldsOf(run), ...details, ...error });
  };
  return {
    claimed(run) {
      const { isCached, journal, lostLeases } = run;
      logger.debug("claimed", {
        ...fieldsOf(run),
        isCached,
        entries: journal.length,
        ...(lostLeases > 0 ? { lostLeases } : {}),
      });
    },
    released: (run, reason) => logger.debug("released", { ...fieldsOf(run), reason }),
    crashed: (run, error) => logger.error("the worker failed while it executed a run", { ...fieldsOf(run), error }),
    waiting: (run, call, since) =>
      logger.warn(waitingFor, { ...fieldsOf(run), call, since: new Date(since).toISOString() }),
    ended(run, end) {
      const fields = fieldsOf(run);
      switch (end.type) {
        case "suspended":
          return logger.debug("suspended", fields);
        case "released":
          return logger.debug("released", fields);
        case "finished":
          return finished(run, end);
        case "stalled":
          return stalled(run, end.stall);
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
