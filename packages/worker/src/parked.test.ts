import { describe, expect, it } from "vitest";
import { parked } from "./parked.ts";

const code = {};

function item(runId: string, size = 1, fence = 1) {
  const abandoned: string[] = [];
  return {
    runId,
    fence,
    definition: code,
    execution: { size, abandon: (why: string) => abandoned.push(why) },
    abandoned,
  };
}

describe("executions that stay in memory", () => {
  it("go on only under the next fence and with the same code", () => {
    const memory = parked<ReturnType<typeof item>>();
    const [right, stale, changed] = [item("a"), item("b"), item("c")];
    for (const one of [right, stale, changed]) memory.put(one);
    expect(memory.take("a", 2, code)).toBe(right);
    expect(memory.take("b", 3, code)).toBeNull();
    expect(memory.take("c", 2, {})).toBeNull();
    expect(memory.take("a", 2, code)).toBeNull();
    expect([right, stale, changed].map(({ abandoned }) => abandoned)).toEqual([[], ["EVICTED"], ["EVICTED"]]);
  });

  it("leave in the order they came when there are too many", () => {
    const memory = parked<ReturnType<typeof item>>({ executions: 2, entries: 100 });
    const items = ["a", "b", "c"].map((id) => item(id));
    for (const one of items) memory.put(one);
    expect(items.map(({ abandoned }) => abandoned.length)).toEqual([1, 0, 0]);
    expect(memory.peek("b", 1)).toBe(items[1]);
    expect(memory.peek("b", 2)).toBeNull();
  });

  it("leave when they hold too many entries together, as they were when they parked", () => {
    const memory = parked<ReturnType<typeof item>>({ executions: 10, entries: 10 });
    const growing = item("a", 4);
    memory.put(growing);
    growing.execution.size = 1_000;
    const other = item("b", 6);
    memory.put(other);
    expect([growing, other].map(({ abandoned }) => abandoned.length)).toEqual([0, 0]);
    const third = item("c", 5);
    memory.put(third);
    expect([growing, other, third].map(({ abandoned }) => abandoned.length)).toEqual([1, 1, 0]);
  });

  it("are all given up at the end", () => {
    const memory = parked<ReturnType<typeof item>>();
    const items = ["a", "b"].map((id) => item(id));
    for (const one of items) memory.put(one);
    memory.clear();
    expect(items.map(({ abandoned }) => abandoned)).toEqual([["EVICTED"], ["EVICTED"]]);
  });
});
