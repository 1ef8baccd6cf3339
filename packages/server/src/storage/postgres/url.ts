/** Urls of PostgreSQL: what is accepted, what the driver is given, and what may be shown. */

import { accessSync, constants } from "node:fs";
import { AikiError } from "@aikirun/lib";
import { parseServiceUrl } from "@aikirun/lib/internal";

const example = "postgres://user:password@host:5432/name";

/** The driver verifies the certificate in all of these but `disable` and `no-verify`, which is its own. */
const sslModes: readonly string[] = ["disable", "prefer", "require", "verify-ca", "verify-full", "no-verify"];

/** Parameters that name a file. */
const fileParameters: readonly string[] = ["sslcert", "sslkey", "sslrootcert"];

/**
 * Checks the url in the option `field`; returns it without the spaces around it. Throws `INVALID_CONFIG` without
 * showing what may be a password.
 */
export function parsePostgresUrl(text: string, field: string): string {
  const url = parseServiceUrl(text, { field, schemes: /^postgres(ql)?:\/\//i, example });
  const bad = (why: string): AikiError => new AikiError("INVALID_CONFIG", `${field} ${why}`, { ids: { field } });
  for (const mode of url.searchParams.getAll("sslmode")) {
    if (sslModes.includes(mode)) continue;
    const received = /^[a-z-]{1,20}$/i.test(mode) ? ` "${mode}"` : "";
    throw bad(`has an unknown sslmode${received}. Write one of ${sslModes.join(", ")}.`);
  }
  for (const name of fileParameters) {
    const path = url.searchParams.get(name);
    if (path !== null && !isReadable(path)) {
      throw bad(`names a file in ${name} that cannot be read. Check the path and its permissions.`);
    }
  }
  return url.href;
}

/**
 * The url for the driver. It treats `prefer`, `require` and `verify-ca` as `verify-full` and warns of that; so it is
 * given what it makes of them. With `uselibpqcompat=true` it does with them what libpq does.
 */
export function driverUrl(text: string): string {
  const url = new URL(text.trim());
  const mode = url.searchParams.get("sslmode") ?? "";
  const isAlias = ["prefer", "require", "verify-ca"].includes(mode);
  if (isAlias && url.searchParams.get("uselibpqcompat") !== "true") url.searchParams.set("sslmode", "verify-full");
  return url.href;
}

/** Which database a url leads to, as errors and logs show it: host, port and path. */
export function placeOf(text: string): string {
  const { hostname, port, pathname, searchParams } = new URL(text.trim());
  const host = searchParams.get("host") || decodeURIComponent(hostname) || "localhost";
  return `${host}:${searchParams.get("port") || port || "5432"}${pathname}`;
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
