import { describe, expect, it } from "vitest";
import { type BatchOptions, batcher } from "./batch.ts";

/** A `send` that the test answers. */
function manualSend() {
  const batches: number[][] = [];
  const answers: Array<{ resolve: (results: string[]) => void; reject: (reason: Error) => void }> = [];
  const send = (items: number[]): Promise<string[]> => {
    batches.push(items);
    return new Promise((resolve, reject) => answers.push({ resolve, reject }));
  };
  const answer = async (index: number, results?: string[]): Promise<void> => {
    answers[index]?.resolve(results ?? (batches[index] ?? []).map((item) => `r${item}`));
    await settled();
  };
  const fail = async (index: number): Promise<void> => {
    answers[index]?.reject(new Error("down"));
    await settled();
  };
  return { batches, send, answer, fail };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

function start(options: Partial<BatchOptions<number, string>> = {}) {
  const { send, ...rest } = manualSend();
  return { add: batcher<number, string>({ send, max: 100, ...options }), ...rest };
}

describe("batcher", () => {
  it("the first item is sent at once, and items that arrive meanwhile are sent together", async () => {
    const { add, batches, answer } = start();
    const first = add(1);
    await settled();
    const others = [add(2), add(3)];
    await settled();
    expect(batches).toEqual([[1]]);
    await answer(0);
    expect(batches).toEqual([[1], [2, 3]]);
    await answer(1);
    expect(await Promise.all([first, ...others])).toEqual(["r1", "r2", "r3"]);
  });

  it("items that are added in one turn are sent together", async () => {
    const { add, batches } = start();
    add(1);
    add(2);
    await settled();
    expect(batches).toEqual([[1, 2]]);
  });

  it("waiting items are shared among the lanes, and the first free lane sends later items", async () => {
    const { add, batches, answer } = start({ lanes: 2 });
    for (let n = 0; n < 50; n++) add(n);
    await settled();
    expect(batches.map((batch) => batch.length)).toEqual([25, 25]);
    for (let n = 0; n < 20; n++) add(n);
    await answer(1);
    expect(batches.map((batch) => batch.length)).toEqual([25, 25, 20]);
    add(0);
    await answer(0);
    expect(batches.map((batch) => batch.length)).toEqual([25, 25, 20, 1]);
  });

  it("a few items do not open a second lane", async () => {
    const { add, batches } = start({ lanes: 2 });
    for (let n = 0; n < 16; n++) add(n);
    await settled();
    expect(batches.map((batch) => batch.length)).toEqual([16]);
  });

  it("a single lane never has two sends in flight, and sends again after it was idle", async () => {
    const { add, batches, answer } = start({ max: 1 });
    add(1);
    add(2);
    await settled();
    expect(batches).toEqual([[1]]);
    await answer(0);
    await answer(1);
    add(3);
    await settled();
    expect(batches).toEqual([[1], [2], [3]]);
  });

  it("a batch is split by weight, and an item that is too heavy is sent alone", async () => {
    const { add, batches, answer } = start({ weigh: (item) => item, maxWeight: 10 });
    for (const item of [4, 6, 1, 50, 2]) add(item);
    await settled();
    for (let index = 0; index < 4; index++) await answer(index);
    expect(batches).toEqual([[4, 6], [1], [50], [2]]);
  });

  it("a failed send rejects its own items only", async () => {
    const { add, fail, answer } = start({ max: 2 });
    const promises = [add(1), add(2), add(3)];
    const outcomes = Promise.allSettled(promises);
    await settled();
    await fail(0);
    await answer(1);
    expect((await outcomes).map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled"]);
  });

  it("a send that throws synchronously counts as one that rejects", async () => {
    const add = batcher<number, string>({
      send: () => {
        throw new Error("down");
      },
      max: 1,
    });
    await expect(add(1)).rejects.toThrow("down");
    await expect(add(2)).rejects.toThrow("down");
  });

  it("a wrong number of results rejects all items of the batch", async () => {
    const { add, answer } = start();
    const outcomes = Promise.allSettled([add(1), add(2)]);
    await settled();
    await answer(0, ["r1"]);
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: "BATCH_MISMATCH" } });
  });

  it("an item that cannot be weighed is rejected, and later items are sent", async () => {
    const weigh = (item: number): number => {
      if (item === 0) throw new Error("weightless");
      return item;
    };
    const { add, batches } = start({ weigh });
    await expect(add(0)).rejects.toThrow("weightless");
    add(1);
    await settled();
    expect(batches).toEqual([[1]]);
  });

  it("each batch is delayed by soon", async () => {
    const pending: Array<() => void> = [];
    const { add, batches, answer } = start({ soon: (then) => pending.push(then) });
    add(1);
    await settled();
    add(2);
    expect(batches).toEqual([]);
    pending.shift()?.();
    expect(batches).toEqual([[1, 2]]);
    add(3);
    await answer(0);
    expect(batches).toHaveLength(1);
    add(4);
    pending.shift()?.();
    expect(batches).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it("each item gets its own result over a thousand batches", async () => {
    const add = batcher<number, number>({ send: async (items) => items, max: 10 });
    const items = Array.from({ length: 10_000 }, (_, index) => index);
    expect(await Promise.all(items.map(add))).toEqual(items);
  });
});
