import { type Duration, signedMs, toMs } from "./duration.ts";
import type { Env } from "./env.ts";
import { AikiError } from "./error.ts";
import type { ErrorCode } from "./error-codes/table.ts";
import type { Logger } from "./log.ts";
import { limits } from "./protocol/api.ts";
import { farthestMs, storable } from "./rules.ts";

/** Bounds of a number, both inclusive. */
export interface Bounds {
  min: number;
  max: number;
}

/**
 * Reads a plain object of options field by field, and refuses unknown fields: a misspelt option is an error. An absent
 * field reads as `undefined`. Every error is an `AikiError` with `code` and names the field.
 */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  /** The names of the known fields. */
  readonly #known = new Set<string>();
  /** The owner of the fields, as named in errors. */
  readonly where: string;
  readonly #code: ErrorCode;

  constructor(value: unknown, where: string, code: ErrorCode) {
    this.where = where;
    this.#code = code;
    if (!isRecord(value)) {
      throw new AikiError(code, `${where} must be an object, not ${nameOf(value)}.`);
    }
    this.#values = value;
  }

  /** Whether the field is present. */
  has(name: string): boolean {
    this.#known.add(name);
    return this.#values[name] !== undefined;
  }

  /** The unchecked value of the field. */
  take(name: string): unknown {
    this.#known.add(name);
    return this.#values[name];
  }

  /** Refuses the field. */
  refuse(name: string, expected: string): never {
    const value = this.#values[name];
    throw new AikiError(this.#code, `${this.where}.${name} must be ${expected}, not ${nameOf(value)}.`, {
      ids: { field: name },
    });
  }

  /** A text that may become a key: without NUL, and without half of a surrogate pair. `Bounds` count UTF-16 units. */
  text(name: string, bounds: Bounds = keyLength): string | undefined {
    const value = this.take(name);
    return value === undefined || isKey(value, bounds)
      ? value
      : this.refuse(name, `a string of ${charactersOf(bounds)}`);
  }

  /** Like `text`, but errors do not show the value: it may be a password, or hold one. */
  secret(name: string, bounds: Bounds): string | undefined {
    const value = this.take(name);
    if (value === undefined || isKey(value, bounds)) return value;
    throw new AikiError(this.#code, `${this.where}.${name} must be a string of ${charactersOf(bounds)}.`, {
      ids: { field: name },
    });
  }

  /** A text for people, which never becomes a key: any characters, at most `max` UTF-16 units. */
  prose(name: string, max: number): string | undefined {
    const value = this.take(name);
    if (value === undefined || (typeof value === "string" && value.length <= max)) return value;
    return this.refuse(name, `a string of at most ${max} characters`);
  }

  number(name: string, { min, max }: Bounds): number | undefined {
    const value = this.take(name);
    if (value === undefined) {
      return undefined;
    }
    if (typeof value !== "number" || !(value >= min && value <= max)) {
      return this.refuse(name, `a number from ${min} to ${max}`);
    }
    return value;
  }

  integer(name: string, bounds: Bounds): number | undefined {
    const value = this.take(name);
    if (value !== undefined && !Number.isSafeInteger(value)) {
      return this.refuse(name, `a whole number from ${bounds.min} to ${bounds.max}`);
    }
    return this.number(name, bounds);
  }

  flag(name: string): boolean | undefined {
    const value = this.take(name);
    return value === undefined || typeof value === "boolean" ? value : this.refuse(name, "true or false");
  }

  oneOf<Choice extends string>(name: string, choices: readonly Choice[]): Choice | undefined {
    const value = this.take(name);
    if (value === undefined) {
      return undefined;
    }
    const chosen = choices.find((choice) => choice === value);
    return chosen ?? this.refuse(name, choices.map((choice) => `"${choice}"`).join(" or "));
  }

  /** An array of distinct texts, each of which may become a key. */
  texts(name: string, most: number): string[] | undefined {
    const value = this.take(name);
    if (value === undefined) {
      return undefined;
    }
    const expected = `an array of at most ${most} different strings of ${charactersOf(keyLength)}`;
    if (!Array.isArray(value) || value.length > most || new Set(value).size !== value.length) {
      return this.refuse(name, expected);
    }
    return Array.from(value, (item: unknown) => (isKey(item, keyLength) ? item : this.refuse(name, expected)));
  }

  /** A value that satisfies the guard. */
  shaped<Shape>(name: string, guard: (value: unknown) => value is Shape, expected: string): Shape | undefined {
    const value = this.take(name);
    return value === undefined || guard(value) ? value : this.refuse(name, expected);
  }

  /** A required field. */
  required<Value>(name: string, value: Value | undefined): Value {
    if (value === undefined) {
      throw new AikiError(this.#code, `${this.where}.${name} is missing.`, { ids: { field: name } });
    }
    return value;
  }

  /** A duration, in milliseconds. */
  duration(name: string): number | undefined {
    const duration = this.shaped(name, isDuration, "a duration such as { minutes: 5 }");
    return duration === undefined ? undefined : toMs(duration, `${name} of ${this.where}`);
  }

  /** The time until a moment, in milliseconds; 0 when the moment has passed. */
  delay(name: string): number | undefined {
    const duration = this.shaped(name, isDuration, "a duration such as { minutes: 5 }");
    return duration === undefined ? undefined : Math.max(0, signedMs(duration, `${name} of ${this.where}`));
  }

  /** A duration of at least a millisecond, in milliseconds. */
  timeout(name: string): number | undefined {
    const ms = this.duration(name);
    if (ms !== 0) {
      return ms;
    }
    const message = `${this.where}.${name} is zero; give at least a millisecond.`;
    throw new AikiError(this.#code, message, { ids: { field: name } });
  }

  /** A date as epoch milliseconds. */
  moment(name: string): number | undefined {
    const value = this.take(name);
    if (value === undefined) {
      return undefined;
    }
    const at = value instanceof Date ? value.getTime() : value;
    return typeof at === "number" && Math.abs(at) <= farthestMs
      ? Math.round(at) + 0
      : this.refuse(name, "a valid Date, or epoch milliseconds that a Date can hold");
  }

  /** An `AbortSignal`. */
  signal(name: string): AbortSignal | undefined {
    return this.shaped(name, isSignal, "an AbortSignal");
  }

  /** A logger. */
  logger(name: string): Logger | undefined {
    return this.shaped(name, isLogger, "a Logger (debug, info, warn, error, child)");
  }

  /** Clock, randomness and ids. */
  env(name: string): Env | undefined {
    return this.shaped(name, isEnv, "an Env of @aikirun/lib");
  }

  /** Call last: refuses unknown fields, and names the known ones. */
  done(): void {
    for (const name of Object.keys(this.#values)) {
      if (this.#values[name] !== undefined && !this.#known.has(name)) {
        const known = [...this.#known].join(", ");
        throw new AikiError(this.#code, `${this.where} has no field ${JSON.stringify(name)}. It takes ${known}.`, {
          ids: { field: name },
        });
      }
    }
  }
}

/** How long a text that may become a key may be, in UTF-16 units. */
const keyLength: Bounds = { min: 1, max: limits.nameLength };

function isKey(value: unknown, { min, max }: Bounds): value is string {
  return typeof value === "string" && value.length >= min && value.length <= max && storable.test(value);
}

function charactersOf({ min, max }: Bounds): string {
  return `${min} to ${max} characters, without NUL or half of a surrogate pair`;
}

function isDuration(value: unknown): value is Duration {
  return isRecord(value);
}

function isSignal(value: unknown): value is AbortSignal {
  return hasMethods(value, ["addEventListener", "removeEventListener"]);
}

function isLogger(value: unknown): value is Logger {
  return hasMethods(value, ["debug", "info", "warn", "error", "child"]);
}

function isEnv(value: unknown): value is Env {
  return hasMethods(value, ["now", "elapsed", "random", "id", "after", "soon"]);
}

/** Whether a value is an object whose fields can be read. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether an object has a function under each of these names. */
export function hasMethods(value: unknown, names: readonly string[]): boolean {
  return isRecord(value) && names.every((name) => typeof value[name] === "function");
}

function nameOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
