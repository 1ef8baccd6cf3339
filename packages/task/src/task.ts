import { AikiError, type AnyRun, type Duration, type RetryPolicy, type Schema, type TaskContext } from "@aikirun/lib";
import {
  checkName,
  defaultTaskTimeoutMs,
  definitionFields,
  Fields,
  performer,
  present,
  readRetry,
  readSchemas,
  type TaskCall,
} from "@aikirun/lib/internal";

/**
 * Parameters of a task. Callers pass `Given` and the handler receives `Input`; the types differ only if `schema.input`
 * transforms the input. The handler returns `Returned` and callers receive `Output` in the same way.
 */
export interface TaskOptions<Given, Input, Returned, Output> {
  /** 1 to 255 characters. Part of every call's address: after a rename, recorded calls are not found. */
  name: string;
  /**
   * The code of the task. It may run more than once, but its result is recorded once. Pass `idempotencyKey` to the
   * services that it calls, and stop when `signal` aborts.
   */
  handler: (input: Input, context: TaskContext) => Returned | Promise<Returned>;
  /** Which failures are retried, and when. Default: none. A `NonRetryableError` ends any policy. */
  retry?: RetryPolicy;
  /** How long one try may take; then its `signal` aborts and it counts as failed. Default: 5 minutes. */
  timeout?: Duration;
  /**
   * Standard Schemas that check, and may transform, the input before an attempt and the output before it is recorded.
   * Default: nothing is checked.
   */
  schema?: { input?: Schema<Given, Input>; output?: Schema<Returned, Output> };
  /**
   * Identifies a call instead of its whole input: a call whose key is recorded gets its recorded value even if its
   * input has changed. Default: the input.
   */
  key?: (input: Given) => string;
}

/** A named function with effects. A workflow calls it, and the result is recorded in the run's journal. */
export interface Task<Input, Output> {
  /** The name that the task was defined with. */
  readonly name: string;
  /**
   * Performs the task in a run and resolves with its output. A recorded output is returned without a new try.
   * `run` is the first argument of a workflow's handler. Rejects with `TaskFailedError` once the task has failed for
   * good; its `cause` is the last error. Throws `AikiError` `UNSERIALIZABLE` or `PAYLOAD_TOO_LARGE` for an input that
   * cannot be recorded, `INVALID_RUN` or `INVALID_KEY` for an invalid run or key, and `INVALID_OPTION` for an unknown
   * option.
   */
  start(run: AnyRun, ...args: TaskArguments<Input>): Promise<Output>;
}

/** The arguments after the run: the input is optional if it may be undefined. */
export type TaskArguments<Input> = undefined extends Input
  ? [input?: Input, options?: TaskStartOptions]
  : [input: Input, options?: TaskStartOptions];

/** Options of one call of a task. */
export interface TaskStartOptions {
  /**
   * Identifies the call instead of the task's own `key` and the input. Use it to distinguish otherwise equal calls,
   * such as calls with the same input in parallel branches. At most 255 characters. Default: the task's own `key`, else
   * the input.
   */
  key?: string;
  /** Withdraws the call when it aborts: the call rejects with `AikiError` `WAIT_WITHDRAWN`. Default: none. */
  signal?: AbortSignal;
}

/**
 * Defines a task. Its input and output types come from the handler, or from the schemas.
 * Throws `AikiError` `INVALID_NAME`, `INVALID_RETRY_POLICY`, `INVALID_DURATION` or `INVALID_CONFIG` for invalid
 * options.
 *
 * @example
 * ```ts
 * import { task } from "@aikirun/task";
 *
 * export const chargeCard = task({
 *   name: "charge-card",
 *   async handler(input: { orderId: string; cents: number }, { idempotencyKey, signal }) {
 *     const body = JSON.stringify({ ...input, idempotencyKey });
 *     const response = await fetch("https://payments.example.com/charges", { method: "POST", body, signal });
 *     return { status: response.status };
 *   },
 *   retry: { type: "exponential", maxAttempts: 5, baseDelayMs: 200 },
 *   timeout: { seconds: 30 },
 * });
 * ```
 */
export function task<Input = void, Returned = unknown, Given = Input, Output = Returned>(
  options: TaskOptions<Given, Input, Returned, Output>,
): Task<Given, Output> {
  const base = baseOf(options);
  const { name, key } = options;
  return {
    name,
    start(run, ...[input, options]) {
      const perform = performerOf(run, name);
      const call: TaskCall = { ...base, input };
      const given = options === undefined ? {} : readOptions(name, options);
      const own = key === undefined ? undefined : checkKey(name, Reflect.apply(key, undefined, [input]));
      Object.assign(
        call,
        given.key === undefined ? present({ key: own }) : present({ key: given.key, replacedKey: own }),
      );
      if (given.signal !== undefined) call.signal = given.signal;
      return recorded<Output>(perform(call));
    },
  };
}

function readOptions(name: string, options: TaskStartOptions): { key?: string; signal?: AbortSignal } {
  const fields = new Fields(options, `options of task "${name}"`, "INVALID_OPTION");
  const key = fields.take("key");
  const signal = fields.signal("signal");
  fields.done();
  return present({ key: key === undefined ? undefined : checkKey(name, key), signal });
}

/** The part of a call that is the same for every input. */
function baseOf<Given, Input, Returned, Output>(
  options: TaskOptions<Given, Input, Returned, Output>,
): Omit<TaskCall, "input"> {
  const fields = definitionFields(options, "task");
  fields.take("name");
  const name = checkName(options.name, "task");
  const { handler, key } = options;
  if (typeof fields.take("handler") !== "function") fields.refuse("handler", "a function");
  if (fields.take("key") !== undefined && typeof key !== "function") fields.refuse("key", "a function of the input");
  const base = {
    kind: "task",
    name,
    retry: readRetry(fields, options.retry),
    timeoutMs: fields.timeout("timeout") ?? defaultTaskTimeoutMs,
    handler,
    ...readSchemas(fields),
  } as const;
  fields.done();
  return base;
}

function performerOf(run: AnyRun, name: string): AnyRun[typeof performer] {
  const perform = run?.[performer];
  if (typeof perform === "function") return perform.bind(run);
  const advice = "pass the first argument of a workflow's handler to start";
  throw new AikiError("INVALID_RUN", `Task "${name}" was started without a run; ${advice}.`, { ids: { task: name } });
}

function checkKey(name: string, key: unknown): string {
  if (typeof key === "string") return key;
  const what = `The key of task "${name}" must be a string, not ${typeof key}`;
  throw new AikiError("INVALID_KEY", `${what}; it replaces the input in the call's address.`, {
    ids: { task: name },
  });
}

/** Adds the task's output type, which the run does not know. */
function recorded<Output>(value: Promise<unknown>): Promise<Output> {
  return value as Promise<Output>;
}
