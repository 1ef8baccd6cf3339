/** The nonces that bodies return or throw, as recorded. */

import type { Entry } from "@aikirun/lib/protocol";

/** The nonce of the body whose result this entry records. */
export function nonceOf({ value }: Entry): string | null {
  if (value.type === "returned") {
    const output: unknown = value.output === undefined ? null : JSON.parse(value.output);
    return typeof output === "string" ? output : null;
  }
  return value.type === "threw" ? failureOf(value.error.message) : null;
}

/** The nonce in the message of a failed body. */
export function failureOf(message: string): string | null {
  return /^(\S+) fails$/.exec(message)?.[1] ?? null;
}
