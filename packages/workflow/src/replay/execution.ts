import { isRetryable, TaskFailedError } from "@aikirun/lib";
import { decode, describeError, encode, parseWith, retryDelayMs } from "@aikirun/lib/internal";
import type { ClaimedRun } from "@aikirun/lib/protocol";
import type { ExecutableVersion } from "../definition/version.ts";
import type { Conclusion } from "./answer.ts";
import { Calls } from "./calls.ts";
import { runOf } from "./context.ts";
import type { ActivationEnd, Execution, Host } from "./contract.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { Journal } from "./journal.ts";
import { Pump } from "./pump.ts";
import type { Replay } from "./replay.ts";
import { trusted } from "./trust.ts";

/** A handler that awaits something that is not durable for this long has its run stalled. Milliseconds. */
const defaultIdleMs = 300_000;

/** What an entry holds besides its value. Bytes. */
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
 * `parked`.
 */
export function createExecution(definition: ExecutableVersion, host: Host, options: ExecutionOptions = {}): Execution {
  let pump: Pump | null = null;
  const notRunning: ActivationEnd = { type: "lost", code: "NOT_RESUMABLE" };
  return {
    run(claimed) {
      if (pump !== null) return Promise.resolve(notRunning);
      const replay = replayOf(claimed, definition, host, options);
      pump = replay.pump;
      host.env.soon(() => void handle(definition, replay));
      return pump.slice();
    },
    resume: (claimed) => pump?.resume(claimed) ?? Promise.resolve(notRunning),
    receive: (entries, inbox) => pump?.receive(entries, inbox),
    drain: (reason) => pump?.drain(reason),
    abandon: (code) => pump?.abandon(code),
    get position() {
      return pump?.position ?? { seen: 0, after: 0 };
    },
    get size() {
      return pump === null ? 0 : pump.journal.bytes + entryBytes * pump.journal.tail;
    },
  };
}

function replayOf(claimed: ClaimedRun, definition: ExecutableVersion, host: Host, options: ExecutionOptions): Replay {
  const journal = new Journal(claimed.attempt);
  for (const entry of claimed.journal) journal.add(entry);
  for (const wait of claimed.waits) journal.addWait(wait);
  journal.advance(claimed.journal.at(-1)?.seq ?? 0);
  // The texts of the journal are not kept beside what the handler makes of them.
  const run = { ...claimed, journal: [] };
  const { idleMs = defaultIdleMs, buildId } = options;
  const build = fingerprintOf(definition.handler, buildId);
  const failed = (thrown: unknown): Conclusion => failure(thrown, definition, run, host);
  const pump = new Pump(run, journal, host, { idleMs, build, failed });
  const calls = new Calls(pump);
  calls.withdrawRefused();
  return { run, isBegun: claimed.journal.length > 0, pump, calls };
}

/** Calls the handler, and says how it ended. Never rejects. */
async function handle(definition: ExecutableVersion, replay: Replay): Promise<void> {
  const { run, pump } = replay;
  const { name, versionId, handler, inputSchema } = definition;
  const where = `${name}@${versionId}`;
  try {
    const given = decode(run.input);
    if (inputSchema === undefined) {
      pump.enter(
        () => void conclude(definition, pump, () => handler(runOf(replay, definition), trusted<never>(given))),
      );
      return;
    }
    const input = await parseWith(inputSchema, given, `input of ${where}`);
    const start = () => handler(runOf(replay, definition), trusted<never>(input));
    pump.host.env.soon(() => pump.enter(() => void conclude(definition, pump, start)));
  } catch (thrown) {
    // A run that has got anywhere had an input that was accepted: the schema was tightened meanwhile.
    if (!replay.isBegun) pump.fail(thrown);
    else pump.stall({ reason: "schema_mismatch", call: "input", error: describeError(thrown) });
  }
}

async function conclude(definition: ExecutableVersion, pump: Pump, start: () => unknown): Promise<void> {
  const { name, versionId, outputSchema } = definition;
  const where = `output of ${name}@${versionId}`;
  try {
    const returned = await start();
    const result = outputSchema === undefined ? returned : await parseWith(outputSchema, returned, where);
    const output = encode(result, where);
    pump.conclude({ status: "completed", ...(output !== undefined && { output }) });
  } catch (thrown) {
    pump.fail(thrown);
  }
}

function failure(thrown: unknown, { retry }: ExecutableVersion, run: ClaimedRun, { env }: Host): Conclusion {
  const policy = run.retry ?? retry;
  const retryInMs = isWorthRetrying(thrown) ? retryDelayMs(policy, run.attempt, () => env.random()) : null;
  return { status: "failed", error: describeError(thrown), retryInMs };
}

/** A task that said that trying again is pointless says so of its run too, unless the handler caught it. */
function isWorthRetrying(thrown: unknown): boolean {
  if (!isRetryable(thrown)) return false;
  return !(thrown instanceof TaskFailedError) || isRetryable(thrown.cause);
}
