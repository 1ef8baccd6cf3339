import { consoleLogger } from "@aikirun/lib";
import { type ApiKeys, apiKeys } from "@aikirun/server";
import type { Terminal } from "../terminal.ts";

/** Options of every command about keys. */
export interface KeysOptions {
  database: string;
  json?: boolean;
}

/** Calls `work` with the keys of a database, then closes it. Log lines go to standard error. */
export async function withKeys<Result>(
  { database }: KeysOptions,
  terminal: Terminal,
  work: (keys: ApiKeys) => Promise<Result>,
): Promise<Result> {
  const keys = await apiKeys({ database, logger: consoleLogger({ write: (line) => terminal.err(line) }) });
  try {
    return await work(keys);
  } finally {
    await keys.close();
  }
}
