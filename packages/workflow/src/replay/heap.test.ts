import { expect, it } from "vitest";
import { Heap } from "./heap.ts";

it("a heap returns its items in order of their ranks, for any order of insertion", () => {
  const heap = new Heap<number>((item) => item);
  for (let index = 0; index < 100; index++) heap.push((index * 37) % 100);
  expect(heap.size).toBe(100);
  expect(heap.peek()).toBe(0);
  expect(Array.from({ length: 101 }, () => heap.pop())).toEqual([...Array(100).keys(), undefined]);
});
