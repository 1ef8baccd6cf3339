import { describe, expect, it } from "vitest";
import { cacheLimits, ExecutionCache } from "./execution-cache.ts";

const code = {};

const ample = { executions: 1_000, bytes: 1_000 };

function item(runId: string, size = 1, fence = 1) {
  const abandoned: string[] = [];
  return {
    runId,
    fence,
    definition: code,
    size,
    abandon: (why: string) => void abandoned.push(why),
    abandoned,
  };
}

describe("cached executions", () => {
  it("a cached execution is resumed only under the next fence and with the same code", () => {
    const cache = new ExecutionCache<ReturnType<typeof item>>(ample);
    const [right, stale, changed] = [item("a"), item("b"), item("c")];
    for (const one of [right, stale, changed]) cache.put(one);
    expect(cache.take("a", 2, code)).toBe(right);
    expect(cache.take("b", 3, code)).toBeNull();
    expect(cache.take("c", 2, {})).toBeNull();
    expect(cache.take("a", 2, code)).toBeNull();
    expect([right, stale, changed].map(({ abandoned }) => abandoned)).toEqual([[], ["EVICTED"], ["EVICTED"]]);
  });

  /** For each item, whether the cache has it. */
  const kept = (cache: ExecutionCache<ReturnType<typeof item>>, items: Array<ReturnType<typeof item>>): boolean[] =>
    items.map((one) => cache.peek(one.runId, one.fence) === one);

  it("too many cached executions are evicted, the oldest first, and not abandoned", () => {
    const cache = new ExecutionCache<ReturnType<typeof item>>({ executions: 2, bytes: 100 });
    const items = ["a", "b", "c"].map((id) => item(id));
    for (const one of items) cache.put(one);
    expect(kept(cache, items)).toEqual([false, true, true]);
    expect(items.map(({ abandoned }) => abandoned)).toEqual([[], [], []]);
    expect(cache.peek("b", 2)).toBeNull();
  });

  it("cached executions are evicted if their total size at suspension is too large", () => {
    const cache = new ExecutionCache<ReturnType<typeof item>>({ executions: 10, bytes: 10 });
    const growing = item("a", 4);
    cache.put(growing);
    growing.size = 1_000;
    const other = item("b", 6);
    cache.put(other);
    expect(kept(cache, [growing, other])).toEqual([true, true]);
    const third = item("c", 5);
    cache.put(third);
    expect(kept(cache, [growing, other, third])).toEqual([false, false, true]);
  });

  it("an execution that exceeds the total limit is not cached, and evicts no others", () => {
    const cache = new ExecutionCache<ReturnType<typeof item>>({ executions: 10, bytes: 10 });
    const items = [item("a", 0), item("b", 10), item("c", 11)];
    for (const one of items) cache.put(one);
    expect(kept(cache, items)).toEqual([true, true, false]);
    expect(cache.take("c", 2, code)).toBeNull();
  });

  it("the cache may use an eighth of the heap, which the workers of a process share", () => {
    let workers = 1;
    const limits = cacheLimits(800_000_000, () => workers);
    const cache = new ExecutionCache<ReturnType<typeof item>>(limits);
    const items = ["a", "b"].map((id) => item(id, 50_000_000));
    for (const one of items) cache.put(one);
    workers = 2;
    const third = item("c", 50_000_000);
    cache.put(third);
    expect(kept(cache, [...items, third])).toEqual([false, false, true]);
    expect(limits.executions).toBe(1_000);
  });

  it("an execution whose run is being claimed is kept without limits, unless a later one is cached", () => {
    const cache = new ExecutionCache<ReturnType<typeof item>>({ executions: 1, bytes: 10 });
    const [large, other] = [item("a", 11), item("b")];
    cache.put(large);
    expect(cache.reserve(large)).toBe(true);
    cache.put(other);
    expect(kept(cache, [large, other])).toEqual([true, true]);
    expect(cache.take("a", 2, code)).toBe(large);
    cache.put(item("a", 1, 3));
    expect(cache.reserve(large)).toBe(false);
    expect(cache.peek("a", 3)).not.toBeNull();
  });

  it("clear abandons all cached executions", () => {
    const cache = new ExecutionCache<ReturnType<typeof item>>(ample);
    const items = ["a", "b"].map((id) => item(id));
    for (const one of items) cache.put(one);
    cache.clear();
    expect(items.map(({ abandoned }) => abandoned)).toEqual([["EVICTED"], ["EVICTED"]]);
  });
});
