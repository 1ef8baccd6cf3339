import type { ApiKey } from "@aikirun/server";
import { table } from "../table.ts";
import type { Terminal } from "../terminal.ts";
import { plain, spanOf } from "../text.ts";
import { type KeysOptions, withKeys } from "./open.ts";

export async function listKeys(options: KeysOptions, terminal: Terminal): Promise<void> {
  const all = await withKeys(options, terminal, (keys) => keys.list());
  if (options.json === true) {
    terminal.out(JSON.stringify(all));
    return;
  }
  if (all.length === 0) {
    terminal.out("There are no keys.");
    return;
  }
  const heading = ["KEY", "NAME", "NAMESPACE", "CREATED", "LAST USED", "STANDING", "SCOPES"];
  const now = Date.now();
  const [head = "", ...lines] = table(
    heading,
    all.map((key) => rowOf(key, now)),
    terminal.width,
  );
  terminal.out(terminal.paint("dim", head));
  for (const line of lines) terminal.out(line);
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
