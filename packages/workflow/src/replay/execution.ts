import { decode, describeError, encode, isRetryable, parseWith, retryDelayMs, TaskFailedError } from "@aikirun/lib";
import type { ClaimedRun } from "@aikirun/lib/protocol";
import type { ExecutableVersion } from "../definition/version.ts";
import { Addresses } from "./addresses.ts";
import { runOf } from "./context.ts";
import type { Execution, Host, SliceEnd } from "./contract.ts";
import { Journal } from "./journal.ts";
import { type Conclusion, Pump } from "./pump.ts";
import type { Replay } from "./replay.ts";
import { trusted } from "./trust.ts";

/** A handler that awaits nothing durable for this long gives its run back. Milliseconds. */
const defaultIdleMs = 300_000;

/** Options of an execution. */
export interface ExecutionOptions {
  /**
   * How long a handler may await nothing durable before its run is released as `idle`. Milliseconds; default 5
   * minutes.
   */
  idleMs?: number;
}

/**
 * One run of a version, to be executed by the worker behind `host`. Call `run` once, then `resume` after each
 * `parked`.
 */
export function createExecution(
  definition: ExecutableVersion,
  host: Host,
  { idleMs = defaultIdleMs }: ExecutionOptions = {},
): Execution {
  let pump: Pump | null = null;
  const notRunning: SliceEnd = { type: "lost", code: "NOT_RESUMABLE" };
  return {
    run(claimed) {
      if (pump !== null) return Promise.resolve(notRunning);
      const replay = replayOf(claimed, host, idleMs);
      pump = replay.pump;
      const slice = pump.slice();
      void handle(definition, replay);
      return slice;
    },
    resume: (claimed) => pump?.resume(claimed) ?? Promise.resolve(notRunning),
    news: (entries, inbox) => pump?.news(entries, inbox),
    drain: (reason) => pump?.drain(reason),
    abandon: (code) => pump?.abandon(code),
    get position() {
      return pump?.position ?? { seen: 0, after: 0 };
    },
    get size() {
      return pump?.journal.tail ?? 0;
    },
  };
}

function replayOf(run: ClaimedRun, host: Host, idleMs: number): Replay {
  const journal = new Journal(run.attempt);
  for (const entry of run.journal) journal.add(entry);
  journal.advance(run.journal.at(-1)?.seq ?? 0);
  return { run, pump: new Pump(run, journal, host, idleMs), addresses: new Addresses() };
}

/** Calls the handler, and says how it ended. Never rejects. */
async function handle(definition: ExecutableVersion, replay: Replay): Promise<void> {
  const { run, pump } = replay;
  const { name, versionId, handler, inputSchema, outputSchema } = definition;
  const where = `${name}@${versionId}`;
  try {
    const given = decode(run.input);
    const input = inputSchema === undefined ? given : await parseWith(inputSchema, given, `input of ${where}`);
    const returned = await handler(runOf(replay, definition), trusted<never>(input));
    const result =
      outputSchema === undefined ? returned : await parseWith(outputSchema, returned, `output of ${where}`);
    const output = encode(result, `output of ${where}`);
    pump.conclude({ status: "completed", ...(output !== undefined && { output }) });
  } catch (thrown) {
    pump.conclude(failed(thrown, definition, replay));
  }
}

function failed(thrown: unknown, { retry }: ExecutableVersion, { run, pump }: Replay): Conclusion {
  const { env } = pump.host;
  const policy = run.retry ?? retry;
  const retryInMs = isWorthRetrying(thrown) ? retryDelayMs(policy, run.attempt, () => env.random()) : null;
  return { status: "failed", error: describeError(thrown), retryInMs };
}

/** A task that said that trying again is pointless says so of its run too, unless the handler caught it. */
function isWorthRetrying(thrown: unknown): boolean {
  if (!isRetryable(thrown)) return false;
  return !(thrown instanceof TaskFailedError) || isRetryable(thrown.cause);
}
