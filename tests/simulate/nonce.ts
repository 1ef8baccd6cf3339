/** What bodies make, for their start alone, as it is recorded. */

import type { Entry } from "@aikirun/lib/protocol";

/** What a body made, as it is recorded. */
export function nonceOf({ value }: Entry): string | null {
  if (value.type === "returned") {
    const output: unknown = value.output === undefined ? null : JSON.parse(value.output);
    return typeof output === "string" ? output : null;
  }
  return value.type === "threw" ? failureOf(value.error.message) : null;
}

/** What fails says who failed. */
export function failureOf(message: string): string | null {
  return /^(\S+) fails$/.exec(message)?.[1] ?? null;
}
