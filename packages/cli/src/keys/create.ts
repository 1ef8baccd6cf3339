import type { Duration } from "@aikirun/lib";
import type { Scope } from "@aikirun/lib/protocol";
import type { Terminal } from "../terminal.ts";
import { plain } from "../text.ts";
import { type KeysOptions, withKeys } from "./open.ts";

export interface CreateOptions extends KeysOptions {
  name: string;
  namespace: string;
  scopes?: Scope[];
  expiresIn?: Duration;
}

/** Prints only the key on standard output, so that it can be piped to a secret store. */
export async function createKey(options: CreateOptions, terminal: Terminal): Promise<void> {
  const { name, namespace, scopes, expiresIn } = options;
  const created = await withKeys(options, terminal, (keys) =>
    keys.create({
      name,
      namespace,
      ...(scopes === undefined ? {} : { scopes }),
      ...(expiresIn === undefined ? {} : { expiresIn }),
    }),
  );
  terminal.out(options.json === true ? JSON.stringify(created) : created.secret);
  const end =
    created.expiresAt === null ? "does not expire" : `expires at ${new Date(created.expiresAt).toISOString()}`;
  terminal.err(
    `Key ${created.id} gives access to namespace ${plain(created.namespace)} for ${created.scopes.join(", ")}, ` +
      `and ${end}. The key is not shown again.`,
  );
}
