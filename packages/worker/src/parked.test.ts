import { describe, expect, it } from "vitest";
import { type Parked, parked, parkedLimits } from "./parked.ts";

const code = {};

const ample = { executions: 1_000, bytes: 1_000 };

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
    const memory = parked<ReturnType<typeof item>>(ample);
    const [right, stale, changed] = [item("a"), item("b"), item("c")];
    for (const one of [right, stale, changed]) memory.put(one);
    expect(memory.take("a", 2, code)).toBe(right);
    expect(memory.take("b", 3, code)).toBeNull();
    expect(memory.take("c", 2, {})).toBeNull();
    expect(memory.take("a", 2, code)).toBeNull();
    expect([right, stale, changed].map(({ abandoned }) => abandoned)).toEqual([[], ["EVICTED"], ["EVICTED"]]);
  });

  /** Which of them are kept. */
  const kept = (memory: Parked<ReturnType<typeof item>>, items: Array<ReturnType<typeof item>>): boolean[] =>
    items.map((one) => memory.peek(one.runId, one.fence) === one);

  it("are let go in the order they came when there are too many, and not given up", () => {
    const memory = parked<ReturnType<typeof item>>({ executions: 2, bytes: 100 });
    const items = ["a", "b", "c"].map((id) => item(id));
    for (const one of items) memory.put(one);
    expect(kept(memory, items)).toEqual([false, true, true]);
    expect(items.map(({ abandoned }) => abandoned)).toEqual([[], [], []]);
    expect(memory.peek("b", 2)).toBeNull();
  });

  it("are let go when they hold too many bytes together, as they were when they parked", () => {
    const memory = parked<ReturnType<typeof item>>({ executions: 10, bytes: 10 });
    const growing = item("a", 4);
    memory.put(growing);
    growing.execution.size = 1_000;
    const other = item("b", 6);
    memory.put(other);
    expect(kept(memory, [growing, other])).toEqual([true, true]);
    const third = item("c", 5);
    memory.put(third);
    expect(kept(memory, [growing, other, third])).toEqual([false, false, true]);
  });

  it("do not stay, and send no other away, when one alone holds more than all may", () => {
    const memory = parked<ReturnType<typeof item>>({ executions: 10, bytes: 10 });
    const items = [item("a", 0), item("b", 10), item("c", 11)];
    for (const one of items) memory.put(one);
    expect(kept(memory, items)).toEqual([true, true, false]);
    expect(memory.take("c", 2, code)).toBeNull();
  });

  it("may hold an eighth of the heap, which the workers of a process share", () => {
    let workers = 1;
    const limits = parkedLimits(800_000_000, () => workers);
    const memory = parked<ReturnType<typeof item>>(limits);
    const items = ["a", "b"].map((id) => item(id, 50_000_000));
    for (const one of items) memory.put(one);
    workers = 2;
    const third = item("c", 50_000_000);
    memory.put(third);
    expect(kept(memory, [...items, third])).toEqual([false, false, true]);
    expect(limits.executions).toBe(1_000);
  });

  it("stay whatever room there is while their run is claimed for them, unless a later one is there", () => {
    const memory = parked<ReturnType<typeof item>>({ executions: 1, bytes: 10 });
    const [large, other] = [item("a", 11), item("b")];
    memory.put(large);
    expect(memory.want(large)).toBe(true);
    memory.put(other);
    expect(kept(memory, [large, other])).toEqual([true, true]);
    expect(memory.take("a", 2, code)).toBe(large);
    memory.put(item("a", 1, 3));
    expect(memory.want(large)).toBe(false);
    expect(memory.peek("a", 3)).not.toBeNull();
  });

  it("are all given up at the end", () => {
    const memory = parked<ReturnType<typeof item>>(ample);
    const items = ["a", "b"].map((id) => item(id));
    for (const one of items) memory.put(one);
    memory.clear();
    expect(items.map(({ abandoned }) => abandoned)).toEqual([["EVICTED"], ["EVICTED"]]);
  });
});
