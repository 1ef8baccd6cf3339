import { describe, expect, it } from "vitest";
import { unpainted } from "./paint.ts";
import { type TableCell, table } from "./table.ts";
import { widthOf } from "./text.ts";

const heading = ["ID", "WORKFLOW", "STATUS", "ABOUT"];
const rows: TableCell[][] = [
  ["0190a000-0000", "order@1.0.0", { text: "awaiting_event", style: "cyan" }, "waits for the event approved"],
  ["0190a000-0001", "a-workflow-with-a-long-name@1.0.0", { text: "failed", style: "red" }, ""],
];

describe("table", () => {
  it("a table that fits is not cut, and its columns are aligned", () => {
    expect(table(heading, rows, 100, unpainted)).toEqual([
      "ID             WORKFLOW                           STATUS          ABOUT",
      "0190a000-0000  order@1.0.0                        awaiting_event  waits for the event approved",
      "0190a000-0001  a-workflow-with-a-long-name@1.0.0  failed",
    ]);
  });

  it("the last column is cut first, then left out; then the widest others are cut, then left out", () => {
    expect(table(heading, rows, 80, unpainted)[1]).toBe(
      "0190a000-0000  order@1.0.0                        awaiting_event  waits for the…",
    );
    expect(table(heading, rows, 70, unpainted)[1]).toBe(
      "0190a000-0000  order@1.0.0                        awaiting_event",
    );
    expect(table(heading, rows, 50, unpainted)).toEqual([
      "ID             WORKFLOW             STATUS",
      "0190a000-0000  order@1.0.0          awaiting_event",
      "0190a000-0001  a-workflow-with-a-…  failed",
    ]);
    expect(table(heading, rows, 33, unpainted)[1]).toBe("0190a000-0000  order@1…  awaitin…");
    expect(table(heading, rows, 32, unpainted)[1]).toBe("0190a000-0000  order@1…");
    expect(table(heading, rows, 10, unpainted)[2]).toBe("0190a000-0001  a-workf…");
  });

  it.each([33, 40, 52, 64, 65, 66, 79, 94, 95])("no line is wider than a terminal of %d columns", (width) => {
    const wide: TableCell[][] = [
      ...rows,
      ["1", "注文処理ワークフロー", "👩‍👩‍👧‍👦 family", "説明の長い文章です説明の長い文章です"],
    ];
    for (const line of table(heading, wide, width, unpainted)) expect(widthOf(line)).toBeLessThanOrEqual(width);
  });

  it("colours do not move columns", () => {
    const [, line] = table(heading, rows, 100, (style, text) => `<${style}>${text}</>`);
    expect(line).toContain("  <cyan>awaiting_event</>  waits");
  });
});
