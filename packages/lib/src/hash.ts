import crypto from "node:crypto";
import { decode } from "./json.ts";
import type { Payload } from "./protocol/run.ts";

/**
 * SHA-256, as 64 hex characters, of the payload's canonical form (RFC 8785): the same for every order of keys and every
 * way of writing the same number or string. No payload at all has a hash of its own.
 * Throws `AikiError` `INVALID_PAYLOAD` when the text is not JSON.
 */
export function hashPayload(payload: Payload | undefined): string {
  return sha256(payload === undefined ? "" : canonical(decode(payload)));
}

/** Four times as fast as a `Hash` object; missing in the oldest runtimes. */
const oneShot: typeof crypto.hash | undefined = crypto.hash;

/** SHA-256 of the text's UTF-8, as 64 hex characters. */
export function sha256(text: string): string {
  return oneShot === undefined
    ? crypto.createHash("sha256").update(text, "utf8").digest("hex")
    : oneShot("sha256", text);
}

/**
 * RFC 8785: as `JSON.stringify` writes it, with the keys of every object in order of their UTF-16 units. It has no form
 * for lone surrogates; `JSON.stringify` escapes them, so that no two texts have one form.
 */
function canonical(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const members = new Map(Object.entries(value));
  const written = [...members.keys()].sort().map((key) => `${JSON.stringify(key)}:${canonical(members.get(key))}`);
  return `{${written.join(",")}}`;
}
