import { access, constants, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { isAikiError } from "@aikirun/lib";
import { textOf } from "../row.ts";
import { type SchemaState, schemaOf } from "../schema-state.ts";
import { Connection } from "./connection.ts";
import { type Driver, loadDriver } from "./driver.ts";
import { explainFailure, isMissing } from "./failure.ts";
import { lockDatabase } from "./lock.ts";
import { schemaState } from "./migrate.ts";
import { createFile, resolveFile } from "./open.ts";

/** What is known about a database file without changing it. */
export type SqliteFile =
  /** A server creates the file. `isWritable`: whether this process may create it, and its directory. */
  | { type: "missing"; isWritable: boolean }
  /** A server has the file open, and has checked its schema. */
  | { type: "in_use"; holder: string }
  | { type: "free"; isWritable: boolean; sqlite: string; schema: SchemaState };

/** Throws `SQLITE_MISSING` or `STORAGE_*`. */
export async function inspectFile(asked: string): Promise<SqliteFile> {
  try {
    await stat(asked);
  } catch (thrown) {
    if (isMissing(thrown)) return { type: "missing", isWritable: await mayCreate(dirname(asked)) };
    throw explainFailure(thrown, asked);
  }
  const driver = await loadDriver();
  let path = asked;
  try {
    path = await resolveFile(asked);
    await createFile(`${path}.lock`);
    return await inspectLocked(driver, path);
  } catch (thrown) {
    if (isAikiError(thrown) && thrown.code === "DATABASE_LOCKED") {
      return { type: "in_use", holder: `process ${thrown.ids.pid} on ${thrown.ids.host}` };
    }
    throw explainFailure(thrown, path);
  }
}

/** While this process holds the lock, no server opens the file. */
async function inspectLocked(driver: Driver, path: string): Promise<SqliteFile> {
  const lock = lockDatabase(driver, path);
  const connection = new Connection(driver, path);
  try {
    const sqlite = textOf(connection.first("SELECT sqlite_version() AS version") ?? {}, "version");
    const schema = await schemaOf(() => schemaState(connection));
    return { type: "free", isWritable: await mayWrite(path), sqlite, schema };
  } finally {
    connection.close();
    lock.release();
  }
}

/** Whether this process may create this directory, or a file in it. */
async function mayCreate(directory: string): Promise<boolean> {
  const found = await stat(directory).catch(() => null);
  if (found !== null) return found.isDirectory() && mayWrite(directory);
  return dirname(directory) !== directory && mayCreate(dirname(directory));
}

async function mayWrite(path: string): Promise<boolean> {
  return access(path, constants.W_OK).then(
    () => true,
    () => false,
  );
}
