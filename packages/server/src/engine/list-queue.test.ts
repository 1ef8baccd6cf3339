import { describe, expect, it } from "vitest";
import { listQueue } from "./list-queue.ts";

/** A list whose read is in progress until the test resolves or rejects it. */
function openList() {
  let resolve: (value: string) => void = () => {};
  let reject: (reason: Error) => void = () => {};
  const promise = new Promise<string>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  let isReading = false;
  const read = () => {
    isReading = true;
    return promise;
  };
  return { read, resolve, reject, isReading: () => isReading };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("lists", () => {
  it("lists are read a limited number at a time, in the order of the requests", async () => {
    const lists = listQueue({ atOnce: 2, waiting: 9 });
    const all = Array.from({ length: 4 }, openList);
    const replies = Promise.allSettled(all.map(({ read }) => lists(read)));
    const reading = async () => {
      await settled();
      return all.map(({ isReading }) => isReading());
    };
    expect(await reading()).toEqual([true, true, false, false]);
    all[1]?.resolve("b");
    expect(await reading()).toEqual([true, true, true, false]);
    all[0]?.reject(new Error("lost"));
    expect(await reading()).toEqual([true, true, true, true]);
    all[2]?.resolve("c");
    all[3]?.resolve("d");
    expect(await replies).toMatchObject([
      { reason: new Error("lost") },
      { value: "b" },
      { value: "c" },
      { value: "d" },
    ]);
  });

  it("lists are refused while too many wait, and accepted afterwards", async () => {
    const lists = listQueue({ atOnce: 1, waiting: 1 });
    const [first, second] = [openList(), openList()];
    const replies = [lists(first.read), lists(second.read)];
    await expect(lists(async () => "third")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    first.resolve("first");
    second.resolve("second");
    expect(await Promise.all(replies)).toEqual(["first", "second"]);
    expect(await lists(async () => "fourth")).toBe("fourth");
  });
});
