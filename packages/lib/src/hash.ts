import crypto from "node:crypto";
import canonicalize from "canonicalize";
import { decode } from "./json.ts";
import type { Payload } from "./protocol/run.ts";

/**
 * SHA-256, as 64 hex characters, of the payload's canonical form (RFC 8785): the same for every order of keys and every
 * way of writing the same number or string. No payload at all has a hash of its own.
 * Throws `AikiError` `INVALID_PAYLOAD` when the text is not JSON.
 */
export function hashPayload(payload: Payload | undefined): string {
  return sha256(payload === undefined ? "" : canonical(payload));
}

/** Four times as fast; missing in the oldest runtimes. */
const oneShot: typeof crypto.hash | undefined = crypto.hash;

/** SHA-256 of the text's UTF-8, as 64 hex characters. */
export function sha256(text: string): string {
  return oneShot === undefined
    ? crypto.createHash("sha256").update(text, "utf8").digest("hex")
    : oneShot("sha256", text);
}

const loneSurrogate = /\p{Surrogate}/u;
const escaped = /[\uE000\p{Surrogate}]/gu;

/** Text in which a lone surrogate can be hiding; most has none, and is spared the walk. */
const suspect = /\\u[dD][89a-fA-F]|\p{Surrogate}/u;

function canonical(payload: Payload): string {
  const value = decode(payload);
  if (value === null || typeof value === "boolean") return String(value);
  if (!suspect.test(payload) || !holdsLoneSurrogate(value)) return String(canonicalize(value));
  // RFC 8785 has no form for lone surrogates, and UTF-8 would make them all one. Escaping is injective, and the prefix,
  // which begins no JSON text, keeps what is escaped apart from what merely looks so.
  return `surrogates:${String(canonicalize(escapeAll(value)))}`;
}

function holdsLoneSurrogate(value: unknown): boolean {
  if (typeof value === "string") return loneSurrogate.test(value);
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(holdsLoneSurrogate);
  return Object.entries(value).some(([key, item]) => loneSurrogate.test(key) || holdsLoneSurrogate(item));
}

function escapeAll(value: unknown): unknown {
  if (typeof value === "string") return escapeText(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(escapeAll);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [escapeText(key), escapeAll(item)]));
}

function escapeText(text: string): string {
  return text.replace(escaped, (unit) => `\uE000${unit.charCodeAt(0).toString(16)}`);
}
