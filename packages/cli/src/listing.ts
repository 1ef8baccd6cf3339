/** What every command that lists prints: JSON when asked for, a sentence when there is nothing, else a table. */

import { table } from "./table.ts";
import type { Terminal } from "./terminal.ts";

export interface Listing<T> {
  items: readonly T[];
  /** Said instead of a table without rows. */
  nothing: string;
  heading: readonly string[];
  row(item: T): string[];
  /** Paints a line that is aligned already: colours have no width. */
  painted?(line: string, item: T): string;
  /** Said dimly below the table. */
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
