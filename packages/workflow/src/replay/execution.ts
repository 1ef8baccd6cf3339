import { isRetryable, TaskFailedError } from "@aikirun/lib";
import { decode, describeError, encode, parseWith, retryDelayMs } from "@aikirun/lib/internal";
import type { ClaimedRun } from "@aikirun/lib/protocol";
import type { ExecutableVersion } from "../definition/version.ts";
import { Calls } from "./calls.ts";
import { runOf } from "./context.ts";
import type { ActivationEnd, Execution, Host } from "./contract.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { Journal } from "./journal.ts";
import type { Replay } from "./replay.ts";
import { ReplayScheduler } from "./replay-scheduler.ts";
import type { Conclusion } from "./report-answer.ts";
import { uncheckedCast } from "./unchecked-cast.ts";

/** A run stalls when its handler awaits something that is not durable for longer than this. Milliseconds. */
const defaultIdleMs = 300_000;

/** The estimated memory of an entry without its value. Bytes. */
const entryBytes = 200;

/** Options of an execution. */
export interface ExecutionOptions {
  /**
   * How long a handler may await something that is not durable before its run stalls. Milliseconds; default 5 minutes.
   */
  idleMs?: number;
  /** A name of the deployed code: with it, replay knows whether the code has changed. */
  buildId?: string;
}

/**
 * One run of a version, to be executed by the worker behind `host`. Call `run` once, then `resume` after each
 * suspension.
 */
export function createExecution(definition: ExecutableVersion, host: Host, options: ExecutionOptions = {}): Execution {
  let scheduler: ReplayScheduler | null = null;
  const notRunning: ActivationEnd = { type: "lost", code: "NOT_RESUMABLE" };
  return {
    run(claimed) {
      if (scheduler !== null) return Promise.resolve(notRunning);
      const replay = replayOf(claimed, definition, host, options);
      scheduler = replay.scheduler;
      host.env.soon(() => void handle(definition, replay));
      return scheduler.activate();
    },
    resume: (claimed) => scheduler?.resume(claimed) ?? Promise.resolve(notRunning),
    receive: (entries, inbox) => scheduler?.receive(entries, inbox),
    release: (reason) => scheduler?.release(reason),
    abandon: (code) => scheduler?.abandon(code),
    get position() {
      return scheduler?.position ?? { seen: 0, after: 0 };
    },
    get tries() {
      return scheduler?.work.tries ?? [];
    },
    get size() {
      return scheduler === null ? 0 : scheduler.journal.bytes + entryBytes * scheduler.journal.tail;
    },
  };
}

function replayOf(claimed: ClaimedRun, definition: ExecutableVersion, host: Host, options: ExecutionOptions): Replay {
  const journal = new Journal(claimed.attempt);
  for (const entry of claimed.journal) journal.add(entry);
  for (const wait of claimed.waits) journal.addWait(wait);
  journal.advance(claimed.journal.at(-1)?.seq ?? 0);
  // Frees the JSON texts of the journal.
  const run = { ...claimed, journal: [] };
  const { idleMs = defaultIdleMs, buildId } = options;
  const build = fingerprintOf(definition.handler, buildId);
  const failed = (thrown: unknown): Conclusion => failure(thrown, definition, run, host);
  const scheduler = new ReplayScheduler(run, journal, host, { idleMs, build, failed });
  const calls = new Calls(scheduler);
  calls.withdrawRefused();
  return { run, isBegun: claimed.journal.length > 0, scheduler, calls };
}

/** Calls the handler and records how it ended. Never rejects. */
async function handle(definition: ExecutableVersion, replay: Replay): Promise<void> {
  const { run, scheduler } = replay;
  const { name, versionId, handler, inputSchema } = definition;
  const where = `${name}@${versionId}`;
  try {
    const given = decode(run.input);
    if (inputSchema === undefined) {
      scheduler.startHandler(
        () =>
          void conclude(definition, scheduler, () => handler(runOf(replay, definition), uncheckedCast<never>(given))),
      );
      return;
    }
    const input = await parseWith(inputSchema, given, `input of ${where}`);
    const start = () => handler(runOf(replay, definition), uncheckedCast<never>(input));
    scheduler.host.env.soon(() => scheduler.startHandler(() => void conclude(definition, scheduler, start)));
  } catch (thrown) {
    // The input was valid when the run began: its schema has become stricter since then.
    if (!replay.isBegun) scheduler.fail(thrown);
    else scheduler.stall({ reason: "schema_mismatch", call: "input", error: describeError(thrown) });
  }
}

async function conclude(
  definition: ExecutableVersion,
  scheduler: ReplayScheduler,
  start: () => unknown,
): Promise<void> {
  const { name, versionId, outputSchema } = definition;
  const where = `output of ${name}@${versionId}`;
  try {
    const returned = await start();
    const result = outputSchema === undefined ? returned : await parseWith(outputSchema, returned, where);
    const output = encode(result, where);
    scheduler.conclude({ status: "completed", ...(output !== undefined && { output }) });
  } catch (thrown) {
    scheduler.fail(thrown);
  }
}

function failure(thrown: unknown, { retry }: ExecutableVersion, run: ClaimedRun, { env }: Host): Conclusion {
  const policy = run.retry ?? retry;
  const retryInMs = isWorthRetrying(thrown) ? retryDelayMs(policy, run.attempt, () => env.random()) : null;
  return { status: "failed", error: describeError(thrown), retryInMs };
}

/** When a task failed with an error that is not retryable, its run is not retried either. */
function isWorthRetrying(thrown: unknown): boolean {
  if (!isRetryable(thrown)) return false;
  return !(thrown instanceof TaskFailedError) || isRetryable(thrown.cause);
}
