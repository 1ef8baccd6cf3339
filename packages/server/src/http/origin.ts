/**
 * Protects a server without authentication from web pages in a browser on the same machine. A page that rebinds its DNS
 * name to 127.0.0.1 still sends that name as Host, and a page of another origin sends that origin as Origin.
 */

import type { Exchange } from "./exchange.ts";
import { HttpRefusal } from "./refusal.ts";

const loopback = ["localhost", "127.0.0.1", "[::1]"];

/** Which Host headers are accepted; `any` only with API keys, or if the server is bound beyond this machine. */
export type Hosts = ReadonlySet<string> | "any";

export function hostsAllowed(extra: readonly string[]): Hosts {
  return new Set([...loopback, ...extra]);
}

/** Throws `FORBIDDEN_HOST` for a Host header that is not allowed. */
export function checkHost({ host }: Exchange, hosts: Hosts): void {
  if (hosts === "any" || hosts.has(host.replace(/:\d+$/, ""))) return;
  const named = JSON.stringify(host.slice(0, 255));
  const message = `This server does not answer to the host ${named}. Name it in allowedHosts.`;
  throw new HttpRefusal(403, "FORBIDDEN_HOST", message);
}

/** Throws `FORBIDDEN_ORIGIN` when a page of another origin sent this. */
export function checkOrigin(exchange: Exchange): void {
  const origin = exchange.header("origin");
  if (origin === null) return;
  const separator = origin.indexOf("://");
  if (separator !== -1 && origin.slice(separator + 3).toLowerCase() === exchange.host) return;
  throw new HttpRefusal(403, "FORBIDDEN_ORIGIN", "Requests from web pages of another origin are refused.");
}
