/** The same SQLite that the server uses. */

export interface Database {
  exec(sql: string): void;
  prepare(sql: string): { run(...values: unknown[]): unknown };
  close(): void;
}

export async function openDatabase(path: string): Promise<Database> {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const isBuiltIn = major > 22 || (major === 22 && minor >= 13);
  const { DatabaseSync } = isBuiltIn ? await import("node:sqlite") : await import("@photostructure/sqlite");
  return new DatabaseSync(path);
}
