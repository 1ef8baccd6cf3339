import { AikiError, ChildRunFailedError, type Duration } from "@aikirun/lib";
import {
  type ChildCall,
  childRunId,
  childWaitAddress,
  decode,
  describeError,
  encode,
  Fields,
  parseWith,
  restoreError,
} from "@aikirun/lib/internal";
import {
  type Address,
  type Failure,
  type FinalStatus,
  finalStatuses,
  type RunId,
  type Value,
} from "@aikirun/lib/protocol";
import type { ChildEnded, ChildHandle, ChildReached, ChildTimedOut, ChildWaitOptions } from "../definition/run.ts";
import { Call, callOf, refused } from "./call.ts";
import { addressOfCall } from "./calls.ts";
import { childSpec } from "./child-spec.ts";
import { checkKey, inputContentOf, keyedContent } from "./content.ts";
import type { Replay } from "./replay.ts";
import { timeoutOf } from "./timeout.ts";
import { uncheckedCast } from "./unchecked-cast.ts";
import { withdrawOnAbort } from "./withdraw-on-abort.ts";

/** Starts a child run. Resolves when the start is recorded. */
export function startChild(replay: Replay, { version, input, options }: ChildCall): Promise<ChildHandle<unknown>> {
  try {
    const { run, scheduler, calls } = replay;
    const where = `input of child "${version.name}"`;
    const payload = encode(input, where);
    const { key, referenceId } = options;
    const bare = referenceId ?? inputContentOf(payload);
    const content =
      referenceId === undefined ? keyedContent(checkKey(key, `child "${version.name}"`), bare) : { content: bare };
    const check = childSpec(run.id, version, payload, options);
    const identified = calls.identify({ kind: "child", name: version.name, ...content });
    const call = new Call(identified.made, (value, own) => handleOf(replay, version.name, addressOfCall(own), value));
    const post = (): void => {
      const address = addressOfCall(call);
      const spec = { ...check, id: childRunId(run.id, run.attempt, address) };
      const started: Value = { type: "started", runId: spec.id };
      const recorded = (seq: number, value: Value = started): void => scheduler.deliveries.later(call, seq, value);
      scheduler.outbox.start({
        start: { address, spec },
        call,
        recorded,
      });
      scheduler.touch();
    };
    const { inputSchema } = version;
    const checkAndPost = async (): Promise<void> => {
      try {
        if (inputSchema !== undefined) await parseWith(inputSchema, input, where);
        post();
      } catch (thrown) {
        const value = { type: "threw", error: describeError(thrown) } as const;
        scheduler.settle(call, { address: addressOfCall(call), value }, value);
      }
    };
    calls.make(call, identified, "start", inputSchema === undefined ? post : () => void scheduler.hold(checkAndPost));
    return call.promise;
  } catch (thrown) {
    return refused(thrown);
  }
}

function handleOf(replay: Replay, name: string, address: Address, value: Value): ChildHandle<unknown> {
  if (value.type === "started") return new Child(replay, name, address, value.runId);
  if (value.type === "threw") throw restoreError(value.error);
  throw new AikiError("INVALID_PAYLOAD", `An entry of type "${value.type}" cannot be the start of a child.`);
}

class Child implements ChildHandle<unknown> {
  readonly id: RunId;
  readonly #replay: Replay;
  readonly #name: string;
  readonly #address: Address;
  #result: Promise<unknown> | null = null;

  constructor(replay: Replay, name: string, address: Address, id: RunId) {
    this.#replay = replay;
    this.#name = name;
    this.#address = address;
    this.id = id;
  }

  result(options: ChildWaitOptions = {}): Promise<unknown> {
    if (options.signal !== undefined) return this.#awaitResult(options);
    if (callOf(this.#result)?.isWithdrawn !== false) this.#result = this.#awaitResult(options);
    return uncheckedCast<Promise<unknown>>(this.#result);
  }

  #awaitResult(options: ChildWaitOptions): Promise<unknown> {
    const read = (value: Value): unknown => {
      if (value.type === "threw") throw failureOf(this.id, value.error);
      return decode(value.type === "returned" ? value.output : undefined);
    };
    return this.#wait(options, read);
  }

  waitFor<Status extends FinalStatus>(
    status: Status,
    options?: ChildWaitOptions & { timeout?: undefined },
  ): Promise<ChildReached<unknown, Status> | ChildEnded>;
  waitFor<Status extends FinalStatus>(
    status: Status,
    options: ChildWaitOptions & { timeout: Duration },
  ): Promise<ChildReached<unknown, Status> | ChildEnded | ChildTimedOut>;
  waitFor(status: FinalStatus, options: ChildWaitOptions & { timeout?: Duration | undefined } = {}): Promise<never> {
    if (!finalStatuses.includes(status)) return refused(notFinal(status, this.id));
    return uncheckedCast<Promise<never>>(this.#wait(options, (value) => waitedFor(status, value, this.id)));
  }

  #wait<Result>(
    options: ChildWaitOptions & { timeout?: Duration | undefined },
    read: (value: Value) => Result,
  ): Promise<Result> {
    try {
      const { calls } = this.#replay;
      const where = `wait for child "${this.#name}"`;
      const fields = new Fields(options, where, "INVALID_OPTION");
      const durationMs = timeoutOf(this.#replay, fields);
      const signal = fields.signal("signal");
      fields.done();
      const child = this.#address;
      const identified = calls.identifyAt(childWaitAddress(child, 0));
      const call = new Call(identified.made, read);
      if (withdrawOnAbort(this.#replay, call, identified, signal)) return call.promise;
      const open = (): void => {
        calls.openWait(call, { address: addressOfCall(call), type: "child", name: this.#name, durationMs });
      };
      calls.makeForChild(call, identified, child, durationMs === null ? null : open);
      return call.promise;
    } catch (thrown) {
      return refused(thrown);
    }
  }
}

function notFinal(status: string, runId: RunId): AikiError {
  const message = `waitFor() of a child accepts ${finalStatuses.join(", ")}. Received ${JSON.stringify(status)}.`;
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
  return uncheckedCast<Waited>({ reached: true, status, error });
}

/** The journal wraps the child's own error in an error that says how the child ended. */
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
