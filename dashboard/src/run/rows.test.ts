import { describe, expect, it } from "vitest";
import { axisOf } from "./axis.ts";
import type { JournalFact } from "./facts.ts";
import { rowsOf } from "./rows.ts";

function fact(name: string, from: number, to: number, more: Partial<JournalFact> = {}): JournalFact {
  const own = { subject: name, name, kind: "step", verb: "completed", tone: "good", detail: "" } as const;
  return { ...own, from, to, isWait: false, attempt: 1, ...more };
}

const always = { from: 0, to: 1_000_000 };
const closed = () => false;

describe("the rows of a timeline", () => {
  it("a loop of several steps is one row until it is opened, and facts before and after it are not", () => {
    const rounds = Array.from({ length: 5 }, (_, round) => [
      fact("poll", 10 * round + 1, 10 * round + 2),
      fact("sleep", 10 * round + 2, 10 * round + 9),
    ]);
    const facts = [fact("begin", 0, 1), ...rounds.flat(), fact("end", 60, 61)];
    expect(rowsOf(facts, closed, -1, always)).toEqual([
      { type: "fact", index: 0 },
      { type: "fold", first: 1, last: 10, names: ["poll", "sleep"], count: 5, isOpen: false },
      { type: "fact", index: 11 },
    ]);
    expect(rowsOf(facts, (first) => first === 1, -1, always)).toHaveLength(13);
    // The fold that contains the selected fact is open.
    expect(rowsOf(facts, closed, 4, always)).toHaveLength(13);
  });

  it("three alike facts, and alike facts with other outcomes, are not folded", () => {
    const facts = ["a", "a", "a"].map((name, at) => fact(name, at, at));
    const mixed = [fact("b", 3, 3), fact("b", 4, 4, { verb: "failed" }), fact("b", 5, 5), fact("b", 6, 6)];
    expect(rowsOf([...facts, ...mixed], closed, -1, always).map(({ type }) => type)).toEqual(Array(7).fill("fact"));
  });

  it("each further attempt begins with a row of its own, and no fold spans two attempts", () => {
    const facts = [1, 1, 1, 2, 2, 2].map((attempt, at) => fact("a", at, at, { attempt }));
    expect(rowsOf(facts, closed, -1, always).map(({ type }) => type)).toEqual([
      ...["fact", "fact", "fact"],
      "attempt",
      ...["fact", "fact", "fact"],
    ]);
  });

  it("facts outside of the zoom are left out, and folds without facts in it", () => {
    const facts = [...Array.from({ length: 8 }, (_, at) => fact("a", at, at + 1)), fact("b", 100, 110)];
    expect(rowsOf(facts, closed, -1, { from: 90, to: 105 })).toEqual([{ type: "fact", index: 8 }]);
  });

  it("ten thousand facts are folded in a moment", () => {
    const facts = Array.from({ length: 10_000 }, (_, at) => fact(`a${at % 7}`, at, at));
    expect(rowsOf(facts, closed, -1, always)).toHaveLength(10_000);
    const loop = Array.from({ length: 10_000 }, (_, at) => fact(`a${at % 5}`, at, at));
    expect(rowsOf(loop, closed, -1, always)).toHaveLength(1);
  });
});

describe("the axis of a timeline", () => {
  const day = 86_400_000;
  const facts = [fact("a", 0, 100), fact("sleep", 100, day, { isWait: true }), fact("b", day, day + 100)];
  const range = { from: 0, to: day + 100 };

  it("positions are proportional to the times, and times outside are at the ends", () => {
    const axis = axisOf(facts, { from: 0, to: 1_000 }, false);
    expect([-5, 0, 250, 1_000, 2_000].map(axis.position)).toEqual([0, 0, 0.25, 1, 1]);
    expect(axis.timeAt(0.5)).toBe(500);
    expect(axis.gaps).toEqual([]);
  });

  it("a day of sleep is shortened to a small part, so that the tasks around it are visible", () => {
    const axis = axisOf(facts, range, true);
    expect(axis.gaps).toMatchObject([{ from: 100, to: day }]);
    expect(axis.position(100)).toBeGreaterThan(0.4);
    expect(axis.position(day) - axis.position(100)).toBeLessThan(0.05);
    for (const at of [0, 50, 100, day / 2, day, day + 100]) {
      expect(axis.timeAt(axis.position(at))).toBeCloseTo(at, 0);
    }
  });

  it("an axis without facts, or with one moment, is not shortened", () => {
    expect(axisOf([], { from: 5, to: 6 }, true).position(6)).toBe(1);
    expect(axisOf([fact("a", 5, 5)], { from: 5, to: 6 }, true).position(5)).toBe(0);
  });
});
