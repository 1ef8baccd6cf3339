/** Formats figures as a table. */

export interface FigureRow {
  figure: string;
  mode: string;
  median: number;
  min: number;
  max: number;
  /** One-row commits per second of the same database, measured before and after. */
  baseline: number;
  /** The figure divided by the baseline. Null for figures that are not compared to it. */
  ratio: number | null;
}

const heads = ["figure", "mode", "median", "min", "max", "one-row commits/s", "ratio"] as const;

export function table(rows: readonly FigureRow[]): string {
  const cells = rows.map(({ figure, mode, median, min, max, baseline, ratio }) => [
    figure,
    mode,
    shown(median),
    shown(min),
    shown(max),
    shown(baseline),
    ratio === null ? "" : ratio.toFixed(2),
  ]);
  const widths = heads.map((head, index) => Math.max(head.length, ...cells.map((row) => row[index]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, index) => (index < 2 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0)))
      .join("  ");
  return `${[heads, ...cells].map(line).join("\n")}\n`;
}

function shown(value: number): string {
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(2);
}
