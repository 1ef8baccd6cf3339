import { AikiError, isAikiError, type Logger } from "@aikirun/lib";
import type { PoolClient } from "pg";
import type { KeyedStorage, Keys } from "../keys.ts";
import {
  isConflict,
  type KnownTime,
  type ObserveStatement,
  type OptimisticBatch,
  type OptimisticWriting,
} from "../storage.ts";
import { type DatabaseClock, databaseClock } from "./clock.ts";
import { checkDatabase, checkTransactions, withConnection } from "./connect.ts";
import { explainFailure } from "./failure.ts";
import { canReadIdentity, Identity, IdentityMismatch } from "./identity.ts";
import { postgresKeys } from "./keys.ts";
import { isOutdated, migrate } from "./migrate.ts";
import { named, unnamed } from "./names.ts";
import { writeOptimistically } from "./optimistic.ts";
import { Pools } from "./pools.ts";
import { PostgresReader } from "./reader.ts";
import { beginSnapshot, Session, type SessionOptions } from "./session.ts";
import { begin, checkWritable } from "./statements.ts";
import { PostgresTransaction } from "./transaction.ts";
import { placeOf } from "./url.ts";

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`, with the parameters that `pg` knows. */
  url: string;
  /** The maximum number of connections; at least 2. */
  connections: number;
  logger?: Logger;
  /** Called with every statement, for tests that count them. */
  observe?: ObserveStatement;
}

/**
 * Runs in the schema `aiki` of a PostgreSQL database, for any number of servers. Throws `DATABASE_FOREIGN`,
 * `DATABASE_UNSUPPORTED`, `SCHEMA_DRIFT`, `SCHEMA_TOO_NEW` or `STORAGE_*`.
 */
export async function openPostgres({ url, connections, logger, observe }: PostgresOptions): Promise<KeyedStorage> {
  const place = placeOf(url);
  try {
    const { isDirect, isReadable, outdated } = await withConnection(url, "limited", async (client) => {
      await checkTransactions(client);
      const checked = await checkDatabase(client, place, logger);
      const isReadable = await canReadIdentity(client, place, logger);
      return { ...checked, isReadable, outdated: await isOutdated(client) };
    });
    if (outdated) await migrate(url, logger);
    const pools = new Pools({ url, place, connections, isDirect, logger });
    const nameOf = isDirect ? named : unnamed;
    return new PostgresStorage(
      pools,
      { isDirect, isReadable },
      { place, nameOf, ...(observe === undefined ? {} : { observe }) },
      logger,
    );
  } catch (thrown) {
    throw explainFailure(thrown, place);
  }
}

/** The lowest `work_mem` and the tablespace of the database: see `checkWritable`. */
const spillEarly = "SELECT set_config('work_mem', '64kB', true), set_config('temp_tablespaces', '', true)";

/**
 * Transactions use READ COMMITTED, which is enough: every row that a decision depends on is compared by revision when
 * it is written, and locked in id order. Reads use one snapshot.
 */
class PostgresStorage implements KeyedStorage {
  /** While one transaction waits for the database, the engine decides the next one. */
  readonly lanes = 2;
  readonly optimistic?: OptimisticWriting;
  readonly keys: Keys;
  readonly #pools: Pools;
  readonly #around: SessionOptions;
  readonly #isDirect: boolean;
  readonly #identity: Identity;
  readonly #clock: DatabaseClock = databaseClock(() => performance.now());
  readonly #logger: Logger | undefined;
  /** Whether the last reply came from a PostgreSQL server that rejects writes. */
  #isReadOnly = false;
  #closed: Promise<void> | null = null;

  constructor(
    pools: Pools,
    { isDirect, isReadable }: { isDirect: boolean; isReadable: boolean },
    around: SessionOptions,
    logger: Logger | undefined,
  ) {
    this.#logger = logger;
    this.#isDirect = isDirect;
    this.#identity = new Identity({
      isReadable,
      place: around.place,
      logger,
      onFenceFloorRise: (client) => this.#replaced(client),
    });
    this.#pools = pools;
    this.#around = around;
    // A single statement cannot set its own time limits: its connection must have them, which needs no pooler.
    if (isDirect) {
      this.optimistic = { now: () => this.#now(), write: (batch) => this.#writeOptimistically(batch) };
    }
    this.keys = postgresKeys((work) =>
      this.#within("writing", async (session) => {
        const result = await work(session, await this.#begin(session, begin));
        await session.commit();
        return result;
      }),
    );
  }

  transaction<T>(work: (transaction: PostgresTransaction) => Promise<T>): Promise<T> {
    return this.#within("writing", async (session) => {
      const result = await work(new PostgresTransaction(session, await this.#begin(session, begin)));
      await session.commit();
      return result;
    });
  }

  read<T>(work: (reader: PostgresReader) => Promise<T>): Promise<T> {
    return this.#within("reading", async (session) => {
      const result = await work(new PostgresReader(session, await this.#begin(session, beginSnapshot)));
      await session.commit();
      return result;
    });
  }

  checkWritable(): Promise<void> {
    return this.#within("writing", async (session) => {
      await this.#begin(session, begin);
      await Promise.all([session.rows(spillEarly), session.rows(checkWritable)]);
      await session.commit();
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#pools.close();
    return this.#closed;
  }

  #now(): KnownTime | null {
    const time = this.#clock.now();
    return time === null ? null : { ...time, fenceFloor: this.#identity.fenceFloor };
  }

  /** Through a pooler, each transaction may run on another PostgreSQL server, so each one checks the identity. */
  async #begin(session: Session, how: string): Promise<number> {
    const beginning = session.begin(how, this.#clock);
    if (this.#isDirect) return beginning;
    const [now] = await Promise.all([beginning, this.#identity.check(session)]);
    return now;
  }

  async #writeOptimistically(batch: OptimisticBatch): Promise<boolean> {
    if (batch.inserts.length + batch.changes.length + batch.holds.length === 0) return true;
    try {
      await this.#within("writing", (session) => writeOptimistically(session, this.#clock, batch));
      return true;
    } catch (thrown) {
      if (!isConflict(thrown)) throw thrown;
      this.#clock.invalidate();
      return false;
    }
  }

  /**
   * Runs `work` again if the database was replaced. That is safe: the identity is checked before `work` starts, or in
   * its `#begin`, before it has changed anything.
   */
  async #within<T>(purpose: "writing" | "reading", work: (session: Session) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await this.#once(purpose, work);
      } catch (thrown) {
        if (!(thrown instanceof IdentityMismatch)) throw thrown;
        await this.#once("writing", (session) => this.#identity.note(session, thrown.noted), "unchecked");
      }
    }
  }

  async #once<T>(
    purpose: "writing" | "reading",
    work: (session: Session) => Promise<T>,
    how: "checked" | "unchecked" = this.#isDirect ? "checked" : "unchecked",
  ): Promise<T> {
    if (this.#closed !== null) throw new AikiError("STORAGE_CLOSED", "The storage is closed; open it again.");
    const client = await this.#pools.checkOut(purpose);
    const session = new Session(client, this.#around);
    try {
      if (how === "checked") await this.#identity.checkOnce(client, session);
      const result = await work(session);
      session.release();
      this.#noteWritable();
      return result;
    } catch (thrown) {
      if (isAikiError(thrown) && thrown.code === "STORAGE_READ_ONLY") this.#leave(client, thrown);
      await session.rollBack();
      throw thrown;
    }
  }

  /** Called when the fence floor has risen: other connections may lead to the former primary. */
  #replaced(client: PoolClient | null): void {
    this.#clock.invalidate();
    if (client !== null) this.#pools.retire(client);
  }

  /** The primary may have changed: new connections may lead to the new one. */
  #leave(client: PoolClient, error: AikiError): void {
    this.#pools.retire(client);
    this.#clock.invalidate();
    if (this.#isReadOnly) return;
    this.#isReadOnly = true;
    this.#logger?.warn("PostgreSQL takes no writes: all connections to it are closed and opened again", { error });
  }

  #noteWritable(): void {
    if (!this.#isReadOnly) return;
    this.#isReadOnly = false;
    this.#logger?.info("PostgreSQL takes writes again", { place: this.#around.place });
  }
}
