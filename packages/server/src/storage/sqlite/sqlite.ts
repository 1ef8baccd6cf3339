import { AikiError, type Env, type Logger } from "@aikirun/lib";
import type { KeyedStorage, Keys } from "../keys.ts";
import { turns } from "../turns.ts";
import type { Connection, Observe } from "./connection.ts";
import { loadDriver } from "./driver.ts";
import { explainFailure } from "./failure.ts";
import { sqliteKeys } from "./keys.ts";
import { type Lock, lockDatabase } from "./lock.ts";
import { migrate } from "./migrate.ts";
import { connect, createFile, resolveFile } from "./open.ts";
import { SqliteReader } from "./reader.ts";
import * as sql from "./statements.ts";
import { SqliteTransaction } from "./transaction.ts";

export interface SqliteOptions {
  /** The database file; it and its directory are made when missing. */
  path: string;
  env: Pick<Env, "now">;
  logger?: Logger;
  /** Told of every statement, for tests that count them. */
  observe?: Observe;
}

/**
 * Runs in one SQLite file, for one server at a time. Throws `DATABASE_LOCKED`, `DATABASE_FOREIGN`, `SCHEMA_DRIFT`,
 * `SCHEMA_TOO_NEW`, `SQLITE_MISSING` or `STORAGE_*`.
 */
export async function openSqlite(options: SqliteOptions): Promise<KeyedStorage> {
  const driver = await loadDriver();
  const path = await resolveFile(options.path);
  let lock: Lock | undefined;
  let connection: Connection | undefined;
  try {
    await createFile(`${path}.lock`);
    lock = lockDatabase(driver, path);
    await createFile(path);
    connection = connect(driver, path, options.logger, options.observe);
    migrate(connection, options.env.now());
    return new SqliteStorage(connection, lock, path, options.env);
  } catch (thrown) {
    connection?.close();
    lock?.release();
    throw explainFailure(thrown, path);
  }
}

/** One connection for writing and reading: whoever reads never sees an open transaction, as each has its turn. */
export class SqliteStorage implements KeyedStorage {
  readonly keys: Keys;
  readonly #connection: Connection;
  readonly #lock: Lock;
  readonly #path: string;
  readonly #env: Pick<Env, "now">;
  readonly #inTurn = turns();
  #closed = false;
  /** Set by damage: what has been acknowledged is not written over. */
  #damage: unknown = null;

  constructor(connection: Connection, lock: Lock, path: string, env: Pick<Env, "now">) {
    this.#connection = connection;
    this.#lock = lock;
    this.#path = path;
    this.#env = env;
    this.keys = sqliteKeys(connection, env, (work) => this.#do(work));
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
      this.#lock.release();
    });
  }

  #do<T>(work: () => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      if (this.#closed) throw new AikiError("STORAGE_CLOSED", "The storage is closed; open it anew.");
      if (this.#damage !== null) throw this.#damage;
      try {
        return await work();
      } catch (thrown) {
        const explained = explainFailure(thrown, this.#path);
        if (explained instanceof AikiError && explained.code === "STORAGE_CORRUPT") this.#damage = explained;
        throw explained;
      }
    });
  }
}
