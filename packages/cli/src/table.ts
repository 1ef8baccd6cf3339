import { cut } from "./text.ts";

/** Aligned columns under a heading; the last column is cut to the rest of `width`, or to 20 characters. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[], width: number): string[] {
  const last = heading.length - 1;
  const widths = heading.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const taken = widths.slice(0, last).reduce((sum, columnWidth) => sum + columnWidth + 2, 0);
  return [heading, ...rows].map((row) =>
    row
      .map((cell, column) =>
        column === last ? cut(cell, Math.max(20, width - taken)) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
}
