import { hostname } from "node:os";
import { AikiError } from "@aikirun/lib";
import { textOf } from "../row.ts";
import { Connection } from "./connection.ts";
import type { Driver } from "./driver.ts";
import { isBusy } from "./failure.ts";

/** The process that has the database file open. */
export interface Holder {
  pid: string;
  host: string;
  /** The version of its SQLite; empty if unknown. */
  sqlite: string;
}

/** A held lock; `release` lets other processes open the database file. */
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
      DROP TABLE IF EXISTS holder;
      CREATE TABLE holder (pid TEXT NOT NULL, host TEXT NOT NULL, sqlite TEXT NOT NULL);`);
    connection.run("INSERT INTO holder VALUES (?, ?, sqlite_version())", String(process.pid), hostname());
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

/** The holder of the lock of this file; its fields are `unknown` if they cannot be read. */
export function holderOf(connection: Connection): Holder {
  const unknown = { pid: "unknown", host: "unknown", sqlite: "" };
  try {
    const row = connection.first("SELECT * FROM holder");
    if (row === undefined) return unknown;
    return { pid: textOf(row, "pid"), host: textOf(row, "host"), sqlite: String(row.sqlite ?? "") };
  } catch {
    // The holder is writing the row now.
    return unknown;
  }
}
