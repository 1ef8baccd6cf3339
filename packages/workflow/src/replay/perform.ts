/** Tasks and inline steps: tried until one try returns, or no more are due. */

import {
  AikiError,
  decode,
  describeError,
  encode,
  isRetryable,
  type Logger,
  parseWith,
  restoreError,
  retryAddress,
  retryDelayMs,
  type TaskCall,
  type TaskContext,
  TaskFailedError,
  TaskTimeoutError,
  tryAddress,
} from "@aikirun/lib";
import type { Address, Payload, Value } from "@aikirun/lib/protocol";
import { contentOf } from "./addresses.ts";
import { Call, type OpenCall, refused } from "./call.ts";
import type { Pump } from "./pump.ts";
import type { Replay } from "./replay.ts";
import { trusted } from "./trust.ts";
import type { Flight } from "./work.ts";

/** A retry that is due sooner holds the slot; a later one is a wait. Milliseconds. */
const holdBelowMs = 1_000;

/** The longest `key`, in characters. */
const longestKey = 255;

export function perform(replay: Replay, task: TaskCall): Promise<unknown> {
  try {
    const input = encode(task.input, `input of ${nameOf(task)}`);
    const address = replay.addresses.next(task.kind, task.name, contentFor(task, input));
    const ids = { task: task.name, runId: replay.run.id, address };
    const call = new Call(address, (value) => outputOf(value, ids));
    const tries = new Tries(replay, task, input, call);
    replay.pump.ask(call, "effect", () => tries.begin());
    return call.promise;
  } catch (thrown) {
    return refused(thrown);
  }
}

/** A step has no input; its name and order tell it from others. */
function contentFor(task: TaskCall, input: Payload | undefined): string | null {
  if (task.key === undefined) return task.kind === "step" ? null : contentOf(input);
  if (typeof task.key === "string" && task.key.length <= longestKey) return task.key;
  const message = `The key of ${nameOf(task)} must be a string of at most ${longestKey} characters.`;
  throw new AikiError("INVALID_KEY", message);
}

function nameOf({ kind, name }: TaskCall): string {
  return `${kind} "${name}"`;
}

/** The same on the first run and on replay: read from what is recorded. */
function outputOf(value: Value, ids: { task: string; runId: string; address: Address }): unknown {
  if (value.type === "returned") return decode(value.output);
  if (value.type === "threw") throw new TaskFailedError(ids, restoreError(value.error));
  throw new AikiError("INVALID_PAYLOAD", `A task's end cannot be read from an entry "${value.type}".`, { ids });
}

/** The tries of one call, one after another. */
class Tries {
  readonly #replay: Replay;
  readonly #task: TaskCall;
  readonly #input: Payload | undefined;
  readonly #call: OpenCall;

  constructor(replay: Replay, task: TaskCall, input: Payload | undefined, call: OpenCall) {
    this.#replay = replay;
    this.#task = task;
    this.#input = input;
    this.#call = call;
  }

  /** Goes on after the tries that are recorded. */
  begin(): void {
    const { journal } = this.#replay.pump;
    const { address } = this.#call;
    let failed = 0;
    let delayMs = 0;
    while (journal.hasTries) {
      const entry = journal.peek(tryAddress(address, failed + 1));
      if (entry?.value.type !== "retrying") break;
      failed += 1;
      delayMs = entry.value.retryAt - entry.at;
    }
    const isDue = failed === 0 || journal.take(retryAddress(address, failed)) !== undefined;
    if (isDue) this.#try(failed + 1);
    else this.#pause(failed, delayMs);
  }

  /** After the `failed`th try: a short delay holds the slot, a long one is a wait like any other. */
  #pause(failed: number, delayMs: number): void {
    const { pump } = this.#replay;
    const again = { call: this.#call, kind: "effect", begin: () => this.#try(failed + 1) } as const;
    if (delayMs < holdBelowMs) {
      pump.enqueueAfter(delayMs, again);
      return;
    }
    const address = retryAddress(this.#call.address, failed);
    pump.openWait({ address, type: "retry", name: this.#task.name, durationMs: delayMs });
    pump.deliveries.listen(address, () => pump.enqueue(again));
  }

  async #try(attempt: number): Promise<void> {
    const { host, work } = this.#replay.pump;
    const task = this.#task;
    const startedAt = host.env.now();
    const flight = new Try(this.#replay, task, this.#call.address, attempt, (thrown) => {
      work.land(flight);
      this.#failed(attempt, startedAt, thrown);
    });
    work.takeOff(flight);
    try {
      const given = decode(this.#input);
      const { inputSchema, outputSchema } = task;
      const input = inputSchema === undefined ? given : await parseWith(inputSchema, given, `input of ${nameOf(task)}`);
      const result = await task.handler(trusted<never>(input), flight.context);
      const where = `output of ${nameOf(task)}`;
      const output = encode(outputSchema === undefined ? result : await parseWith(outputSchema, result, where), where);
      if (!flight.close()) return;
      work.land(flight);
      const value = output === undefined ? { type: "returned" as const } : { type: "returned" as const, output };
      this.#replay.pump.settle(this.#call, { address: this.#call.address, startedAt, value });
    } catch (thrown) {
      if (!flight.close()) return;
      work.land(flight);
      this.#failed(attempt, startedAt, thrown);
    }
  }

  #failed(attempt: number, startedAt: number, thrown: unknown): void {
    const { pump } = this.#replay;
    const { address } = this.#call;
    const error = describeError(thrown);
    const { env } = pump.host;
    const retryInMs = isRetryable(thrown) ? retryDelayMs(this.#task.retry, attempt, () => env.random()) : null;
    if (retryInMs === null) {
      pump.settle(this.#call, { address, startedAt, value: { type: "threw", error } });
      return;
    }
    const value = { type: "retrying", error, retryInMs } as const;
    const entry = { address: tryAddress(address, attempt), startedAt, value };
    const isShort = retryInMs < holdBelowMs;
    pump.post({ entry, seen: false, recorded: isShort ? () => this.#pause(attempt, retryInMs) : null });
    if (!isShort) this.#pause(attempt, retryInMs);
  }
}

/** What identifies a call in errors and logs. */
interface CallIds extends Record<string, string> {
  task: string;
  runId: string;
  address: Address;
}

/** One try under way: it ends once, whatever ends it first. */
class Try implements Flight {
  readonly context: TaskContext;
  #controller: AbortController | null = null;
  #aborted: { reason: unknown } | null = null;
  #isClosed = false;
  readonly #cancelTimeout: () => void;

  constructor(
    { run, pump }: Replay,
    task: TaskCall,
    address: Address,
    attempt: number,
    timedOut: (error: TaskTimeoutError) => void,
  ) {
    const ids = { task: task.name, runId: run.id, address };
    this.#cancelTimeout = pump.host.env.after(task.timeoutMs, () => {
      if (!this.close()) return;
      const error = new TaskTimeoutError(ids, task.timeoutMs);
      this.#abort(error);
      timedOut(error);
    });
    this.context = new TryContext(this, ids, attempt, pump);
  }

  /** Made when asked for: most handlers do not. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#aborted !== null) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  /** False when it ended before. */
  close(): boolean {
    if (this.#isClosed) return false;
    this.#isClosed = true;
    this.#cancelTimeout();
    return true;
  }

  abort(reason: unknown): void {
    if (this.close()) this.#abort(reason);
  }

  #abort(reason: unknown): void {
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}

class TryContext implements TaskContext {
  readonly runId: string;
  readonly attempt: number;
  readonly idempotencyKey: string;
  readonly fence: number;
  readonly #try: Try;
  readonly #ids: CallIds;
  readonly #logger: Logger;

  constructor(flight: Try, ids: CallIds, attempt: number, { host, fence }: Pump) {
    this.runId = ids.runId;
    this.attempt = attempt;
    this.idempotencyKey = `${ids.runId}:${ids.address}`;
    this.fence = fence;
    this.#try = flight;
    this.#ids = ids;
    this.#logger = host.logger;
  }

  get signal(): AbortSignal {
    return this.#try.signal;
  }

  get logger(): Logger {
    return this.#logger.child({ ...this.#ids, attempt: this.attempt });
  }
}
