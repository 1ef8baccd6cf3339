import { AikiError, type Env, type Logger } from "@aikirun/lib";
import type { KeyedStorage, Keys } from "../keys.ts";
import { serialQueue } from "../serial-queue.ts";
import type { ObserveStatement } from "../storage.ts";
import type { Connection } from "./connection.ts";
import { loadDriver } from "./driver.ts";
import { explainFailure } from "./failure.ts";
import { sqliteKeys } from "./keys.ts";
import { type Lock, lockDatabase } from "./lock.ts";
import { migrate } from "./migrate.ts";
import { connect, createFile, resolveFile } from "./open.ts";
import { OpenFiles } from "./open-files.ts";
import { SqliteReader } from "./reader.ts";
import * as sql from "./statements.ts";
import { SqliteTransaction } from "./transaction.ts";

export interface SqliteOptions {
  /** The database file; it and its directory are made when missing. */
  path: string;
  env: Pick<Env, "now">;
  logger?: Logger;
  /** Called with every statement, for tests that count them. */
  observe?: ObserveStatement;
}

/**
 * Runs in one SQLite file, for one server at a time. Throws `DATABASE_LOCKED`, `DATABASE_FOREIGN`, `SCHEMA_DRIFT`,
 * `SCHEMA_TOO_NEW`, `SQLITE_MISSING` or `STORAGE_*`.
 */
export async function openSqlite(options: SqliteOptions): Promise<KeyedStorage> {
  const { env, logger, observe } = options;
  const driver = await loadDriver();
  const files = new OpenFiles();
  let path = options.path;
  let lock: Lock | undefined;
  let connection: Connection | undefined;
  try {
    path = await resolveFile(path);
    await createFile(`${path}.lock`);
    files.add(`${path}.lock`);
    lock = lockDatabase(driver, path);
    await createFile(path);
    files.add(path);
    connection = connect(driver, path, logger, observe);
    migrate(connection, env.now());
    // SQLite makes both when it first reads, and keeps them for as long as a connection is open.
    files.add(`${path}-wal`);
    files.add(`${path}-shm`);
    files.check();
    return new SqliteStorage({ connection, lock, path, files, env, ...(logger && { logger }) });
  } catch (thrown) {
    connection?.close();
    lock?.release();
    throw explainFailure(thrown, path);
  }
}

/** A database file that is locked, open and migrated. */
export interface OpenedFile {
  connection: Connection;
  lock: Lock;
  path: string;
  /** Compared with what their paths name after each piece of work, and before it is acknowledged. */
  files: OpenFiles;
  env: Pick<Env, "now">;
  logger?: Logger;
}

/** Faults after which the file is not used any more, so that acknowledged commits are not overwritten. */
const fatal: ReadonlySet<string> = new Set(["STORAGE_CORRUPT", "STORAGE_FILE_LOST"]);

/** One connection for writing and reading, one at a time, so that a reader never sees an open transaction. */
export class SqliteStorage implements KeyedStorage {
  readonly keys: Keys;
  readonly #opened: OpenedFile;
  readonly #connection: Connection;
  readonly #env: Pick<Env, "now">;
  readonly #inTurn = serialQueue();
  #closed = false;
  /** The first of the `fatal` faults. */
  #fault: AikiError | null = null;

  constructor(opened: OpenedFile) {
    this.#opened = opened;
    this.#connection = opened.connection;
    this.#env = opened.env;
    this.keys = sqliteKeys(opened.connection, opened.env, (work) => this.#do(work));
  }

  transaction<T>(work: (transaction: SqliteTransaction) => Promise<T>): Promise<T> {
    return this.#do(async () => {
      this.#connection.run(sql.begin);
      try {
        const result = await work(new SqliteTransaction(this.#connection, this.#env));
        this.#connection.run(sql.commit);
        return result;
      } catch (thrown) {
        this.#connection.rollBack();
        throw thrown;
      }
    });
  }

  read<T>(work: (reader: SqliteReader) => Promise<T>): Promise<T> {
    return this.#do(() => work(new SqliteReader(this.#connection, this.#env)));
  }

  checkWritable(): Promise<void> {
    return this.transaction(async () => {
      this.#connection.run(sql.checkWritable);
    });
  }

  close(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#closed) return;
      this.#closed = true;
      try {
        this.#connection.script("PRAGMA wal_checkpoint(TRUNCATE)");
      } catch {
        // What is left in the WAL is read from there at the next open.
      }
      this.#connection.close();
      this.#opened.lock.release();
    });
  }

  #do<T>(work: () => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      if (this.#closed) throw new AikiError("STORAGE_CLOSED", "The storage is closed; open it again.");
      if (this.#fault !== null) throw this.#fault;
      try {
        const result = await work();
        this.#opened.files.check();
        return result;
      } catch (thrown) {
        throw this.#explained(thrown);
      }
    });
  }

  #explained(thrown: unknown): unknown {
    const explained = explainFailure(thrown, this.#opened.path);
    if (explained instanceof AikiError && fatal.has(explained.code)) {
      this.#fault = explained;
      const { code, message } = explained;
      this.#opened.logger?.error("The server no longer uses its database", { code, error: message });
    }
    return explained;
  }
}
