import type { Terminal } from "../terminal.ts";
import { plain } from "../text.ts";
import { type KeysOptions, withKeys } from "./open.ts";

export async function revokeKey(id: string, options: KeysOptions, terminal: Terminal): Promise<void> {
  const revoked = await withKeys(options, terminal, (keys) => keys.revoke(id));
  if (options.json === true) terminal.out(JSON.stringify(revoked));
  else terminal.out(`Key ${revoked.id} (${plain(revoked.name)}) is revoked. Servers refuse it within 5 s.`);
}
