/** The SQLite driver of the server: the one built into Node, else the package with the same API. */

interface MeasuredDatabase {
  exec(sql: string): void;
  prepare(sql: string): { run(...values: unknown[]): unknown };
  close(): void;
}

export async function openDatabase(path: string): Promise<MeasuredDatabase> {
  const [major = 0] = process.versions.node.split(".").map(Number);
  const module: { DatabaseSync: new (path: string) => MeasuredDatabase } = await import(
    major > 22 ? "node:sqlite" : "@photostructure/sqlite"
  );
  return new module.DatabaseSync(path);
}
