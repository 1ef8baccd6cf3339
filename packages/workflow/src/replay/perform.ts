/** Tasks and inline steps: each is tried until a try succeeds or its retry policy ends. */

import {
  AikiError,
  type Env,
  isRetryable,
  type Logger,
  type TaskContext,
  TaskFailedError,
  TaskTimeoutError,
} from "@aikirun/lib";
import {
  decode,
  describeError,
  encode,
  maxAttemptsOf,
  parseWith,
  restoreError,
  retryAddress,
  retryDelayMs,
  type TaskCall,
  tryAddress,
} from "@aikirun/lib/internal";
import type { Address, Payload, TaskTry, Value } from "@aikirun/lib/protocol";
import { Call, type OpenCall, refused } from "./call.ts";
import { addressOfCall } from "./calls.ts";
import { checkKey, inputContentOf, keyedContent } from "./content.ts";
import type { OngoingTry } from "./ongoing-work.ts";
import { runAt, withinOf } from "./points.ts";
import type { Replay } from "./replay.ts";
import type { ReplayScheduler } from "./replay-scheduler.ts";
import { uncheckedCast } from "./unchecked-cast.ts";
import { withdrawOnAbort } from "./withdraw-on-abort.ts";

/** During a retry delay shorter than this the run keeps its slot; a longer delay is a wait. Milliseconds. */
const holdBelowMs = 1_000;

export function perform(replay: Replay, task: TaskCall): Promise<unknown> {
  try {
    const where = nameOf(task);
    const input = encode(task.input, `input of ${where}`);
    const bare = task.replacedKey ?? (task.kind === "step" ? null : inputContentOf(input));
    const { kind, name } = task;
    const identified = replay.calls.identify({ kind, name, ...keyedContent(checkKey(task.key, where), bare) });
    const call = new Call(identified.made, (value, own) => outputOf(value, idsOf(replay, task, own)));
    if (withdrawOnAbort(replay, call, identified, task.signal)) return call.promise;
    const tries = new Tries(replay, task, input, call);
    replay.calls.make(call, identified, "effect", () => tries.begin());
    return call.promise;
  } catch (thrown) {
    return refused(thrown);
  }
}

function nameOf({ kind, name }: TaskCall): string {
  return `${kind} "${name}"`;
}

function idsOf({ run }: Replay, task: TaskCall, call: OpenCall): CallIds {
  return { task: task.name, runId: run.id, address: addressOfCall(call) };
}

/** The result of a recorded value; the same in the first execution and on replay. */
function outputOf(value: Value, ids: CallIds): unknown {
  if (value.type === "returned") return decode(value.output);
  if (value.type === "threw") throw new TaskFailedError(ids, restoreError(value.error));
  throw new AikiError("INVALID_PAYLOAD", `An entry of type "${value.type}" cannot be the result of a task.`, { ids });
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

  /** Continues after the recorded tries. */
  begin(): void {
    const { journal } = this.#replay.scheduler;
    const address = addressOfCall(this.#call);
    let failed = 0;
    let delayMs = 0;
    while (journal.hasTries) {
      const entry = journal.peek(tryAddress(address, failed + 1));
      if (entry?.value.type !== "retrying") break;
      failed += 1;
      delayMs = entry.value.retryAt - entry.at;
    }
    const isDue = failed === 0 || journal.peek(retryAddress(address, failed)) !== undefined;
    if (isDue) this.#try(failed + 1);
    else this.#pause(failed, delayMs);
  }

  /** Delays the next try after the `failed`th one. A short delay keeps the slot; a long one is a wait. */
  #pause(failed: number, delayMs: number): void {
    const { scheduler, calls } = this.#replay;
    const call = this.#call;
    const begin = (): void => this.#try(failed + 1);
    const again = (): void => {
      scheduler.newCalls.push({ call, kind: "effect", begin, adopt: () => {} });
      scheduler.touch();
    };
    if (delayMs < holdBelowMs) {
      scheduler.enqueueAfter(delayMs, again);
      return;
    }
    const address = retryAddress(addressOfCall(call), failed);
    calls.openWait(call, { address, type: "retry", name: this.#task.name, durationMs: delayMs }, again);
  }

  #try(attempt: number): void {
    const { scheduler } = this.#replay;
    const { host, work } = scheduler;
    const call = this.#call;
    const startedAt = host.env.now();
    const ongoing = new RunningTry(this.#replay, this.#task, call, { attempt, startedAt }, (thrown) => {
      work.remove(ongoing);
      this.#failed(attempt, startedAt, thrown);
    });
    work.add(ongoing);
    const returned = (output: Payload | undefined): void => {
      if (!ongoing.close()) return;
      work.remove(ongoing);
      const value = output === undefined ? { type: "returned" as const } : { type: "returned" as const, output };
      scheduler.settle(call, { address: addressOfCall(call), startedAt, value }, value);
    };
    const threw = (thrown: unknown): void => {
      if (!ongoing.close()) return;
      work.remove(ongoing);
      this.#failed(attempt, startedAt, thrown);
    };
    this.#handle(ongoing).then(returned, threw);
  }

  /** Durable calls inside the task are refused. Unhandled rejections of the task fail this run. */
  #handle(own: RunningTry): Promise<Payload | undefined> {
    const where = nameOf(this.#task);
    return runAt(withinOf(this.#call.made.point, where), () => this.#work(own, where));
  }

  async #work({ context }: RunningTry, where: string): Promise<Payload | undefined> {
    const task = this.#task;
    const { inputSchema, outputSchema } = task;
    const given = decode(this.#input);
    const input = inputSchema === undefined ? given : await parseWith(inputSchema, given, `input of ${where}`);
    const result = await task.handler(uncheckedCast<never>(input), context);
    const what = `output of ${where}`;
    return encode(outputSchema === undefined ? result : await parseWith(outputSchema, result, what), what);
  }

  #failed(attempt: number, startedAt: number, thrown: unknown): void {
    const { scheduler } = this.#replay;
    const call = this.#call;
    const address = addressOfCall(call);
    const error = describeError(thrown);
    const { env } = scheduler.host;
    const retryInMs = isRetryable(thrown) ? retryDelayMs(this.#task.retry, attempt, () => env.random()) : null;
    if (retryInMs === null) {
      const value = { type: "threw", error } as const;
      scheduler.settle(call, { address, startedAt, value }, value);
      return;
    }
    if (!call.open) return;
    const value = { type: "retrying", error, retryInMs, maxAttempts: maxAttemptsOf(this.#task.retry) } as const;
    const entry = { address: tryAddress(address, attempt), startedAt, value };
    const isShort = retryInMs < holdBelowMs; // mutant: short-retry
    const recorded = isShort ? () => this.#pause(attempt, retryInMs) : null;
    scheduler.post({ entry, call, seen: false, recorded });
    if (!isShort) this.#pause(attempt, retryInMs);
  }
}

/** What identifies a call in errors and logs. */
interface CallIds extends Record<string, string> {
  task: string;
  runId: string;
  address: Address;
}

/**
 * The idempotency key of a call. Steps with the same name may do different things, so the idempotency key of a step
 * without a `key` contains its identity. Tasks with equal inputs are equal requests, so their address is enough.
 */
function idempotencyKeyOf({ runId, address }: CallIds, { kind, key }: TaskCall, { made, identity }: OpenCall): string {
  return kind === "step" && key === undefined ? `${runId}:${made.content}@${identity}` : `${runId}:${address}`;
}

/** One running try. It ends exactly once: by its result, its timeout or an abort. */
class RunningTry implements OngoingTry {
  readonly context: TaskContext;
  readonly call: OpenCall;
  readonly #task: TaskCall;
  readonly #env: Env;
  readonly #startedAt: number;
  #controller: AbortController | null = null;
  #aborted: { reason: unknown } | null = null;
  #isClosed = false;
  readonly #cancelTimeout: () => void;

  constructor(
    replay: Replay,
    task: TaskCall,
    call: OpenCall,
    { attempt, startedAt }: { attempt: number; startedAt: number },
    timedOut: (error: TaskTimeoutError) => void,
  ) {
    const { scheduler } = replay;
    const ids = idsOf(replay, task, call);
    this.call = call;
    this.#task = task;
    this.#env = scheduler.host.env;
    this.#startedAt = startedAt;
    this.#cancelTimeout = scheduler.host.env.after(task.timeoutMs, () => {
      if (!this.close()) return;
      const error = new TaskTimeoutError(ids, task.timeoutMs);
      this.#abort(error);
      timedOut(error);
    });
    this.context = new TryContext(this, ids, idempotencyKeyOf(ids, task, call), attempt, scheduler);
  }

  describe(): TaskTry {
    const { name: task, retry } = this.#task;
    const { attempt } = this.context;
    const runningMs = Math.max(0, Math.round(this.#env.now() - this.#startedAt));
    return { task, address: addressOfCall(this.call), attempt, maxAttempts: maxAttemptsOf(retry), runningMs };
  }

  /** Created on first use, because most handlers do not use it. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#aborted !== null) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  /** Returns false when it had already ended. */
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
  readonly #try: RunningTry;
  readonly #ids: CallIds;
  readonly #logger: Logger;

  constructor(
    own: RunningTry,
    ids: CallIds,
    idempotencyKey: string,
    attempt: number,
    { host, fence }: ReplayScheduler,
  ) {
    this.runId = ids.runId;
    this.attempt = attempt;
    this.idempotencyKey = idempotencyKey;
    this.fence = fence;
    this.#try = own;
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
