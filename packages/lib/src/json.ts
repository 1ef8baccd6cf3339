import { Buffer } from "node:buffer";
import { AikiError } from "./error.ts";
import { limits } from "./protocol/api.ts";
import type { Payload } from "./protocol/run.ts";

const deepest = 200;

/** What is being checked: the containers around the current value, and a lower bound of the text's size so far. */
interface Walk {
  around: object[];
  size: number;
  /** The walk ends when `size` is greater. */
  most: number;
}

/** Why a value is refused. The keys are collected from the innermost one outwards, so valid values cost nothing. */
interface InvalidValue {
  what: string;
  keys: Array<string | number>;
}

const tooLarge = Symbol("too large");

/**
 * The value as JSON text. An undefined top is absence; undefined properties are dropped; -0 becomes 0.
 * `where` names the value in errors: `input`, `output of task "charge"`.
 * Throws `AikiError` `UNSERIALIZABLE`, naming the path of what JSON would lose or change, and `PAYLOAD_TOO_LARGE` over
 * `limits.payloadBytes` of UTF-8. Neither is retryable.
 */
export function encode(value: unknown, where: string): Payload | undefined {
  if (value === undefined) return undefined;
  let text: string;
  try {
    const refusal = check(value, { around: [], size: 0, most: limits.payloadBytes });
    if (refusal !== undefined) throw unserializable(where + path(refusal.keys.reverse()), refusal.what);
    text = JSON.stringify(value);
  } catch (thrown) {
    if (thrown === tooLarge) throw payloadTooLarge(where, `more than ${limits.payloadBytes}`);
    if (thrown instanceof AikiError) throw thrown;
    throw unserializable(where, "throws when it is read; give plain values", thrown);
  }
  if (text.length * 3 > limits.payloadBytes) {
    const bytes = Buffer.byteLength(text);
    if (bytes > limits.payloadBytes) throw payloadTooLarge(where, String(bytes));
  }
  return text;
}

/**
 * The value as JSON text of at most `most` characters; undefined when it would be longer, when JSON would lose or
 * change a part of it, or when it throws as it is read. Never throws.
 */
export function encodeWithin(value: unknown, most: number): Payload | undefined {
  try {
    if (value === undefined || check(value, { around: [], size: 0, most }) !== undefined) return undefined;
    const text = JSON.stringify(value);
    return text.length <= most ? text : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The value that a payload holds; undefined for none. A `__proto__` key becomes a plain property.
 * Throws `AikiError` `INVALID_PAYLOAD` when the text is not JSON.
 */
export function decode(payload: Payload | undefined): unknown {
  if (payload === undefined) return undefined;
  try {
    return JSON.parse(payload);
  } catch (cause) {
    throw new AikiError("INVALID_PAYLOAD", `A payload is not JSON text: ${payload.slice(0, 80)}`, { cause });
  }
}

function check(value: unknown, walk: Walk): InvalidValue | undefined {
  if (typeof value === "object") return value === null ? undefined : checkContainer(value, walk);
  if (typeof value === "string") {
    grow(walk, value.length + 2);
    return undefined;
  }
  if (typeof value === "number") {
    grow(walk, 1);
    return Number.isFinite(value) ? undefined : refuse(`is ${value}, which JSON cannot hold; use null or a string`);
  }
  if (typeof value === "boolean") return undefined;
  if (typeof value === "undefined") return refuse("is undefined, which JSON cannot hold in a list; use null");
  if (typeof value === "bigint") return refuse("is a BigInt; use a string or a number");
  if (typeof value === "symbol") return refuse("is a symbol; use a string");
  return refuse("is a function; pass plain values, and let the handler find the function by name");
}

function checkContainer(value: object, walk: Walk): InvalidValue | undefined {
  const { around } = walk;
  if (around.length > 0 && around.includes(value)) {
    const up = around.length - around.indexOf(value);
    return refuse(
      `is a cycle: it is the value ${up} ${up === 1 ? "level" : "levels"} above itself; refer to it by an id`,
    );
  }
  if (around.length >= deepest) return refuse(`is nested more than ${deepest} levels deep; flatten it`);
  if ("toJSON" in value && typeof value.toJSON === "function") return refuse(foreign(value));
  grow(walk, 2);
  around.push(value);
  const refusal = Array.isArray(value) ? checkItems(value, walk) : checkProperties(value, walk);
  around.pop();
  return refusal;
}

function checkItems(items: readonly unknown[], walk: Walk): InvalidValue | undefined {
  // The commas: an item that is null or a truth value does not grow the walk by itself.
  grow(walk, Math.max(0, items.length - 1));
  for (let index = 0; index < items.length; index++) {
    const refusal = check(items[index], walk);
    if (refusal !== undefined) return within(refusal, index);
  }
  return undefined;
}

function checkProperties(value: object, walk: Walk): InvalidValue | undefined {
  if (!isPlain(value)) return refuse(foreign(value));
  if (Object.getOwnPropertySymbols(value).length > 0) return refuse("has symbol keys, which JSON drops; use strings");
  for (const key of Object.keys(value)) {
    const item = value[key];
    if (item === undefined) continue;
    grow(walk, key.length + 3);
    const refusal = check(item, walk);
    if (refusal !== undefined) return within(refusal, key);
  }
  return undefined;
}

/** Plain objects of another realm (a vm context) have an `Object.prototype` of their own. */
function isPlain(value: object): value is Readonly<Record<string, unknown>> {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return true;
  if (typeof prototype !== "object" || Object.getPrototypeOf(prototype) !== null) return false;
  return Object.hasOwn(prototype, "constructor") && Object.hasOwn(prototype, "hasOwnProperty");
}

/** A value that occurs many times (not in a cycle) can unfold to any size. This limit ends the walk early. */
function grow(walk: Walk, characters: number): void {
  walk.size += characters;
  if (walk.size > walk.most) throw tooLarge;
}

function foreign(value: object): string {
  if (value instanceof Date) return "is a Date; use .toISOString() or epoch milliseconds";
  if (value instanceof Map) return "is a Map; use Object.fromEntries(map) or [...map]";
  if (value instanceof Set) return "is a Set; use [...set]";
  if (value instanceof Error) return "is an Error; use its message, or throw it";
  if (value instanceof Promise) return "is a Promise; await it first";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return "is binary; use a base64 string, or store it elsewhere and pass its address";
  }
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
  const what =
    typeof name === "string" && name !== "" && name !== "Object" ? `an instance of ${name}` : "not a plain object";
  return `is ${what}, which would come back without its methods; use a plain object`;
}

function refuse(what: string): InvalidValue {
  return { what, keys: [] };
}

function within(refusal: InvalidValue, key: string | number): InvalidValue {
  refusal.keys.push(key);
  return refusal;
}

function path(keys: ReadonlyArray<string | number>): string {
  const shown = keys.length > 20 ? [...keys.slice(0, 10), "…", ...keys.slice(-10)] : keys;
  return shown.map((key) => (typeof key === "number" ? `[${key}]` : named(key))).join("");
}

function named(key: string): string {
  return /^[\p{ID_Start}$_…][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key.slice(0, 100))}]`;
}

function unserializable(where: string, what: string, cause?: unknown): AikiError {
  return new AikiError("UNSERIALIZABLE", `${where} ${what}.`, { cause });
}

function payloadTooLarge(where: string, bytes: string): AikiError {
  const rule = `the limit is ${limits.payloadBytes} bytes`;
  return new AikiError(
    "PAYLOAD_TOO_LARGE",
    `${where} is ${bytes} bytes of JSON; ${rule}. Store it elsewhere and pass its address.`,
  );
}
