import { describe, expect, it } from "vitest";
import { aRun, queued } from "../../test/runs.ts";
import { uuid } from "../../test/virtual-env.ts";
import { cachedRows } from "./rows.ts";

function row(n: number, bytes = 0) {
  return aRun(queued, { id: uuid(n), input: "x".repeat(bytes) });
}

describe("cached rows", () => {
  it("are bounded: the one that changed longest ago goes first", () => {
    const rows = cachedRows(2);
    for (const n of [1, 2, 1, 3]) {
      rows.set(row(n));
    }
    expect([1, 2, 3].map((n) => rows.get(uuid(n)) !== undefined)).toEqual([true, false, true]);
  });

  it("hold no large payloads, and no old row in the place of one that grew", () => {
    const rows = cachedRows(2);
    rows.set(row(1));
    rows.set(row(1, 100_000));
    expect(rows.get(uuid(1))).toBeUndefined();
    rows.set({ ...row(2), state: { status: "completed", output: "x".repeat(100_000) } });
    expect(rows.get(uuid(2))).toBeUndefined();
  });

  it("take the place of several where they hold many open waits", () => {
    const waits = Array.from({ length: 250 }, (_, n) => ({ address: `sleep:#${n}`, type: "sleep", until: n }) as const);
    const rows = cachedRows(4);
    const cached = () => [1, 2, 3, 4].map((n) => rows.get(uuid(n)) !== undefined);
    rows.set({ ...row(1), waits });
    rows.set(row(2));
    expect(cached()).toEqual([true, true, false, false]);
    rows.set(row(3));
    expect(cached()).toEqual([false, true, true, false]);
    rows.set({ ...row(2), waits });
    rows.set(row(2));
    rows.set(row(4));
    rows.forget(uuid(3));
    rows.set(row(1));
    expect(cached()).toEqual([true, true, false, true]);
  });

  it("never go back to an earlier state", () => {
    const rows = cachedRows(2);
    rows.set({ ...row(1), revision: 3, tail: 2 });
    rows.set({ ...row(1), revision: 2, tail: 9 });
    rows.set({ ...row(1), revision: 3, tail: 1 });
    expect(rows.get(uuid(1))).toMatchObject({ revision: 3, tail: 2 });
    rows.set({ ...row(1), revision: 3, tail: 4 });
    expect(rows.get(uuid(1))?.tail).toBe(4);
  });

  it("are gone when they are forgotten", () => {
    const rows = cachedRows(2);
    rows.set(row(1));
    rows.forget(uuid(1));
    expect(rows.get(uuid(1))).toBeUndefined();
  });
});
