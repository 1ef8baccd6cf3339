import { consoleLogger } from "@aikirun/lib";
import { migrate, withoutPassword } from "@aikirun/server";
import type { Terminal } from "./terminal.ts";

/** Brings the schema of a database up to this version. */
export async function migrateCommand(options: { database: string; json?: boolean }, terminal: Terminal): Promise<void> {
  const logger = consoleLogger({ write: (line) => terminal.err(line) });
  await migrate({ database: options.database, logger });
  const database = withoutPassword(options.database);
  terminal.out(options.json === true ? JSON.stringify({ database }) : `The schema in ${database} is up to date.`);
}
