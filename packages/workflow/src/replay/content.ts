import { AikiError } from "@aikirun/lib";
import { hashPayload } from "@aikirun/lib/internal";
import type { Payload } from "@aikirun/lib/protocol";

/** How much of the hash of an input tells one call from another. */
const hashDigits = 32;

/** The longest key, in characters. */
const longestKey = 255;

/** What stands for an input in the content of a call. */
export function contentOf(payload: Payload | undefined): string {
  return hashPayload(payload).slice(0, hashDigits);
}

/** The key that a caller gave; undefined for none. Throws `AikiError` `INVALID_KEY`. */
export function checkKey(key: unknown, where: string): string | undefined {
  if (key === undefined) return undefined;
  if (typeof key === "string" && key.length <= longestKey) return key;
  throw new AikiError("INVALID_KEY", `The key of ${where} must be a string of at most ${longestKey} characters.`);
}

/** What a call is told apart by: its key, or else what it would be without. */
export function keyed(
  key: string | undefined,
  bare: string | null,
): { content: string | null; unkeyed?: string | null } {
  return key === undefined ? { content: bare } : { content: key, unkeyed: bare };
}
