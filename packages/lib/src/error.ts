import { type ErrorCode, errorCodes, isErrorCode } from "./error-codes/table.ts";
import type { Stall } from "./protocol/run.ts";

/** Options of an `AikiError`. */
export interface AikiErrorOptions {
  /** What led to the error. Default: none. */
  cause?: unknown;
  /** What the error is about: `runId`, `task`, `address`, and the like. Default: nothing. */
  ids?: Readonly<Record<string, string>>;
  /** Whether the same call may succeed when it is made again. Default: what `errorCodes` says about the code. */
  retryable?: boolean;
}

declare const unknownCode: unique symbol;

/** A code that `errorCodes` of this version does not have: a newer server or worker made the error. */
export type UnknownErrorCode = string & { readonly [unknownCode]: true };

/** A code from outside of this process, as it was received: one of the table, or an unknown one. */
export function receivedCode(code: string): ErrorCode | UnknownErrorCode {
  return code as ErrorCode | UnknownErrorCode;
}

/**
 * The marks by which `instanceof` knows a class: symbols from the global registry, so that an error made by another
 * copy of this package is still recognised. A class without a mark (a user's subclass) is known by its prototype.
 */
const marks = new WeakMap<object, symbol>();

/** Gives a class its name and its mark. */
function brand(type: { prototype: object }, name: string): void {
  const mark = Symbol.for(`@aikirun/${name}`);
  marks.set(type, mark);
  Object.defineProperty(type.prototype, mark, { value: true });
  Object.defineProperty(type.prototype, "name", { value: name, writable: true, configurable: true });
}

/** False for a proxy that refuses to be looked at, such as a revoked one. */
function isInstance(type: { prototype: object }, value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const mark = marks.get(type);
  try {
    return mark === undefined ? Object.prototype.isPrototypeOf.call(type.prototype, value) : mark in value;
  } catch {
    return false;
  }
}

/** Every error of Aiki's own: a stable `code`, a sentence that says what to do, the ids, and `cause`. */
export class AikiError extends Error {
  /**
   * Stable: compare this, never the message. `errorCodes` and docs/errors.md explain each code. A newer server or
   * worker may use a code that this version does not have. Such an error keeps its code and its message exactly as they
   * were received, and is retryable unless the record of the error says otherwise; so give a `switch` over codes a
   * `default`.
   */
  readonly code: ErrorCode | UnknownErrorCode;
  /** What the error is about, by kind: `runId`, `task`, `address`. */
  readonly ids: Readonly<Record<string, string>>;
  /** False when trying the same again is pointless; tasks and workflows then end their retries. */
  readonly retryable: boolean;

  static {
    brand(AikiError, "AikiError");
  }

  constructor(code: ErrorCode | UnknownErrorCode, message: string, options: AikiErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.ids = options.ids ?? {};
    this.retryable = options.retryable ?? (isErrorCode(code) ? errorCodes[code].retryable : true);
  }

  /** True for errors made by any copy of this package. Never throws, whatever `value` is. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: subclasses inherit this method, and each checks for its own class.
    return isInstance(this, value);
  }
}

/** Throw this, or a subclass, from a task or a workflow to fail at once, whatever its retries. Code `NON_RETRYABLE`. */
export class NonRetryableError extends AikiError {
  static {
    brand(NonRetryableError, "NonRetryableError");
  }

  constructor(message: string, options: { cause?: unknown } = {}) {
    super("NON_RETRYABLE", message, options);
  }
}

/** Thrown into the handler when a task failed for good; `cause` is its last error. Code `TASK_FAILED`. */
export class TaskFailedError extends AikiError {
  static {
    brand(TaskFailedError, "TaskFailedError");
  }

  constructor(ids: { task: string; runId: string; address: string }, cause: unknown) {
    super("TASK_FAILED", `Task "${ids.task}" failed for good: ${sentence(cause)}`, { cause, ids: { ...ids } });
  }
}

/**
 * Thrown by a child's `result()` when the child failed or was cancelled; `cause` is its recorded error, if any.
 * Code `CHILD_RUN_FAILED`.
 */
export class ChildRunFailedError extends AikiError {
  /** How the child ended. */
  readonly status: "failed" | "cancelled";

  static {
    brand(ChildRunFailedError, "ChildRunFailedError");
  }

  constructor(ids: { runId: string }, status: "failed" | "cancelled", cause?: unknown) {
    const how = status === "failed" ? "failed" : "was cancelled";
    const why = cause === undefined ? "." : `: ${sentence(cause)}`;
    super("CHILD_RUN_FAILED", `Child run ${ids.runId} ${how}${why}`, { cause, ids: { ...ids } });
    this.status = status;
  }
}

/** Thrown by a handle's `result()` when the run failed; `cause` is the recorded error. Code `RUN_FAILED`. */
export class RunFailedError extends AikiError {
  static {
    brand(RunFailedError, "RunFailedError");
  }

  constructor(ids: { runId: string }, cause: unknown) {
    super("RUN_FAILED", `Run ${ids.runId} failed: ${sentence(cause)}`, { cause, ids: { ...ids } });
  }
}

/** Thrown by a handle's `result()` when the run was cancelled. Code `RUN_CANCELLED`. */
export class RunCancelledError extends AikiError {
  static {
    brand(RunCancelledError, "RunCancelledError");
  }

  constructor(ids: { runId: string }, reason?: string) {
    const why = reason === undefined ? "." : `: ${reason}`;
    super("RUN_CANCELLED", `Run ${ids.runId} was cancelled${why}`, { ids: { ...ids } });
  }
}

/**
 * Thrown by a handle's `result()` when the run is stalled: it does not continue until its cause is removed and it is
 * retried, or it is cancelled. Code `RUN_STALLED`; not retryable.
 */
export class RunStalledError extends AikiError {
  /** Why the run stalled. */
  readonly stall: Stall;

  static {
    brand(RunStalledError, "RunStalledError");
  }

  /** `explanation` is the one of the run's view: what happened, and what to do. */
  constructor(ids: { runId: string }, stall: Stall, explanation: string) {
    super("RUN_STALLED", `Run ${ids.runId} does not continue by itself. ${explanation}`, { ids: { ...ids } });
    this.stall = stall;
  }
}

/** One try of a task took longer than its `timeout`. Retried like any other failure. Code `TASK_TIMED_OUT`. */
export class TaskTimeoutError extends AikiError {
  static {
    brand(TaskTimeoutError, "TaskTimeoutError");
  }

  /** `timeoutMs` in milliseconds. */
  constructor(ids: { task: string; runId: string; address: string }, timeoutMs: number) {
    const what = `Task "${ids.task}" did not finish within ${timeoutMs} ms`;
    super("TASK_TIMED_OUT", `${what}; raise its timeout, or stop its work when its signal aborts.`, {
      ids: { ...ids },
    });
  }
}

/** True for an `AikiError` made by any copy of this package. Never throws. */
export function isAikiError(value: unknown): value is AikiError {
  return value instanceof AikiError;
}

/** False when what was thrown says that trying again is pointless. Never throws. */
export function isRetryable(thrown: unknown): boolean {
  try {
    return !(thrown instanceof AikiError) || thrown.retryable !== false;
  } catch {
    return true;
  }
}

/** The message of a cause, with the first of its errors, to end another's sentence. Never throws. */
function sentence(cause: unknown): string {
  try {
    if (!(cause instanceof Error)) return String(cause);
    const first: unknown = cause instanceof AggregateError ? cause.errors[0] : undefined;
    return first instanceof Error ? `${cause.message}: ${first.message}` : cause.message;
  } catch {
    return "an error that cannot be read";
  }
}
