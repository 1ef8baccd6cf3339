import {
  AikiError,
  checkName,
  type Duration,
  defaultTaskTimeoutMs,
  definitionFields,
  performer,
  type RetryPolicy,
  readRetry,
  readSchemas,
  type Schema,
  type TaskCall,
  type TaskContext,
  type TaskRunner,
} from "@aikirun/lib";

/**
 * What makes a task. `Given` is what callers pass, `Input` what the handler gets: the same, unless `schema.input` turns
 * one into the other. `Returned` and `Output` likewise.
 */
export interface TaskOptions<Given, Input, Returned, Output> {
  /** 1 to 255 characters. Part of every call's address: renaming a task makes its recorded calls unknown. */
  name: string;
  /**
   * The work. It may run more than once, its result is recorded once: pass `idempotencyKey` to the services it calls,
   * and stop when `signal` aborts.
   */
  handler: (input: Input, context: TaskContext) => Returned | Promise<Returned>;
  /** Which failures are tried again, and when. Default: none. A `NonRetryableError` ends any policy. */
  retry?: RetryPolicy;
  /** How long one try may take; then its `signal` aborts and it counts as failed. Default: 5 minutes. */
  timeout?: Duration;
  /** Standard Schemas that check, and may transform, the input before a try and the output before it is recorded. */
  schema?: { input?: Schema<Given, Input>; output?: Schema<Returned, Output> };
  /**
   * What makes two calls the same call, in place of the whole input: a call whose key is recorded is answered from the
   * record though its input has changed.
   */
  key?: (input: Given) => string;
}

/** A named piece of work with effects, which a workflow calls and whose result it remembers. */
export interface Task<Input, Output> {
  readonly name: string;
  /**
   * Performs the task as a step of a run and resolves with its output, at once when the run's record holds it.
   * `run` is the first argument of a workflow's handler. Rejects with `TaskFailedError` once the task has failed for
   * good; its `cause` is the last error. Throws `AikiError` `UNSERIALIZABLE` or `PAYLOAD_TOO_LARGE` for an input that
   * cannot be recorded, and `INVALID_RUN` or `INVALID_KEY` for what is neither a run nor a key.
   */
  start(run: TaskRunner, ...input: TaskArguments<Input>): Promise<Output>;
}

/** The arguments after the run: none are needed by a task whose input may be undefined. */
export type TaskArguments<Input> = undefined extends Input ? [input?: Input] : [input: Input];

/**
 * Defines a task. Its input and output types come from the handler, or from the schemas.
 * Throws `AikiError` `INVALID_NAME`, `INVALID_RETRY_POLICY`, `INVALID_DURATION` or `INVALID_CONFIG` for options that
 * could never work.
 */
export function task<Input = void, Returned = unknown, Given = Input, Output = Returned>(
  options: TaskOptions<Given, Input, Returned, Output>,
): Task<Given, Output> {
  const base = baseOf(options);
  const { name, key } = options;
  return {
    name,
    start(run, ...input) {
      const perform = performerOf(run, name);
      const call =
        key === undefined ? { ...base, input: input[0] } : { ...base, input: input[0], key: keyOf(name, key, input) };
      return recorded<Output>(perform(call));
    },
  };
}

/** Every call of the task, but for its input. */
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

function performerOf(run: TaskRunner, name: string): TaskRunner[typeof performer] {
  const perform = run?.[performer];
  if (typeof perform === "function") return perform.bind(run);
  const advice = "give start the first argument of a workflow's handler";
  throw new AikiError("INVALID_RUN", `Task "${name}" was started without a run; ${advice}.`, { ids: { task: name } });
}

/** `input` is the argument list of the call: empty where the input may be undefined. */
function keyOf<Given>(name: string, key: (input: Given) => string, input: readonly unknown[]): string {
  const made: unknown = Reflect.apply(key, undefined, input);
  if (typeof made === "string") return made;
  const what = `The key of task "${name}" must be a string, not ${typeof made}`;
  throw new AikiError("INVALID_KEY", `${what}; it stands for the input in the call's address.`, {
    ids: { task: name },
  });
}

/** What a call records is what its handler or its output schema gave: the run cannot know its type, the task does. */
function recorded<Output>(value: Promise<unknown>): Promise<Output> {
  return value as Promise<Output>;
}
