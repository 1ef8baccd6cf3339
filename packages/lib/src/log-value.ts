/** What a log shows of the values of its fields. */

import { describeError } from "./failure.ts";
import type { Failure } from "./protocol/run.ts";

/** The depth up to which values are shown; deeper values are left out. */
const maxDepth = 8;

/** An error in a log, without its own fields: they may hold payloads and secrets. */
interface LoggedError extends Omit<Failure, "details" | "cause" | "errors"> {
  cause?: LoggedError;
  errors?: LoggedError[];
}

/**
 * The value in a form that JSON keeps: each error in it, at any depth, as its name, message, code, stack, cause and
 * errors; a bigint or symbol as text. Never throws: what cannot be read is `(unreadable)`.
 */
export function logValue(value: unknown): unknown {
  return shown(value, []);
}

function shown(value: unknown, around: object[]): unknown {
  if (typeof value === "bigint" || typeof value === "symbol") return String(value);
  if (typeof value === "function") return "(function)";
  if (typeof value !== "object" || value === null) return value;
  try {
    if (around.includes(value)) return "(circular)";
    if (isError(value)) return logged(describeError(value));
    if (around.length === maxDepth) return "(too deep)";
    return fieldsOf(value, [...around, value]);
  } catch {
    return "(unreadable)";
  }
}

function fieldsOf(value: object, around: object[]): unknown {
  if ("toJSON" in value && typeof value.toJSON === "function") return shown(value.toJSON(), around);
  if (Array.isArray(value)) return value.map((item) => shown(item, around));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shown(inner, around)]));
}

/** Errors of another realm, as of `node:vm`, are no instances of this one's `Error`. */
function isError(value: object): boolean {
  return value instanceof Error || Object.prototype.toString.call(value) === "[object Error]";
}

function logged({ details: _, cause, errors, ...failure }: Failure): LoggedError {
  return {
    ...failure,
    ...(cause === undefined ? {} : { cause: logged(cause) }),
    ...(errors === undefined ? {} : { errors: errors.map(logged) }),
  };
}
