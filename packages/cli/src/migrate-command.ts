import { consoleLogger } from "@aikirun/lib";
import { migrate, withoutPassword } from "@aikirun/server";
import type { Terminal } from "./terminal.ts";

/** Brings the schema of a database up to this version. */
export async function migrateCommand(options: { database: string }, terminal: Terminal): Promise<void> {
  await migrate({ database: options.database, logger: consoleLogger({}) });
  terminal.out(`The schema in ${withoutPassword(options.database)} is up to date.`);
}
