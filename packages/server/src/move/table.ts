/** How one table is moved from one storage to another, page by page, and how it is shown to be the same in both. */

import { AikiError } from "@aikirun/lib";
import type { Reader, Transaction } from "../storage/storage.ts";
import type { Tally } from "./tally.ts";

/** One of the tables that are moved. */
export interface Table {
  /** Counts what there is, up to about a thousand rows. */
  glance(reader: Reader, tally: Tally): Promise<void>;
  /** Writes all of it into an empty table. `onPage` hears of each page, what was counted so far included. */
  copy(from: Reader, to: Transaction, tally: Tally, onPage: () => Promise<void>): Promise<void>;
  /** Reads all of both, and counts it. Throws `MOVE_DIFFERS` at the first that is not the same in both. */
  verify(from: Reader, to: Reader, tally: Tally, onPage: () => Promise<void>): Promise<void>;
}

/** What has to be known of a table's rows. */
export interface Rows<Row> {
  /** In the order of their keys, a few: as many as memory always has room for. */
  page(reader: Reader, after: Row | null): Promise<Row[]>;
  /** A row of the source as it is to be in the target, which does not know what the source knows of all rows. */
  moved(row: Row, from: Reader): Row;
  /** What people know one by. */
  nameOf(row: Row): string;
  /** Copies the rows of a page, and what belongs to them; false when something was in the way. */
  write(from: Reader, to: Transaction, rows: Row[]): Promise<boolean>;
  /** One of each row, which differs when anything that is stored of it does. */
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
