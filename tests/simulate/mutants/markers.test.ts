import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { type Mutant, mutants } from "./list.ts";
import { findMarked, markedIn, mutated } from "./markers.ts";

const root = resolve(import.meta.dirname, "../../..");

it("every mutant changes one marked line of the source, and every marker belongs to a mutant", async () => {
  const marked = await findMarked(root);
  for (const mutant of mutants) expect(() => mutated(mutant, marked)).not.toThrow();
  expect([...new Set(marked.map(({ marker }) => marker))].sort()).toEqual(
    [...new Set(mutants.map(({ marker }) => marker))].sort(),
  );
});

describe("a mutant's marker", () => {
  const mutant: Mutant = { name: "early", marker: "due", from: "now", to: "now + 1", seed: 0 };
  const marked = (...lines: string[]) => markedIn("timer.ts", lines.join("\n"));

  it("a marker at the end of a line marks that line", () => {
    expect(mutated(mutant, marked("a();", "  b(now); // mutant: due"))).toMatchObject({
      line: "  b(now + 1); ",
      at: 1,
    });
  });

  it("a marker on its own line marks the next line", () => {
    expect(mutated(mutant, marked("  // mutant: due", "  if (now) {"))).toMatchObject({
      line: "  if (now + 1) {",
      at: 1,
    });
  });

  it.each([
    ["no line is marked", ["b(now);"], "0 lines are marked"],
    ["two lines are marked", ["b(now); // mutant: due", "c(now); // mutant: due"], "2 lines are marked"],
    ["the marked line lacks the text", ["b(then); // mutant: due"], "contains it 0 times"],
    ["the marked line has the text twice", ["b(now, now); // mutant: due"], "contains it 2 times"],
  ])("a mutant is refused when %s", (_, lines, refusal) => {
    expect(() => mutated(mutant, marked(...lines))).toThrow(refusal);
  });

  it("a mutant that does not change its line is refused", () => {
    expect(() => mutated({ ...mutant, to: "now" }, marked("b(now); // mutant: due"))).toThrow("by itself");
  });
});
