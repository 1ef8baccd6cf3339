import { AikiError } from "@aikirun/lib";
import type { PoolClient } from "pg";
import { numberOf, type Row } from "../row.ts";
import type { ObserveStatement } from "../storage.ts";
import { clockMicroseconds, type DatabaseClock } from "./clock.ts";
import { isReadOnly, readOnly } from "./connect.ts";
import { explainFailure, isHarmless } from "./failure.ts";
import type { NameOf } from "./names.ts";
import { commit, rollback } from "./statements.ts";

export interface SessionOptions {
  /** The host, port and name of the database, for errors. */
  readonly place: string;
  readonly nameOf: NameOf;
  readonly observe?: ObserveStatement;
}

/** Begins a snapshot for reading. */
export const beginSnapshot: string = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/**
 * Sets limits for this transaction only, because a pooler may lend its connection to others; returns whether the server
 * is read-only, and its clock. `lock_timeout` is longer than the time in which a deadlock is detected (1 s).
 */
const open = `
  SELECT
    set_config('statement_timeout', '10s', true),
    set_config('lock_timeout', '1500ms', true),
    set_config('idle_in_transaction_session_timeout', '10s', true),
    ${isReadOnly} AS read_only,
    ${clockMicroseconds} AS now`;

/** One transaction on one connection. After its first failure it sends only the rollback. */
export class Session {
  /** See `Reader`. `Identity` sets it when the session begins. */
  fenceFloor = 0;
  readonly #client: PoolClient;
  readonly #around: SessionOptions;
  #failure: { thrown: unknown; explained: unknown } | null = null;

  constructor(client: PoolClient, around: SessionOptions) {
    this.#client = client;
    this.#around = around;
    client.on("error", this.#fail);
  }

  /** Returns the rows. Statements sent without waiting are pipelined and executed in order. */
  async rows(sql: string, values: readonly unknown[] = []): Promise<Row[]> {
    return (await this.#send(sql, values)).rows;
  }

  /**
   * Begins the transaction; returns the epoch milliseconds of the database's clock, rounded down so that no timer is
   * early. Throws `STORAGE_READ_ONLY` on a standby, also for reads: the server of a connection may become a standby.
   */
  async begin(how: string, clock: DatabaseClock): Promise<number> {
    const askedAt = performance.now();
    const [, answered] = await Promise.all([this.#send(how, []), this.#send(open, [])]);
    const [row] = answered.rows;
    if (row === undefined) throw new AikiError("STORAGE_FAILED", "PostgreSQL did not return its time.");
    if (row.read_only === true) throw readOnly(this.#around.place);
    const now = numberOf(row, "now") / 1_000;
    clock.received(now, askedAt, performance.now());
    return Math.floor(now);
  }

  /** PostgreSQL replies ROLLBACK, without an error, to a commit of a failed transaction. */
  async commit(): Promise<void> {
    const { command } = await this.#send(commit, []);
    if (command === "COMMIT") return;
    throw new AikiError("STORAGE_FAILED", `PostgreSQL answered ${command} to COMMIT. Nothing was recorded.`);
  }

  /** Rolls back and returns the connection to the pool, or closes a connection that may be broken. */
  async rollBack(): Promise<void> {
    if (this.#failure !== null && !isHarmless(this.#failure.thrown)) return this.#end(true);
    try {
      this.#around.observe?.(rollback);
      await this.#client.query(rollback);
      this.#end(false);
    } catch {
      this.#end(true);
    }
  }

  /** Returns the connection to the pool after a commit. */
  release(): void {
    this.#end(this.#failure !== null);
  }

  #end(broken: boolean): void {
    this.#client.off("error", this.#fail);
    this.#client.release(broken);
  }

  async #send(sql: string, values: readonly unknown[]): Promise<{ rows: Row[]; command: string }> {
    if (this.#failure !== null) throw this.#failure.explained;
    this.#around.observe?.(sql);
    try {
      const name = this.#around.nameOf(sql);
      return await this.#client.query<Row>({ text: sql, values: [...values], ...(name === undefined ? {} : { name }) });
    } catch (thrown) {
      throw this.#fail(thrown);
    }
  }

  /** The first failure explains those that follow from it. */
  readonly #fail = (thrown: unknown): unknown => {
    this.#failure ??= { thrown, explained: explainFailure(thrown, this.#around.place) };
    return this.#failure.explained;
  };
}
