import { hostname } from "node:os";
import { AikiError } from "@aikirun/lib";
import { textOf } from "../row.ts";
import { Connection } from "./connection.ts";
import type { Driver } from "./driver.ts";
import { isBusy } from "./failure.ts";

/** What lets others open the database file again. */
export interface Lock {
  release(): void;
}

/**
 * Holds a write lock on a small database beside the file for as long as this process lives. The operating system frees
 * it however the process ends, so no stale lock is ever left to delete. Others can still read who holds it.
 * Throws `DATABASE_LOCKED`.
 */
export function lockDatabase(driver: Driver, path: string): Lock {
  const connection = new Connection(driver, `${path}.lock`);
  try {
    connection.script(`
      PRAGMA busy_timeout = 0;
      BEGIN IMMEDIATE;
      CREATE TABLE IF NOT EXISTS holder (pid TEXT NOT NULL, host TEXT NOT NULL);
      DELETE FROM holder;`);
    connection.run("INSERT INTO holder (pid, host) VALUES (?, ?)", String(process.pid), hostname());
    connection.script("COMMIT; BEGIN IMMEDIATE;");
  } catch (thrown) {
    const refusal = isBusy(thrown) ? lockedBy(connection, path, thrown) : thrown;
    connection.rollBack();
    connection.close();
    throw refusal;
  }
  return {
    release() {
      // The prebuilt driver cannot finalize statements: until they are collected, closing alone would not unlock.
      connection.rollBack();
      connection.close();
    },
  };
}

function lockedBy(connection: Connection, path: string, cause: unknown): AikiError {
  const { pid, host } = holderOf(connection);
  return new AikiError(
    "DATABASE_LOCKED",
    `${path} is in use by another Aiki server (process ${pid} on ${host}). Stop that one, or use another file.`,
    { cause, ids: { path, pid, host } },
  );
}

function holderOf(connection: Connection): { pid: string; host: string } {
  try {
    const row = connection.first("SELECT pid, host FROM holder");
    if (row !== undefined) return { pid: textOf(row, "pid"), host: textOf(row, "host") };
  } catch {
    // The holder is just writing its name.
  }
  return { pid: "unknown", host: "unknown" };
}
