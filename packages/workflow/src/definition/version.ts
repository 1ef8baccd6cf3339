import {
  AikiError,
  type AnyClient,
  type AnyRun,
  type ChildStartOptions,
  type Duration,
  type EventDefinitions,
  type RetryPolicy,
  type RunHandle,
  type Schema,
  type StartOptions,
} from "@aikirun/lib";
import {
  checkName,
  childStarter,
  Fields,
  isRecord,
  readRetry,
  readSchemas,
  starter,
  type VersionReference,
} from "@aikirun/lib/internal";
import type { ChildHandle, WorkflowRun } from "./run.ts";

/**
 * Parameters of a workflow version. Callers pass `Given` and the handler receives `Input`; the types differ only if
 * `schema.input` transforms the input. The handler returns `Returned` and callers receive `Output` in the same way.
 */
export interface VersionOptions<Given, Input, Returned, Output, Events extends EventDefinitions> {
  /** The events that its runs wait for, by name. Default: none. */
  events?: Events;
  /** The code of the workflow. Every replay calls it again, so put everything that has effects into tasks and steps. */
  handler: (run: WorkflowRun<Events>, input: Input) => Returned | Promise<Returned>;
  /** Which failures of the whole run are retried, and when; recorded successes are reused. Default: none. */
  retry?: RetryPolicy;
  /** How long a run may take, from when it is first queued, over all attempts. Default: no limit. */
  timeout?: Duration;
  /**
   * Standard Schemas that check, and may transform, the input before the handler and the output before it is recorded.
   * Default: nothing is checked.
   */
  schema?: { input?: Schema<Given, Input>; output?: Schema<Returned, Output> };
}

/** A version as a worker executes it, without its types. */
export interface ExecutableVersion extends VersionReference {
  readonly handler: (run: WorkflowRun<never>, input: never) => unknown;
  /** The retry policy of the whole run. */
  readonly retry: RetryPolicy;
}

/** One version of a workflow. */
export interface WorkflowVersion<Input, Output, Events extends EventDefinitions> extends ExecutableVersion {
  /**
   * Starts a run through a client. Rejects with `AikiError` `SCHEMA_MISMATCH`, `UNSERIALIZABLE`, `PAYLOAD_TOO_LARGE`,
   * `REFERENCE_CONFLICT` or `UNREACHABLE`. Resolves when the run is recorded.
   */
  start(client: AnyClient, ...args: StartArguments<Input, StartOptions>): Promise<RunHandle<Output, Events>>;
  /**
   * Starts a child of a run, from inside its handler. Resolves when the start is recorded. The call's address contains
   * the hash of the input, or `referenceId` if it is given.
   */
  startAsChild(run: AnyRun, ...args: StartArguments<Input, ChildStartOptions>): Promise<ChildHandle<Output>>;
}

/** The arguments of a start: the input is optional if it may be undefined. */
export type StartArguments<Input, Options> = undefined extends Input
  ? [input?: Input, options?: Options]
  : [input: Input, options?: Options];

export function createVersion<Given, Input, Returned, Output, Events extends EventDefinitions>(
  name: string,
  versionId: string,
  options: VersionOptions<Given, Input, Returned, Output, Events>,
): WorkflowVersion<Given, Output, Events> {
  const version: ExecutableVersion = executable(name, versionId, options);
  return {
    ...version,
    async start(client, ...[input, startOptions = {}]) {
      const start = client?.[starter];
      if (typeof start !== "function") throw misplaced("start", name, "a client");
      return handle<RunHandle<Output, Events>>(await start.call(client, version, input, startOptions));
    },
    startAsChild(run, ...[input, startOptions = {}]) {
      const start = run?.[childStarter];
      if (typeof start !== "function") throw misplaced("startAsChild", name, "the first argument of a handler");
      return handle<Promise<ChildHandle<Output>>>(start.call(run, { version, input, options: startOptions }));
    },
  };
}

function executable<Given, Input, Returned, Output, Events extends EventDefinitions>(
  name: string,
  versionId: string,
  options: VersionOptions<Given, Input, Returned, Output, Events>,
): ExecutableVersion {
  checkName(versionId, "version");
  const fields = new Fields(options, `workflow "${name}" ${versionId}`, "INVALID_CONFIG");
  const { handler, events = {} } = options;
  if (typeof fields.take("handler") !== "function") fields.refuse("handler", "a function");
  fields.shaped("events", isRecord, "an object with the results of event()");
  for (const [eventName, definition] of Object.entries(events)) {
    if (isRecord(definition)) checkName(eventName, "event");
    else fields.refuse("events", "an object with the results of event()");
  }
  const timeoutMs = fields.timeout("timeout");
  const version = {
    name,
    versionId,
    handler,
    events,
    retry: readRetry(fields, options.retry),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...readSchemas(fields),
  };
  fields.done();
  return version;
}

function misplaced(method: string, name: string, what: string): AikiError {
  const code = method === "start" ? "INVALID_CLIENT" : "INVALID_RUN";
  const ids = { workflow: name };
  return new AikiError(code, `${method} of workflow "${name}" takes ${what} as its first argument.`, { ids });
}

/** Adds the version's types, which a client or a run does not know. */
function handle<Type>(value: unknown): Type {
  return value as Type;
}
