import { type AikiError, isAikiError } from "@aikirun/lib";
import type { Reply } from "./exchange.ts";
import { BadRequest, HttpRefusal } from "./refusal.ts";

const contentPolicy = "default-src 'none'; frame-ancestors 'none'";

/** On every reply: it must not be cached, sniffed, framed or sent as a referrer. */
export const secure = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
};

const json: Readonly<Record<string, string>> = Object.freeze({
  "content-type": "application/json",
  "content-security-policy": contentPolicy,
  ...secure,
});

export function jsonReply(status: number, body: unknown, extra?: Readonly<Record<string, string>>): Reply {
  return { status, headers: extra === undefined ? json : { ...json, ...extra }, body: JSON.stringify(body) };
}

/** The reply to a fault that the caller can act upon, or null when it is the server's own. */
export function faultReply(thrown: unknown): Reply | null {
  if (thrown instanceof HttpRefusal) return errorReply(thrown.status, thrown.code, thrown.message, thrown.headers);
  if (thrown instanceof BadRequest) {
    return jsonReply(400, { error: { code: thrown.code, message: thrown.message, issues: thrown.issues } });
  }
  if (!isAikiError(thrown)) return null;
  switch (thrown.code) {
    case "BAD_REQUEST":
      return errorReply(400, thrown.code, thrown.message);
    case "FORBIDDEN":
      return errorReply(403, thrown.code, thrown.message);
    case "UNAVAILABLE":
    case "ABORTED":
      return errorReply(503, "UNAVAILABLE", thrown.message, { "retry-after": "1" });
    default:
      // The message may contain a path of the server, which callers must not see.
      return thrown.code.startsWith("STORAGE_")
        ? errorReply(503, "UNAVAILABLE", "The database cannot serve this now; it is safe to ask again.", {
            "retry-after": "1",
          })
        : null;
  }
}

export function errorReply(
  status: number,
  code: AikiError["code"],
  message: string,
  extra?: Readonly<Record<string, string>>,
): Reply {
  return jsonReply(status, { error: { code, message } }, extra);
}
