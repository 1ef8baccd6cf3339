import { AikiError, type Logger } from "@aikirun/lib";
import type { Pool } from "pg";
import type { Storage } from "../storage.ts";
import { checkDatabase, checkOut, closePools, openPools, type Pools } from "./connect.ts";
import { explainFailure } from "./failure.ts";
import { migrate } from "./migrate.ts";
import { PostgresReader } from "./reader.ts";
import { beginSnapshot, type Observe, Session } from "./session.ts";
import { begin } from "./statements.ts";
import { PostgresTransaction } from "./transaction.ts";

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`, with the parameters that `pg` knows. */
  url: string;
  /** At most so many; at least 2. */
  connections: number;
  logger?: Logger;
  /** Told of every statement, for tests that count them. */
  observe?: Observe;
}

/**
 * Runs in the schema `aiki` of a PostgreSQL database, for any number of servers. Throws `DATABASE_FOREIGN`,
 * `DATABASE_UNSUPPORTED`, `SCHEMA_DRIFT`, `SCHEMA_TOO_NEW` or `STORAGE_*`.
 */
export async function openPostgres({ url, connections, logger, observe }: PostgresOptions): Promise<Storage> {
  const pools = openPools(url, connections, logger);
  try {
    const client = await checkOut(pools.writing, pools.place);
    try {
      await checkDatabase(client, pools.place, logger);
      await migrate(client, logger);
    } finally {
      client.release();
    }
    return new PostgresStorage(pools, observe);
  } catch (thrown) {
    await closePools(pools);
    throw explainFailure(thrown, pools.place);
  }
}

/**
 * READ COMMITTED is enough for what writes: every row it decides upon is compared by revision when it is written, and
 * locked in id order. What only reads gets one snapshot.
 */
class PostgresStorage implements Storage {
  readonly #pools: Pools;
  readonly #observe: Observe | undefined;
  #closed: Promise<void> | null = null;

  constructor(pools: Pools, observe: Observe | undefined) {
    this.#pools = pools;
    this.#observe = observe;
  }

  transaction<T>(work: (transaction: PostgresTransaction) => Promise<T>): Promise<T> {
    return this.#within(this.#pools.writing, async (session) => {
      const result = await work(new PostgresTransaction(session, await session.begin(begin)));
      await session.commit();
      return result;
    });
  }

  read<T>(work: (reader: PostgresReader) => Promise<T>): Promise<T> {
    return this.#within(this.#pools.reading, async (session) => {
      const result = await work(new PostgresReader(session, await session.begin(beginSnapshot)));
      await session.commit();
      return result;
    });
  }

  close(): Promise<void> {
    this.#closed ??= closePools(this.#pools);
    return this.#closed;
  }

  async #within<T>(pool: Pool, work: (session: Session) => Promise<T>): Promise<T> {
    if (this.#closed !== null) throw new AikiError("STORAGE_CLOSED", "The storage is closed; open it anew.");
    const session = new Session(await checkOut(pool, this.#pools.place), this.#pools.place, this.#observe);
    try {
      const result = await work(session);
      session.release();
      return result;
    } catch (thrown) {
      await session.rollBack();
      throw thrown;
    }
  }
}
