/** Converts thrown values to recorded failures and back. */

import { Buffer } from "node:buffer";
import { cut, detailsOf, fieldsIn } from "./details.ts";
import {
  AikiError,
  ChildRunFailedError,
  NonRetryableError,
  RunCancelledError,
  RunFailedError,
  RunStalledError,
  receivedCode,
  TaskFailedError,
  TaskTimeoutError,
} from "./error.ts";
import { limits } from "./protocol/api.ts";
import type { Failure } from "./protocol/run.ts";
import { mostErrors } from "./rules.ts";

/**
 * How much of an error is recorded, each tried until the whole fits its limit: `characters` of each text and of all own
 * fields of one error (`details`), how deep causes and errors of errors go, and how many of them there are in all.
 */
const budgets = [
  { characters: 16_384, details: 8_192, depth: 8, failures: 100 },
  { characters: 4_096, details: 2_048, depth: 8, failures: 100 },
  { characters: 1_024, details: 512, depth: 6, failures: 50 },
  { characters: 256, details: 0, depth: 4, failures: 1 + mostErrors },
  { characters: 128, details: 0, depth: 0, failures: 1 },
] as const;

/** The state of one description. */
interface ErrorWalk {
  readonly budget: (typeof budgets)[number];
  /** The errors around the current one, outermost first. */
  readonly around: unknown[];
  /** How many more errors may be described. */
  left: number;
}

/**
 * What is recorded of something thrown: its name, message, code, stack, own fields, causes, and the errors of an
 * `AggregateError`, cut to 64 KiB of JSON. Total: never throws, whatever was thrown (getters that throw, cycles,
 * proxies, revoked ones too, null).
 */
export function describeError(thrown: unknown): Failure {
  for (const budget of budgets) {
    const failure = describe(thrown, { budget, around: [], left: budget.failures });
    if (Buffer.byteLength(JSON.stringify(failure)) <= limits.failureBytes) return failure;
  }
  return { name: "Error", message: "The error is too large to be recorded." };
}

function describe(thrown: unknown, walk: ErrorWalk): Failure {
  const { characters, details } = walk.budget;
  walk.left -= 1;
  if (!isObject(thrown)) {
    return { name: "NonError", message: cut(`${typeof thrown} thrown: ${String(thrown)}`, characters) };
  }
  const failure = named(thrown, characters);
  const code = codeOf(thrown);
  const stack = text(thrown, "stack", characters);
  const runId = text(property(thrown, "ids"), "runId", 255);
  if (code !== undefined) failure.code = code;
  if (stack !== undefined) failure.stack = stack;
  if (runId !== undefined) failure.runId = runId;
  const cause = property(thrown, "cause");
  walk.around.push(thrown);
  if (cause !== undefined && hasRoom(cause, walk)) failure.cause = describe(cause, walk);
  addErrors(failure, thrown, walk);
  walk.around.pop();
  const own = detailsOf(thrown, (name) => isRecorded(failure, name), details);
  if (own !== undefined) failure.details = own;
  return failure;
}

function named(thrown: object, characters: number): Failure {
  const message = text(thrown, "message", characters);
  if (message === undefined) return { name: "NonError", message: cut(`object thrown: ${show(thrown)}`, characters) };
  const name = text(thrown, "name", characters);
  return { name: name === undefined || name === "" ? "Error" : name, message };
}

function codeOf(thrown: object): string | number | undefined {
  const code = property(thrown, "code");
  return typeof code === "number" && Number.isFinite(code) ? code + 0 : text(thrown, "code", 255);
}

/** Whether another part of the failure records this own field. */
function isRecorded(failure: Failure, name: string): boolean {
  switch (name) {
    case "name":
    case "message":
    case "stack":
    case "cause":
      return true;
    case "code":
      return failure.code !== undefined;
    case "errors":
    case "omittedErrors":
      return failure.errors !== undefined;
    default:
      return false;
  }
}

function hasRoom(inner: unknown, { budget, around, left }: ErrorWalk): boolean {
  return left > 0 && around.length <= budget.depth && !around.includes(inner);
}

function addErrors(failure: Failure, thrown: object, walk: ErrorWalk): void {
  const errors = aggregated(thrown, failure.name);
  if (errors === null) return;
  failure.errors = [];
  for (let index = 0; index < Math.min(errors.length, mostErrors); index++) {
    const error = property(errors.list, String(index));
    if (hasRoom(error, walk)) failure.errors.push(describe(error, walk));
  }
  const omitted = errors.length - failure.errors.length + countOf(thrown, "omittedErrors");
  if (omitted > 0) failure.omittedErrors = Math.min(omitted, Number.MAX_SAFE_INTEGER);
}

/**
 * The errors of an `AggregateError` of any realm or library. A list that another error has as a field, such as the
 * issues of a validation, is a detail.
 */
function aggregated(thrown: object, name: string): { list: object; length: number } | null {
  try {
    const list = property(thrown, "errors");
    if (!Array.isArray(list)) return null;
    const isHidden = Object.getOwnPropertyDescriptor(thrown, "errors")?.enumerable === false;
    const isAggregate = isHidden || name === "AggregateError" || thrown instanceof AggregateError;
    return isAggregate ? { list, length: countOf(list, "length") } : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

function property(owner: unknown, key: string): unknown {
  try {
    return isObject(owner) ? Reflect.get(owner, key) : undefined;
  } catch {
    return undefined;
  }
}

function text(owner: unknown, key: string, characters: number): string | undefined {
  const value = property(owner, key);
  return typeof value === "string" ? cut(value, characters) : undefined;
}

function countOf(owner: object, key: string): number {
  const value = property(owner, key);
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

function show(thrown: object): string {
  try {
    return JSON.stringify(thrown) ?? String(thrown);
  } catch {
    return "something that cannot be shown";
  }
}

/** Aiki's error classes, by code. */
const classes: ReadonlyMap<unknown, { prototype: AikiError }> = new Map<unknown, { prototype: AikiError }>([
  ["NON_RETRYABLE", NonRetryableError],
  ["TASK_FAILED", TaskFailedError],
  ["CHILD_RUN_FAILED", ChildRunFailedError],
  ["RUN_FAILED", RunFailedError],
  ["RUN_CANCELLED", RunCancelledError],
  ["RUN_STALLED", RunStalledError],
  ["TASK_TIMED_OUT", TaskTimeoutError],
]);

/**
 * The error that a failure records, with its name, message, code, stack, causes, errors and own fields. Where the code
 * is one of Aiki's own, `instanceof` its class holds, and `isRetryable` says of it what it said of the original.
 * Total: never throws.
 */
export function restoreError(failure: Failure): Error {
  const options = failure.cause === undefined ? {} : { cause: restoreError(failure.cause) };
  const error = restoreKind(failure, options);
  const define = (name: string, value: unknown, enumerable: boolean) =>
    Object.defineProperty(error, name, { value, enumerable, writable: true, configurable: true });
  define("name", failure.name, false);
  define("stack", failure.stack ?? `${failure.name}: ${failure.message}`, false);
  if (failure.errors !== undefined) define("errors", failure.errors.map(restoreError), false);
  if (failure.omittedErrors !== undefined) define("omittedErrors", failure.omittedErrors, true);
  for (const [name, value] of fieldsIn(failure.details)) if (!isRecorded(failure, name)) define(name, value, true);
  return error;
}

function restoreKind(failure: Failure, options: { cause?: Error }): Error {
  const { code, message } = failure;
  const type = classes.get(code);
  if (typeof code !== "string" || (type === undefined && failure.name !== "AikiError")) {
    const error = failure.errors === undefined ? new Error(message, options) : new AggregateError([], message, options);
    return code === undefined ? error : Object.assign(error, { code });
  }
  const ids = failure.runId === undefined ? {} : { runId: failure.runId };
  const error = new AikiError(receivedCode(code), message, { ...options, ids });
  if (type !== undefined) Object.setPrototypeOf(error, type.prototype);
  if (code !== "CHILD_RUN_FAILED") return error;
  return Object.assign(error, { status: failure.cause?.code === "RUN_CANCELLED" ? "cancelled" : "failed" });
}
