/** The output of every command that lists items: JSON if requested, a sentence if there are no items, else a table. */

import { table } from "./table.ts";
import type { Terminal } from "./terminal.ts";

export interface Listing<T> {
  items: readonly T[];
  /** Printed instead of a table without rows. */
  nothing: string;
  heading: readonly string[];
  row(item: T): string[];
  /** Adds colours to an aligned line. */
  painted?(line: string, item: T): string;
  /** Printed dimly below the table. */
  footnote?: string | undefined;
}

export function printListing<T>(listing: Listing<T>, json: boolean | undefined, terminal: Terminal): void {
  const { items, nothing, heading, row, painted = (line: string) => line, footnote } = listing;
  if (json === true) {
    terminal.out(JSON.stringify(items));
    return;
  }
  if (items.length === 0) {
    terminal.out(nothing);
    return;
  }
  const [head = "", ...lines] = table(heading, items.map(row), terminal.width);
  terminal.out(terminal.paint("dim", head));
  for (const [index, item] of items.entries()) terminal.out(painted(lines[index] ?? "", item));
  if (footnote !== undefined) terminal.out(terminal.paint("dim", footnote));
}
