import type { ApiKey } from "@aikirun/server";
import { printListing } from "../listing.ts";
import type { Terminal } from "../terminal.ts";
import { plain, spanOf } from "../text.ts";
import { type KeysOptions, withKeys } from "./open.ts";

export async function listKeys(options: KeysOptions, terminal: Terminal): Promise<void> {
  const all = await withKeys(options, terminal, (keys) => keys.list());
  const heading = ["KEY", "NAME", "NAMESPACE", "CREATED", "LAST USED", "STANDING", "SCOPES"];
  const now = Date.now();
  const row = (key: ApiKey) => rowOf(key, now);
  printListing({ items: all, nothing: "There are no keys.", heading, row }, options.json, terminal);
}

function rowOf(key: ApiKey, now: number): string[] {
  const { id, name, namespace, createdAt, lastUsedAt, scopes } = key;
  const used = lastUsedAt === null ? "never" : agoOf(lastUsedAt, now);
  return [id, plain(name), plain(namespace), agoOf(createdAt, now), used, standingOf(key, now), scopes.join(",")];
}

function standingOf({ revokedAt, expiresAt }: ApiKey, now: number): string {
  if (revokedAt !== null) return `revoked ${agoOf(revokedAt, now)}`;
  if (expiresAt === null) return "valid";
  return expiresAt > now ? `valid for ${spanOf(expiresAt - now)}` : `expired ${agoOf(expiresAt, now)}`;
}

function agoOf(at: number, now: number): string {
  return `${spanOf(Math.max(0, now - at))} ago`;
}
