import { AikiError } from "@aikirun/lib";
import type { PoolClient } from "pg";
import { numberOf, type Row } from "../row.ts";
import { clockMicroseconds, type DatabaseClock } from "./clock.ts";
import { isReadOnly, readOnly } from "./connect.ts";
import { explainFailure, isHarmless } from "./failure.ts";
import type { NameOf } from "./names.ts";
import { commit, rollback } from "./statements.ts";

/** Told of every statement that is executed, by its text. */
export type Observe = (sql: string) => void;

/** What a session is told. */
export interface Around {
  /** Which database it is of, without the password. */
  readonly place: string;
  readonly nameOf: NameOf;
  readonly observe?: Observe;
}

/** How a snapshot for reading begins. */
export const beginSnapshot: string = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/**
 * Limits of this transaction alone, so that nothing stays behind on a pooled connection, whether the server takes
 * writes, and the database's clock. A lock is given up later than a deadlock is found (1 s).
 */
const open = `
  SELECT
    set_config('statement_timeout', '10s', true),
    set_config('lock_timeout', '1500ms', true),
    set_config('idle_in_transaction_session_timeout', '10s', true),
    ${isReadOnly} AS read_only,
    ${clockMicroseconds} AS now`;

/** One transaction on a connection of its own. After its first failure it sends nothing but the rollback. */
export class Session {
  /** See `Reader`. `Identity` sets it when the session begins. */
  fenceFloor = 0;
  readonly #client: PoolClient;
  readonly #around: Around;
  #failure: { thrown: unknown; explained: unknown } | null = null;

  constructor(client: PoolClient, around: Around) {
    this.#client = client;
    this.#around = around;
    client.on("error", this.#fail);
  }

  /** Answers with the rows. Statements sent at once travel at once, and are carried out in order. */
  async rows(sql: string, values: readonly unknown[] = []): Promise<Row[]> {
    return (await this.#send(sql, values)).rows;
  }

  /**
   * Begins; answers with the epoch milliseconds of the database's clock, rounded down so that no timer is early. Throws
   * `STORAGE_READ_ONLY` on a standby, also for what only reads: a connection may outlast the role of its server.
   */
  async begin(how: string, clock: DatabaseClock): Promise<number> {
    const askedAt = performance.now();
    const [, answered] = await Promise.all([this.#send(how, []), this.#send(open, [])]);
    const [row] = answered.rows;
    if (row === undefined) throw new AikiError("STORAGE_FAILED", "PostgreSQL did not tell its time.");
    if (row.read_only === true) throw readOnly(this.#around.place);
    const now = numberOf(row, "now") / 1_000;
    clock.heard(now, askedAt, performance.now());
    return Math.floor(now);
  }

  /** A commit of a transaction that failed answers ROLLBACK, and no error. */
  async commit(): Promise<void> {
    const { command } = await this.#send(commit, []);
    if (command === "COMMIT") return;
    throw new AikiError("STORAGE_FAILED", `PostgreSQL answered ${command} to COMMIT. Nothing was recorded.`);
  }

  /** Ends what is open and gives the connection back, or drops one that cannot be trusted any more. */
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

  /** Gives the connection back after a commit. */
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
