import {
  AikiError,
  ChildRunFailedError,
  childRunId,
  type Duration,
  decode,
  describeError,
  encode,
  parseWith,
  restoreError,
  resultAddress,
} from "@aikirun/lib";
import {
  type Address,
  type Failure,
  type FinalStatus,
  finalStatuses,
  type RunId,
  type Value,
} from "@aikirun/lib/protocol";
import type { ChildCall, ChildEnded, ChildHandle, ChildReached, ChildTimedOut } from "../definition/run.ts";
import { contentOf } from "./addresses.ts";
import { Call, refused } from "./call.ts";
import { childSpec } from "./child-spec.ts";
import { childWaitAddress } from "./journal.ts";
import type { Replay } from "./replay.ts";
import { timeoutOf } from "./timeout.ts";
import { trusted } from "./trust.ts";

/** Starts a child run; resolves once it is durable. */
export function startChild(replay: Replay, { version, input, options }: ChildCall): Promise<ChildHandle<unknown>> {
  try {
    const { run, pump } = replay;
    const where = `input of child "${version.name}"`;
    const payload = encode(input, where);
    const content = options.referenceId ?? contentOf(payload);
    const address = replay.addresses.next("child", version.name, content);
    const spec = childSpec(childRunId(run.id, run.attempt, address), version, payload, options);
    const call = new Call(address, (value) => handleOf(replay, version.name, address, value));
    const started = { type: "started", runId: spec.id } as const;
    const post = (): void => {
      pump.startChild({ start: { address, spec }, recorded: (seq) => pump.deliveries.later(call, seq, started) });
    };
    const { inputSchema } = version;
    const checkAndPost = async (): Promise<void> => {
      try {
        if (inputSchema !== undefined) await parseWith(inputSchema, input, where);
        post();
      } catch (thrown) {
        pump.settle(call, { address, value: { type: "threw", error: describeError(thrown) } });
      }
    };
    pump.ask(call, "start", inputSchema === undefined ? post : () => void pump.hold(checkAndPost));
    return call.promise;
  } catch (thrown) {
    return refused(thrown);
  }
}

function handleOf(replay: Replay, name: string, address: Address, value: Value): ChildHandle<unknown> {
  if (value.type === "started") return new Child(replay, name, address, value.runId);
  if (value.type === "threw") throw restoreError(value.error);
  throw new AikiError("INVALID_PAYLOAD", `A child's start cannot be read from an entry "${value.type}".`);
}

class Child implements ChildHandle<unknown> {
  readonly id: RunId;
  readonly #replay: Replay;
  readonly #name: string;
  readonly #address: Address;
  #result: Promise<unknown> | null = null;
  #waits = 0;

  constructor(replay: Replay, name: string, address: Address, id: RunId) {
    this.#replay = replay;
    this.#name = name;
    this.#address = address;
    this.id = id;
  }

  result(): Promise<unknown> {
    this.#result ??= this.#awaitResult();
    return this.#result;
  }

  #awaitResult(): Promise<unknown> {
    const address = resultAddress(this.#address);
    const call = new Call(address, (value) => {
      if (value.type === "threw") throw failureOf(this.id, value.error);
      return decode(value.type === "returned" ? value.output : undefined);
    });
    this.#replay.pump.askForChild(call, address, null);
    return call.promise;
  }

  waitFor<Status extends FinalStatus>(
    status: Status,
    options?: { timeout?: undefined },
  ): Promise<ChildReached<unknown, Status> | ChildEnded>;
  waitFor<Status extends FinalStatus>(
    status: Status,
    options: { timeout: Duration },
  ): Promise<ChildReached<unknown, Status> | ChildEnded | ChildTimedOut>;
  waitFor(status: FinalStatus, options: { timeout?: Duration | undefined } = {}): Promise<never> {
    try {
      if (!finalStatuses.includes(status)) throw notFinal(status, this.id);
      const { pump } = this.#replay;
      const result = resultAddress(this.#address);
      const durationMs = timeoutOf(options, `wait for child "${this.#name}"`);
      const address = durationMs === null ? result : childWaitAddress(this.#address, this.#waits++);
      const call = new Call(address, (value) => waitedFor(status, value, this.id));
      const wait = { address, type: "child", name: this.#name, durationMs } as const;
      pump.askForChild(call, result, durationMs === null ? null : () => pump.openWait(wait));
      return trusted<Promise<never>>(call.promise);
    } catch (thrown) {
      return refused(thrown);
    }
  }
}

function notFinal(status: string, runId: RunId): AikiError {
  const message = `A child ends as ${finalStatuses.join(", ")}; none can be awaited as ${JSON.stringify(status)}.`;
  return new AikiError("INVALID_OPTION", message, { ids: { runId } });
}

type Waited = ChildReached<unknown, "completed"> | ChildReached<unknown, "failed"> | ChildEnded | ChildTimedOut;

function waitedFor(status: FinalStatus, value: Value, id: RunId): Waited {
  if (value.type === "returned") {
    if (status !== "completed") return { reached: false, reason: "ended", status: "completed" };
    return { reached: true, status, output: decode(value.output) };
  }
  if (value.type !== "threw") return { reached: false, reason: "timed_out" };
  const error = failureOf(id, value.error);
  if (status !== error.status) return { reached: false, reason: "ended", status: error.status };
  return trusted<Waited>({ reached: true, status, error });
}

/** The record wraps the child's own error in one that says how it ended. */
function failureOf(id: RunId, failure: Failure): ChildRunFailedError {
  const isCancelled = [failure.code, failure.cause?.code].some(
    (code) => code === "RUN_CANCELLED" || code === "CHILD_RUN_CANCELLED",
  );
  const isWrapped = failure.code === "CHILD_RUN_FAILED" || failure.code === "CHILD_RUN_CANCELLED";
  const cause = isWrapped ? failure.cause : failure;
  return new ChildRunFailedError(
    { runId: id },
    isCancelled ? "cancelled" : "failed",
    cause === undefined ? undefined : restoreError(cause),
  );
}
