import type { Cell, Row } from "../row.ts";
import type { ObserveStatement } from "../storage.ts";
import type { Driver, PreparedStatement, SqliteDatabase } from "./driver.ts";
import { rollback } from "./statements.ts";

/** Prepared statements to keep: more than there are constant ones. Lists have a statement for each kind of filter. */
const mostPrepared = 200;

/** One connection that caches prepared statements. */
export class Connection {
  readonly #database: SqliteDatabase;
  readonly #prepared = new Map<string, PreparedStatement>();
  readonly #observe: ObserveStatement | undefined;

  constructor(driver: Driver, path: string, observe?: ObserveStatement) {
    this.#database = new driver(path);
    this.#observe = observe;
  }

  /** Executes a statement and says how many rows it changed. */
  run(sql: string, ...values: Cell[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  first(sql: string, ...values: Cell[]): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  all(sql: string, ...values: Cell[]): Row[] {
    return this.#statement(sql).all(...values);
  }

  /** Reads each row when the caller iterates to it. */
  rows(sql: string, ...values: Cell[]): Iterable<Row> {
    return this.#statement(sql).iterate(...values);
  }

  /** Leaves no transaction open. A full disk and some other faults have rolled back already. */
  rollBack(): void {
    try {
      this.run(rollback);
    } catch {
      // Were a transaction still open, the next BEGIN would fail and say so.
    }
  }

  /** Executes statements that are needed once, such as a migration. */
  script(sql: string): void {
    this.#database.exec(sql);
  }

  /** The value of a pragma. */
  pragma(name: string): Cell {
    const value = Object.values(this.#database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
    return typeof value === "string" || typeof value === "number" ? value : null;
  }

  close(): void {
    this.#prepared.clear();
    this.#database.close();
  }

  #statement(sql: string): PreparedStatement {
    this.#observe?.(sql);
    const known = this.#prepared.get(sql);
    if (known !== undefined) return known;
    const prepared = this.#database.prepare(sql);
    this.#prepared.set(sql, prepared);
    const [oldest] = this.#prepared.keys();
    if (this.#prepared.size > mostPrepared && oldest !== undefined) this.#prepared.delete(oldest);
    return prepared;
  }
}
