/** Urls of PostgreSQL: which are accepted, the form for the driver, and the form for errors and logs. */

import { accessSync, constants } from "node:fs";
import { AikiError } from "@aikirun/lib";
import { parseServiceUrl } from "@aikirun/lib/internal";

const example = "postgres://user:password@host:5432/name";

/** The driver verifies the certificate unless the mode is `disable` or `no-verify`, which only this driver has. */
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
 * The url for the driver. The driver treats `prefer`, `require` and `verify-ca` as `verify-full` and prints a warning,
 * which passing `verify-full` avoids. With `uselibpqcompat=true` it treats them as libpq does.
 */
export function driverUrl(text: string): string {
  const url = new URL(text.trim());
  const mode = url.searchParams.get("sslmode") ?? "";
  const isAlias = ["prefer", "require", "verify-ca"].includes(mode);
  if (isAlias && url.searchParams.get("uselibpqcompat") !== "true") url.searchParams.set("sslmode", "verify-full");
  return url.href;
}

/** The host, port and path of a url, for errors and logs. */
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
