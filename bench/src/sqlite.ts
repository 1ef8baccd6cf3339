import { type Database, loadDriver } from "../../packages/server/src/storage/sqlite/driver.ts";

/** The same SQLite that the server uses. */
export async function openDatabase(path: string): Promise<Database> {
  const Driver = await loadDriver();
  return new Driver(path);
}
