import { uuid } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { aRun, queued } from "../../test/runs.ts";
import { isUnread } from "../core/unread.ts";
import { cachedRows, rowsBytes } from "./rows.ts";

function row(n: number, bytes = 0) {
  return aRun(queued, { id: uuid(n), input: "x".repeat(bytes) });
}

/** Bytes for twenty small rows. */
const capacity = 30_000;

describe("cached rows", () => {
  it("cached rows are bounded in bytes: the row that changed longest ago is removed first", () => {
    const rows = cachedRows(capacity);
    for (let n = 1; n <= 20; n++) {
      rows.set(row(n), 0);
    }
    rows.set(row(1), 0);
    rows.set(row(21), 0);
    expect([1, 2, 3, 21].map((n) => rows.get(uuid(n)) !== undefined)).toEqual([true, false, true, true]);
  });

  it("cached rows take a share of the heap, and at least 1 MB", () => {
    expect(rowsBytes(4_000_000_000)).toBe(200_000_000);
    expect(rowsBytes(1_000_000)).toBe(1_000_000);
  });

  it("cached rows hold no large payloads", () => {
    const rows = cachedRows(capacity);
    rows.set(row(1, 100_000), 0);
    expect(rows.get(uuid(1))?.input).toEqual({ bytes: 100_000 });
    rows.set({ ...row(2), state: { status: "completed", output: "x".repeat(100_000) } }, 0);
    expect(rows.get(uuid(2))?.state).toEqual({ status: "completed", output: { bytes: 100_000 } });
    rows.set(row(3, 1_000), 0);
    expect(isUnread(rows.get(uuid(3))?.input)).toBe(false);
  });

  it("a cached row with many waits replaces several others, and one that is too large is not cached", () => {
    const waits = Array.from(
      { length: 5 },
      (_, n) => ({ address: `sleep:#${n}`, type: "sleep", openedAt: 0, until: n }) as const,
    );
    const rows = cachedRows(capacity);
    const isCached = (n: number) => rows.get(uuid(n)) !== undefined;
    rows.set({ ...row(1), waits }, 0);
    for (let n = 2; n <= 19; n++) {
      rows.set(row(n), 0);
    }
    expect(isCached(1)).toBe(true);
    rows.set(row(20), 0);
    expect([1, 2].map(isCached)).toEqual([false, true]);
    rows.forget(uuid(3));
    rows.set({ ...row(4), waits }, 0);
    expect([2, 4].map(isCached)).toEqual([true, true]);
    rows.set({ ...row(5), waits: Array.from({ length: 20 }, () => waits).flat() }, 0);
    expect([4, 5].map(isCached)).toEqual([true, false]);
  });

  it("cached rows never return to an earlier revision", () => {
    const rows = cachedRows(capacity);
    rows.set({ ...row(1), revision: 3, tail: 2 }, 0);
    rows.set({ ...row(1), revision: 2, tail: 9 }, 0);
    rows.set({ ...row(1), revision: 3, tail: 1 }, 0);
    expect(rows.get(uuid(1))).toMatchObject({ revision: 3, tail: 2 });
    rows.set({ ...row(1), revision: 3, tail: 4 }, 0);
    expect(rows.get(uuid(1))?.tail).toBe(4);
  });

  it("a forgotten row is no longer cached", () => {
    const rows = cachedRows(capacity);
    rows.set(row(1), 0);
    rows.forget(uuid(1));
    expect(rows.get(uuid(1))).toBeUndefined();
  });

  it("when the fence floor rises, rows read below it are neither returned nor cached", () => {
    const rows = cachedRows(capacity);
    rows.set(row(1), 0);
    rows.rise(5);
    rows.set(row(2), 0);
    rows.set(row(3), 5);
    expect([1, 2, 3].map((n) => rows.get(uuid(n)) !== undefined)).toEqual([false, false, true]);
    expect([rows.get(uuid(3), 0), rows.get(uuid(3), 5)?.id]).toEqual([undefined, uuid(3)]);
  });
});
