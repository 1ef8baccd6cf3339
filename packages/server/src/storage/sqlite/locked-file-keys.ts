import { hostname } from "node:os";
import { AikiError, type Env, type Logger } from "@aikirun/lib";
import type { Keys } from "../keys.ts";
import { textOf } from "../row.ts";
import { serialQueue } from "../serial-queue.ts";
import { Connection } from "./connection.ts";
import { type Driver, loadDriver } from "./driver.ts";
import { explainFailure } from "./failure.ts";
import { sqliteKeys } from "./keys.ts";
import { type Holder, holderOf } from "./lock.ts";
import { isUpToDate } from "./migrate.ts";
import { connect, isSafe, resolveFile } from "./open.ts";

export interface LockedFileOptions {
  path: string;
  env: Pick<Env, "now">;
  logger: Logger;
}

/**
 * Opens the API keys in a file that a server has open, through a second connection. Both processes need a version of
 * SQLite without the bug by which two connections damage a WAL, and must be on one machine, because a WAL needs shared
 * memory. Does not migrate. Throws `DATABASE_LOCKED` with the reason, `SCHEMA_*` or `STORAGE_*`.
 */
export async function openKeysOfLockedFile(
  { path: asked, env, logger }: LockedFileOptions,
  locked: AikiError,
): Promise<{ keys: Keys; close(): Promise<void> }> {
  const driver = await loadDriver();
  let path = asked;
  let connection: Connection | undefined;
  try {
    path = await resolveFile(asked);
    const obstacle = obstacleOf(readLock(driver, path));
    if (obstacle !== null) throw stopFirst(path, obstacle, locked);
    connection = connect(driver, path, logger);
    if (!isUpToDate(connection)) throw stopFirst(path, "the server is of an older version", locked);
  } catch (thrown) {
    connection?.close();
    throw explainFailure(thrown, path);
  }
  return keysThrough(connection, path, env);
}

function keysThrough(
  connection: Connection,
  path: string,
  env: Pick<Env, "now">,
): { keys: Keys; close(): Promise<void> } {
  const inTurn = serialQueue();
  const explained = <T>(work: () => Promise<T>): Promise<T> =>
    inTurn(work).catch((thrown) => {
      throw explainFailure(thrown, path);
    });
  return {
    keys: sqliteKeys(connection, env, explained),
    close: () => inTurn(async () => connection.close()),
  };
}

function readLock(driver: Driver, path: string): { holder: Holder; own: string } {
  const connection = new Connection(driver, `${path}.lock`);
  try {
    const row = connection.first("SELECT sqlite_version() AS version");
    return { holder: holderOf(connection), own: row === undefined ? "" : textOf(row, "version") };
  } finally {
    connection.close();
  }
}

function obstacleOf({ holder, own }: { holder: Holder; own: string }): string | null {
  if (holder.host !== hostname()) return `the server is on ${holder.host}, and this is ${hostname()}`;
  const old = [holder.sqlite, own].find((version) => !isSafe(version.split(".").map(Number)));
  return old === undefined ? null : `SQLite ${old} may damage what two programs write, and 3.51.3 does not`;
}

function stopFirst(path: string, obstacle: string, locked: AikiError): AikiError {
  return new AikiError(
    "DATABASE_LOCKED",
    `An Aiki server has ${path} open, and ${obstacle}. Stop the server (nothing is lost), do this again, and start it.`,
    { cause: locked, ids: locked.ids },
  );
}
