/** Urls that may hold a password: how they are checked, and what of them may be shown. */

import { AikiError } from "./error.ts";

/** What the url of a service has to be. */
export interface UrlRules {
  /** The option that holds the url, as errors call it. */
  field: string;
  /** What the url begins with. */
  schemes: RegExp;
  /** The forms that are accepted, as errors show them. */
  example: string;
}

/**
 * Parses the url of a service, without the spaces and line breaks around it. Throws `AikiError` `INVALID_CONFIG`, which
 * names the field and shows no part of the url that may be a password.
 */
export function parseServiceUrl(text: string, { field, schemes, example }: UrlRules): URL {
  const trimmed = text.trim();
  const bad = (why: string): AikiError => {
    const shown = trimmed === "" ? "" : ` ${redactUrl(trimmed)}`;
    return new AikiError("INVALID_CONFIG", `${field}${shown} ${why}. Write ${example}.`, { ids: { field } });
  };
  if (trimmed === "") throw bad("is empty");
  if (!schemes.test(trimmed)) throw bad("begins in a form that is not accepted");
  if (/\p{Cc}/u.test(trimmed)) throw bad("holds a line break or another control character");
  if (!URL.canParse(trimmed)) throw bad("is no valid url; percent-encode / ? # @ : and % in user and password");
  const url = new URL(trimmed);
  if (isMisread(url))
    throw bad("has an @ or # after the host; percent-encode / ? # @ in user, password and parameters");
  for (const part of [url.username, url.password, url.pathname]) {
    if (!isDecodable(part)) throw bad("has a % that begins no percent-encoded character; write it as %25");
  }
  return url;
}

/**
 * The scheme, host, port and path of a url, to be shown to people: no user, no password and no parameters. Of a text
 * that cannot be parsed, or in which a password may have been taken for the host, only the scheme. Never throws.
 */
export function redactUrl(text: string): string {
  const trimmed = text.trim();
  const scheme = /^[a-z][a-z0-9+.-]{0,20}:(?=[/\\])/i.exec(trimmed)?.[0] ?? "";
  if (!trimmed.startsWith(`${scheme}//`) || scheme === "" || !URL.canParse(trimmed)) return `${scheme}…`;
  const url = new URL(trimmed);
  if (isMisread(url)) return `${scheme}…`;
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** A password that is not percent-encoded ends the host at its first `/`, `?` or `#`; its `@` then comes later. */
function isMisread({ pathname, search, hash }: URL): boolean {
  return pathname.includes("@") || search.includes("@") || hash !== "";
}

function isDecodable(part: string): boolean {
  try {
    decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}
