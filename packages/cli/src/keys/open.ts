import { consoleLogger } from "@aikirun/lib";
import { type ApiKeys, apiKeys } from "@aikirun/server";
import type { Terminal } from "../terminal.ts";

/** Options of every command about keys. */
export interface KeysOptions {
  database: string;
  json?: boolean;
}

/** Lends the keys of a database for the length of `work`. What is logged goes aside from what was asked for. */
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
