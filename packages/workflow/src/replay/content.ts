import { AikiError } from "@aikirun/lib";
import { hashPayload } from "@aikirun/lib/internal";
import type { Payload } from "@aikirun/lib/protocol";

/** How many hex digits of an input's hash distinguish calls. */
const hashDigits = 32;

/** The longest key, in characters. */
const longestKey = 255;

/** The part of a call's content that represents its input. */
export function inputContentOf(payload: Payload | undefined): string {
  return hashPayload(payload).slice(0, hashDigits);
}

/** Returns the key if it is valid or undefined. Throws `AikiError` `INVALID_KEY`. */
export function checkKey(key: unknown, where: string): string | undefined {
  if (key === undefined) return undefined;
  if (typeof key === "string" && key.length <= longestKey) return key;
  throw new AikiError("INVALID_KEY", `The key of ${where} must be a string of at most ${longestKey} characters.`);
}

/** The content of a call: its key, or `bare` when it has no key. */
export function keyedContent(
  key: string | undefined,
  bare: string | null,
): { content: string | null; unkeyed?: string | null } {
  return key === undefined ? { content: bare } : { content: key, unkeyed: bare };
}
