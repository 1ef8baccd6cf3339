/** The output of every command that lists items: JSON if requested, a sentence if there are no items, else a table. */

import { type TableCell, table } from "./table.ts";
import type { Terminal } from "./terminal.ts";

export interface Listing<T> {
  items: readonly T[];
  /** Printed instead of a table without rows. */
  nothing: string;
  heading: readonly string[];
  row(item: T): TableCell[];
  /** Printed dimly below the table. */
  footnote?: string | undefined;
}

export function printListing<T>(listing: Listing<T>, json: boolean | undefined, terminal: Terminal): void {
  if (json === true) terminal.out(JSON.stringify(listing.items));
  else for (const line of tableLines(listing, terminal)) terminal.out(line);
}

/** The lines of the table, or the sentence that there are no items. */
export function tableLines<T>(listing: Listing<T>, { paint, width }: Pick<Terminal, "paint" | "width">): string[] {
  const { items, nothing, heading, row, footnote } = listing;
  if (items.length === 0) return [nothing];
  const lines = table(heading, items.map(row), width, paint);
  return footnote === undefined ? lines : [...lines, paint("dim", footnote)];
}
