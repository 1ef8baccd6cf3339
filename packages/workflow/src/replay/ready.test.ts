import { describe, expect, it } from "vitest";
import { randomFrom } from "../../test/program.ts";
import { Ready } from "./ready.ts";

describe("what is ready", () => {
  it("comes out by seq, whatever the order in which it went in", () => {
    const random = randomFrom(7);
    for (let size = 0; size <= 200; size++) {
      const ready = new Ready<{ seq: number }>();
      const seqs = Array.from({ length: size }, () => Math.floor(random() * 100));
      for (const seq of seqs) ready.push({ seq });
      const popped = Array.from({ length: size }, () => ready.pop()?.seq);
      expect(popped).toEqual(seqs.sort((a, b) => a - b));
      expect(ready.pop()).toBeUndefined();
      expect(ready.size).toBe(0);
    }
  });
});
