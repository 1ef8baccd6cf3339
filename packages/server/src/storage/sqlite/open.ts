import { mkdir, open, readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { AikiError, type Logger } from "@aikirun/lib";
import type { ObserveStatement } from "../storage.ts";
import { Connection } from "./connection.ts";
import type { Driver } from "./driver.ts";
import { isMissing } from "./failure.ts";

/** Readable and writable by its owner only: inputs and outputs may be secrets. */
const fileMode = 0o600;

/** Oldest versions in which two connections cannot corrupt a WAL: https://www.sqlite.org/wal.html#walresetbug */
const safeVersion = [3, 51, 3];

/** How long another program may hold the file while this one waits and does nothing else. Milliseconds. */
const busyTimeoutMs = 2000;

/**
 * The one name under which a file is locked and opened, however it was reached. Makes a missing directory. Throws the
 * error of the operating system, or `STORAGE_UNAVAILABLE` for what is not a file.
 */
export async function resolveFile(path: string): Promise<string> {
  await makeDirectory(dirname(path));
  try {
    const resolved = await realpath(path);
    if (!(await stat(resolved)).isFile()) throw notAFile(resolved);
    return resolved;
  } catch (thrown) {
    if (!isMissing(thrown)) throw thrown;
  }
  const place = join(await realpath(dirname(path)), basename(path));
  // A link to a file that is not there yet: once it is there, every name must lead to the same lock.
  const target = await readlink(place).catch(() => null);
  return target === null ? place : resolveFile(resolve(dirname(place), target));
}

/** Node's own recursive mkdir never returns where a directory cannot be made, as in /proc. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await stat(path);
    return;
  } catch (thrown) {
    if (!isMissing(thrown)) throw thrown;
  }
  await makeDirectory(dirname(path));
  await mkdir(path).catch(unlessItExists);
}

function notAFile(path: string): AikiError {
  return new AikiError("STORAGE_UNAVAILABLE", `${path} is not a file. Name a file for the database.`, {
    ids: { path },
  });
}

/**
 * Creates the file with its mode, before SQLite would with the mode of the process. One that exists is not opened: to
 * close a file frees every lock that this process holds on it, also the lock of a server that runs here.
 */
export async function createFile(path: string): Promise<void> {
  const file = await open(path, "ax", fileMode).catch(unlessItExists);
  await file?.close();
}

function unlessItExists(thrown: unknown): void {
  if (!(thrown instanceof Error) || !("code" in thrown) || thrown.code !== "EEXIST") throw thrown;
}

/** Opens the one connection, durable: WAL, and every commit on disk before it is acknowledged. */
export function connect(
  driver: Driver,
  path: string,
  logger: Logger | undefined,
  observe?: ObserveStatement,
): Connection {
  const connection = new Connection(driver, path, observe);
  try {
    connection.script(`
      PRAGMA busy_timeout = ${busyTimeoutMs};
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA wal_autocheckpoint = 1000;
      PRAGMA cache_size = -32768;`);
    assertPragma(connection, "journal_mode", "wal");
    // Some builds reopen a WAL at NORMAL, which loses acknowledged commits when the power goes.
    assertPragma(connection, "synchronous", 2);
    // SQLite opens a file that may only be read without a word, and fails at the first write.
    connection.script("BEGIN IMMEDIATE; PRAGMA user_version = 0; ROLLBACK;");
    warnOfVersion(connection, logger);
    return connection;
  } catch (thrown) {
    connection.close();
    throw thrown;
  }
}

function assertPragma(connection: Connection, name: string, expected: string | number): void {
  const actual = connection.pragma(name);
  if (actual === expected) return;
  throw new AikiError(
    "STORAGE_NOT_DURABLE",
    `SQLite kept ${name} at ${actual} instead of ${expected}. Use a file on a local disk.`,
  );
}

function warnOfVersion(connection: Connection, logger: Logger | undefined): void {
  const version = String(connection.first("SELECT sqlite_version() AS version")?.version);
  if (isSafe(version.split(".").map(Number))) return;
  logger?.warn("This SQLite may damage a database that two programs open at once; use 3.51.3 or later.", { version });
}

/** The fix was also ported back to 3.50.7 and 3.44.6. */
export function isSafe([major = 0, minor = 0, patch = 0]: number[]): boolean {
  const [safeMajor = 0, safeMinor = 0, safePatch = 0] = safeVersion;
  if (major !== safeMajor) return major > safeMajor;
  if (minor === 50) return patch >= 7;
  if (minor === 44) return patch >= 6;
  return minor > safeMinor || (minor === safeMinor && patch >= safePatch);
}
