/** Errors as values: what of something thrown is recorded, and back. */

import { Buffer } from "node:buffer";
import {
  AikiError,
  ChildRunFailedError,
  NonRetryableError,
  RunCancelledError,
  RunFailedError,
  TaskFailedError,
  TaskTimeoutError,
} from "./error.ts";
import { limits } from "./protocol/api.ts";
import type { Failure } from "./protocol/run.ts";

/** How long a string of a failure may be and how many causes it may have, each tried until the whole fits its limit. */
const budgets = [
  { characters: 16_384, causes: 8 },
  { characters: 4_096, causes: 8 },
  { characters: 1_024, causes: 6 },
  { characters: 256, causes: 4 },
  { characters: 128, causes: 0 },
] as const;

type Budget = (typeof budgets)[number];

/**
 * What is recorded of something thrown: its name, message, code, stack and causes, cut to 64 KiB of JSON.
 * Total: never throws, whatever was thrown (getters that throw, cycles of causes, proxies, null).
 */
export function describeError(thrown: unknown): Failure {
  for (const budget of budgets) {
    const failure = describe(thrown, budget, []);
    if (Buffer.byteLength(JSON.stringify(failure)) <= limits.failureBytes) return failure;
  }
  return { name: "Error", message: "The error is too large to be recorded." };
}

function describe(thrown: unknown, budget: Budget, above: unknown[]): Failure {
  if ((typeof thrown !== "object" || thrown === null) && typeof thrown !== "function") {
    return { name: "NonError", message: cut(`${typeof thrown} thrown: ${String(thrown)}`, budget.characters) };
  }
  const name = text(thrown, "name", budget.characters);
  const message = text(thrown, "message", budget.characters);
  if (message === undefined)
    return { name: "NonError", message: cut(`object thrown: ${show(thrown)}`, budget.characters) };
  const failure: Failure = { name: name === undefined || name === "" ? "Error" : name, message };
  const code = text(thrown, "code", 255);
  const stack = text(thrown, "stack", budget.characters);
  const runId = text(property(thrown, "ids"), "runId", 255);
  if (code !== undefined) failure.code = code;
  if (stack !== undefined) failure.stack = stack;
  if (runId !== undefined) failure.runId = runId;
  const cause = causeOf(thrown);
  const ancestors = [...above, thrown];
  if (cause !== undefined && ancestors.length <= budget.causes && !ancestors.includes(cause)) {
    failure.cause = describe(cause, budget, ancestors);
  }
  return failure;
}

/** An `AggregateError` without a cause (all of `Promise.any` failed) is told by its first error. */
function causeOf(thrown: object): unknown {
  const cause = property(thrown, "cause");
  return cause === undefined ? property(property(thrown, "errors"), "0") : cause;
}

function property(owner: unknown, key: string): unknown {
  try {
    if ((typeof owner !== "object" || owner === null) && typeof owner !== "function") return undefined;
    return Reflect.get(owner, key);
  } catch {
    return undefined;
  }
}

function text(owner: unknown, key: string, characters: number): string | undefined {
  const value = property(owner, key);
  return typeof value === "string" ? cut(value, characters) : undefined;
}

function show(thrown: object): string {
  try {
    return JSON.stringify(thrown) ?? String(thrown);
  } catch {
    return "something that cannot be shown";
  }
}

function cut(value: string, characters: number): string {
  return value.length <= characters ? value : `${value.slice(0, characters)}… (cut from ${value.length} characters)`;
}

/** The classes of Aiki's own, by code. */
const classes: ReadonlyMap<string, { prototype: AikiError }> = new Map<string, { prototype: AikiError }>([
  ["NON_RETRYABLE", NonRetryableError],
  ["TASK_FAILED", TaskFailedError],
  ["CHILD_RUN_FAILED", ChildRunFailedError],
  ["RUN_FAILED", RunFailedError],
  ["RUN_CANCELLED", RunCancelledError],
  ["TASK_TIMED_OUT", TaskTimeoutError],
]);

/**
 * The error that a failure records, with its name, message, code, stack and causes. Where the code is one of Aiki's
 * own, `instanceof` its class holds, and `isRetryable` says of it what it said of the original.
 */
export function restoreError(failure: Failure): Error {
  const options = failure.cause === undefined ? {} : { cause: restoreError(failure.cause) };
  const error = restoreKind(failure, options);
  const hidden = { writable: true, configurable: true, enumerable: false };
  Object.defineProperty(error, "name", { ...hidden, value: failure.name });
  Object.defineProperty(error, "stack", { ...hidden, value: failure.stack ?? `${failure.name}: ${failure.message}` });
  return error;
}

function restoreKind(failure: Failure, options: { cause?: Error }): Error {
  const { code, message } = failure;
  if (code === undefined) return new Error(message, options);
  const type = classes.get(code);
  if (type === undefined && failure.name !== "AikiError") return Object.assign(new Error(message, options), { code });
  const ids = failure.runId === undefined ? {} : { runId: failure.runId };
  const error = new AikiError(code, message, { ...options, ids });
  if (type !== undefined) Object.setPrototypeOf(error, type.prototype);
  if (code !== "CHILD_RUN_FAILED") return error;
  return Object.assign(error, { status: failure.cause?.code === "RUN_CANCELLED" ? "cancelled" : "failed" });
}
