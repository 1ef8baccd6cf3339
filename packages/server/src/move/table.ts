/** Copies one table from one storage to another, page by page, and verifies that it is the same in both. */

import { AikiError } from "@aikirun/lib";
import type { Reader, Transaction } from "../storage/storage.ts";
import type { Tally } from "./tally.ts";

/** One of the tables that are moved. */
export interface Table {
  /** Counts the rows, up to about a thousand. */
  glance(reader: Reader, tally: Tally): Promise<void>;
  /** Copies all rows into an empty table. Calls `onPage` after each page. */
  copy(from: Reader, to: Transaction, tally: Tally, onPage: () => Promise<void>): Promise<void>;
  /** Reads and counts all rows of both. Throws `MOVE_DIFFERS` at the first row that differs. */
  verify(from: Reader, to: Reader, tally: Tally, onPage: () => Promise<void>): Promise<void>;
}

/** The operations on the rows of a table. */
export interface Rows<Row> {
  /** A few rows in the order of their keys, bounded so that they fit in memory. */
  page(reader: Reader, after: Row | null): Promise<Row[]>;
  /** Converts a row of the source to the row of the target, which has another fence floor. */
  moved(row: Row, from: Reader): Row;
  /** The name of a row in errors. */
  nameOf(row: Row): string;
  /** Copies the rows of a page with their entries; false if a row or an entry already exists. */
  write(from: Reader, to: Transaction, rows: Row[]): Promise<boolean>;
  /** A checksum of each row with its entries. */
  checksums(reader: Reader, rows: Row[]): Promise<string[]>;
  count(tally: Tally, rows: Row[]): void;
}

const glanceRows = 1_000;

export function table<Row>(rows: Rows<Row>): Table {
  return {
    async glance(reader, tally) {
      let left = glanceRows;
      for await (const page of pages(rows, reader)) {
        rows.count(tally, page);
        left -= page.length;
        if (left <= 0) return;
      }
    },
    async copy(from, to, tally, onPage) {
      for await (const page of movedPages(rows, from)) {
        if (!(await rows.write(from, to, page))) throw differs("Something was written into the target meanwhile.");
        rows.count(tally, page);
        await onPage();
      }
    },
    async verify(from, to, tally, onPage) {
      const copies = pages(rows, to);
      for await (const page of movedPages(rows, from)) {
        const { value: copy = [] } = await copies.next();
        const [expected, found] = [await rows.checksums(from, page), await rows.checksums(to, copy)];
        const at = expected.findIndex((checksum, place) => checksum !== found[place]);
        const row = page[at];
        if (row !== undefined) throw differs(`${rows.nameOf(row)} is not the same in both.`);
        if (copy.length > page.length) throw differs("The target holds more than the source.");
        rows.count(tally, page);
        await onPage();
      }
      if ((await copies.next()).done !== true) throw differs("The target holds more than the source.");
    },
  };
}

async function* pages<Row>(rows: Rows<Row>, reader: Reader): AsyncGenerator<Row[], undefined> {
  let after: Row | null = null;
  for (;;) {
    const page: Row[] = await rows.page(reader, after);
    after = page.at(-1) ?? null;
    if (after === null) return;
    yield page;
  }
}

async function* movedPages<Row>(rows: Rows<Row>, from: Reader): AsyncGenerator<Row[], undefined> {
  for await (const page of pages(rows, from)) yield page.map((row) => rows.moved(row, from));
}

function differs(what: string): AikiError {
  return new AikiError(
    "MOVE_DIFFERS",
    `${what} Somebody wrote into one of the databases. Stop every server of both, then move again: nothing was moved.`,
  );
}
