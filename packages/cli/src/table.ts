import type { Paint, Style } from "./paint.ts";
import { cut, padded, widthOf } from "./text.ts";

/** A cell of a table: a text, or a text with a style. */
export type TableCell = string | { text: string; style: Style };

const gap = 2;
/** A column is not cut to fewer characters, and the last one is left out instead. */
const least = 8;

/**
 * Aligned columns under a heading, in lines of at most `width` characters. The first column is never cut. If the rows
 * are too wide, the last column gets what is left, or is left out. Then the widest of the other columns are cut. Then
 * further columns are left out, except the first two.
 */
export function table(
  heading: readonly string[],
  rows: readonly (readonly TableCell[])[],
  width: number,
  paint: Paint,
): string[] {
  const all = [heading.map((text): TableCell => ({ text, style: "dim" })), ...rows];
  const widths = fittedWidths(
    heading.map((_, column) => Math.max(...all.map((row) => widthOf(textOf(row[column]))))),
    width,
  );
  return all.map((row) =>
    widths
      .map((columnWidth, column) => cellOf(row[column], columnWidth, column === widths.length - 1, paint))
      .join(" ".repeat(gap))
      .trimEnd(),
  );
}

/** The widths of the columns that are shown. */
function fittedWidths(natural: readonly number[], width: number): number[] {
  const widths = [...natural];
  const excess = () => widths.reduce((sum, one) => sum + one, gap * (widths.length - 1)) - width;
  const last = widths.pop() ?? 0;
  const room = -excess() - gap;
  if (last <= room || room >= least) return [...widths, Math.min(last, room)];
  while (excess() > 0) {
    const widest = Math.max(...widths.slice(1));
    if (widest <= least) break;
    widths[widths.lastIndexOf(widest)] = Math.max(least, widest - excess());
  }
  while (excess() > 0 && widths.length > 2) widths.pop();
  return widths;
}

function cellOf(cell: TableCell | undefined, width: number, isLast: boolean, paint: Paint): string {
  const text = cut(textOf(cell), width);
  const aligned = isLast ? text : padded(text, width);
  return typeof cell === "object" ? aligned.replace(text, () => paint(cell.style, text)) : aligned;
}

function textOf(cell: TableCell = ""): string {
  return typeof cell === "string" ? cell : cell.text;
}
