import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { childRunId, derivedRandom, derivedUuid } from "./id.ts";

const parent = "0190A000-1234-7abc-8def-0123456789ab";

describe("childRunId", () => {
  it("a child's run id is always a UUIDv7 with the parent's timestamp", () => {
    fc.assert(
      fc.property(fc.uuid({ version: 7 }), fc.nat(), fc.string({ unit: "binary" }), (id, attempt, address) => {
        const child = childRunId(id, attempt, address);
        expect(child).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        expect(child.slice(0, 13)).toBe(id.slice(0, 13));
      }),
    );
  });

  it("a child's run id depends on the parent, the attempt and the address only", () => {
    const child = childRunId(parent, 1, "child:ship:9f#0");
    expect(childRunId(parent.toLowerCase(), 1, "child:ship:9f#0")).toBe(child);
    const others = [
      childRunId(parent, 2, "child:ship:9f#0"),
      childRunId(parent, 1, "child:ship:9f#1"),
      childRunId("0190a000-1234-7abc-8def-0123456789ac", 1, "child:ship:9f#0"),
    ];
    expect(new Set([child, ...others]).size).toBe(4);
  });

  it("a child's run id is the same in every release, or replays would start children again", () => {
    expect(childRunId(parent, 1, "child:ship:9f#0")).toBe("0190a000-1234-79f3-91a8-fcc3d2cf7a60");
    expect(derivedUuid(parent, "a")).toBe("cc7b823a-18e6-4480-9a4c-8a6d1b6c0277");
    expect(derivedRandom(parent, "a")).toBe(0.3264546994743007);
  });

  it("a parent's id that is not a UUID is refused", () => {
    expect(() => childRunId("run-1", 1, "x")).toThrow(expect.objectContaining({ code: "INVALID_ID" }));
  });
});

describe("derivedUuid", () => {
  it("derived UUIDs differ by counter and by run, and have the layout of version 4", () => {
    const made = [derivedUuid(parent, "a"), derivedUuid(parent, "b"), derivedUuid("another", "a")];
    expect(new Set(made).size).toBe(3);
    for (const id of made) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

describe("derivedRandom", () => {
  it("derived random numbers are in [0, 1) and evenly distributed", () => {
    const numbers = Array.from({ length: 1_000 }, (_, counter) => derivedRandom(parent, String(counter)));
    expect(numbers.every((number) => number >= 0 && number < 1)).toBe(true);
    for (const tenth of Array(10).keys()) {
      const count = numbers.filter((number) => Math.floor(number * 10) === tenth).length;
      expect(count).toBeGreaterThan(60);
      expect(count).toBeLessThan(140);
    }
  });
});
