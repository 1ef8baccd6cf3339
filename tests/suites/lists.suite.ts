/** How every storage lists runs: filters, order and pages. */

import type { FindRequest, RunId } from "@aikirun/lib/protocol";
import { beforeEach, expect, it } from "vitest";
import type { Run, WholeRun } from "../../packages/server/src/core/run.ts";
import type { ListLimits, ListPage, ListPosition } from "../../packages/server/src/storage/find.ts";
import type { Reader, Storage } from "../../packages/server/src/storage/storage.ts";
import { next, queuedRun, returnedEntry, runId, runningState } from "./records.ts";

/** The ids of a list in order, read in pages, and the number of pages. */
export async function walked(
  reader: Reader,
  request: FindRequest,
  { limit, scan }: Omit<ListLimits, "after">,
): Promise<{ ids: RunId[]; pages: number }> {
  const ids: RunId[] = [];
  let after: ListPosition | null = null;
  let pages = 0;
  do {
    const page: ListPage = await reader.find("default", request, { limit, scan, after });
    ids.push(...page.runs.map(({ id }) => id));
    expect(page.runs.length).toBeLessThanOrEqual(limit);
    expect(page.next).not.toEqual(after ?? "no position");
    after = page.next;
    pages += 1;
  } while (after !== null);
  return { ids, pages };
}

const parent = { id: runId(1), address: "child:x#0" };
const failed = (code?: string | number): WholeRun["state"] => ({
  status: "failed",
  error: { name: "E", message: "m", ...(code !== undefined && { code }) },
});

const stored: readonly Run[] = [
  queuedRun(1, { revision: 0, referenceId: "one", options: { tags: ["red", "blue", "red"] } }),
  queuedRun(2, {
    name: "ship",
    shardKey: "eu",
    referenceId: "one",
    options: { tags: ["red"] },
    state: { status: "scheduled", at: 900 },
  }),
  queuedRun(3, { versionId: "2.0.0", parent, state: runningState(), createdAt: 50 }),
  queuedRun(4, { parent, state: { status: "completed", output: "1" }, createdAt: 60 }),
  queuedRun(5, { state: failed("DECLINED"), options: { tags: [] } }),
  queuedRun(6, { namespace: "other", options: { tags: ["red"] }, referenceId: "one" }),
  queuedRun(7, { state: failed(404), createdAt: 1_005 }),
  queuedRun(8, { state: failed(), createdAt: 1_004, options: { tags: ["blue"] } }),
];

/** Runs that lists must find even if an older version of Aiki recorded them. */
export const unlisted: Run[] = [
  queuedRun(1, { options: { tags: ["red", "\ud800"] } }),
  queuedRun(2, { options: { tags: ["red"] }, state: failed("E_1") }),
  queuedRun(3, { state: failed(42) }),
];

/** Runs in indexes that cannot be read in order. */
export const outOfReach: readonly Run[] = [
  queuedRun(1),
  queuedRun(2),
  queuedRun(3, { state: runningState(), referenceId: "one" }),
  queuedRun(4, { state: runningState(), referenceId: "one", namespace: "other" }),
];

/** How many rows are counted. The count includes rows outside the dates, so that it never reads a whole index. */
export const uncounted: Array<[request: FindRequest, count: number]> = [
  [{ status: ["queued"], createdBefore: 0 }, 2],
  [{ status: ["running"], createdBefore: 0 }, 2],
  [{ status: ["queued", "running"], createdBefore: 0 }, 4],
  [{ referenceId: "one", createdBefore: 0 }, 1],
];

export const uncountedLimits: ListLimits = { limit: 9, scan: 100, after: null };

/** The result of `countsOf` if all of `unlisted` exist. */
export const unlistedCounts: ReadonlyArray<readonly [string, number]> = [
  ["red", 2],
  ["\ud800", 1],
  ["E_1", 1],
  ["42", 1],
];

/** How many runs of `unlisted` are listed, by tag and by error code. */
export async function countsOf(storage: Storage): Promise<Array<[text: string, count: number]>> {
  const listLimits = { limit: 9, scan: 100, after: null };
  const count = (request: FindRequest): Promise<number> =>
    storage.read(async (reader) => (await reader.find("default", request, listLimits)).runs.length);
  const tags = ["red", "\ud800"].map(async (tag): Promise<[string, number]> => [tag, await count({ tags: [tag] })]);
  const codes = ["E_1", "42"].map(async (code): Promise<[string, number]> => [code, await count({ errorCode: code })]);
  return Promise.all([...tags, ...codes]);
}

/** The numbers of runs, newest first by `createdAt`, then by id. */
const cases: Array<[FindRequest, number[]]> = [
  [{}, [7, 5, 8, 2, 1, 4, 3]],
  [{ order: "oldest" }, [3, 4, 1, 2, 8, 5, 7]],
  [{ name: "ship" }, [2]],
  [{ name: "order" }, [7, 5, 8, 1, 4, 3]],
  [{ versionId: "2.0.0" }, [3]],
  [{ status: ["queued"] }, [1]],
  [{ status: ["running"] }, [3]],
  [{ status: ["failed", "scheduled"] }, [7, 5, 8, 2]],
  [{ status: ["failed", "scheduled", "stalled"], order: "oldest" }, [2, 8, 5, 7]],
  [{ status: ["scheduled", "running", "queued"] }, [2, 1, 3]],
  [{ status: ["completed", "queued"] }, [1, 4]],
  [{ status: [] }, []],
  [{ status: [], name: "order" }, []],
  [{ referenceId: "one" }, [2, 1]],
  [{ referenceId: "one", name: "order" }, [1]],
  [{ shardKey: "eu" }, [2]],
  [{ idPrefix: runId(4) }, [4]],
  [{ idPrefix: runId(4), name: "ship" }, []],
  [{ idPrefix: runId(6) }, []],
  [{ idPrefix: "0190a000-0000-7000-8000-", status: ["queued", "completed"] }, [1, 4]],
  [{ idPrefix: "0190a" }, [7, 5, 8, 2, 1, 4, 3]],
  [{ idPrefix: "0190a000-0000-7000-8000-0000000000", order: "oldest", createdBefore: 100 }, [3, 4]],
  [{ idPrefix: "0190a1" }, []],
  [{ parentId: runId(1) }, [4, 3]],
  [{ tags: ["red"] }, [2, 1]],
  [{ tags: ["red", "red"], name: "order" }, [1]],
  [{ tags: ["blue", "red"] }, [1]],
  [{ tags: ["red", "green"] }, []],
  [{ tags: ["blue"], status: ["failed"], versionId: "1.0.0" }, [8]],
  [{ tags: [] }, [7, 5, 8, 2, 1, 4, 3]],
  [{ errorCode: "DECLINED" }, [5]],
  [{ errorCode: "404" }, [7]],
  [{ errorCode: "404", status: ["cancelled"] }, []],
  [{ errorCode: "500" }, []],
  [{ createdAfter: 50, createdBefore: 60 }, [3]],
  [{ createdAfter: 1_002, createdBefore: 1_005 }, [8, 2]],
  [{ createdAfter: 1_002, tags: ["red"] }, [2]],
  [{ createdBefore: 1_002, status: ["queued"] }, [1]],
  [{ createdAfter: 51, status: ["running"] }, []],
  [{ createdAfter: 50, status: ["running", "failed"], order: "oldest" }, [3, 8, 5, 7]],
  [{ createdBefore: 1_002, referenceId: "one" }, [1]],
  [{ createdAfter: 51, createdBefore: 61, parentId: runId(1), status: ["completed"] }, [4]],
];

export function lists(storage: () => Storage): void {
  const insert = (...runs: readonly Run[]): Promise<string[]> => storage().transaction((tx) => tx.insert([...runs]));
  const read = <T>(work: (reader: Reader) => Promise<T>): Promise<T> => storage().read(work);
  const find = (request: FindRequest, differing: Partial<ListLimits> = {}): Promise<ListPage> =>
    read((reader) => reader.find("default", request, { limit: 100, scan: 100, after: null, ...differing }));
  const at = (n: number): ListPosition => ({ createdAt: stored[n - 1]?.createdAt ?? 0, id: runId(n) });

  beforeEach(async () => {
    await insert(...stored);
  });

  it.each(cases)("a list with the filter %j contains the matching runs on one page", async (request, expected) => {
    const { runs, next } = await find(request);
    expect(runs.map(({ id }) => id)).toEqual(expected.map(runId));
    expect(next).toBeNull();
  });

  it.each(cases)(
    "a list with the filter %j contains the same runs if a page may examine two rows",
    async (request, expected) => {
      const { ids, pages } = await read((reader) => walked(reader, request, { limit: 9, scan: 2 }));
      expect(ids).toEqual(expected.map(runId));
      expect(pages).toBeLessThanOrEqual(stored.length);
    },
  );

  it.each(cases)(
    "a list with the filter %j contains the same runs with one run on a page",
    async (request, expected) => {
      const { ids, pages } = await read((reader) => walked(reader, request, { limit: 1, scan: 100 }));
      expect(ids).toEqual(expected.map(runId));
      expect(pages).toBe(Math.max(1, expected.length));
    },
  );

  it("a page ends after the maximum of examined rows, even if none of them matches", async () => {
    const request = { versionId: "2.0.0" };
    expect(await find(request, { scan: 3 })).toEqual({ runs: [], next: at(8) });
    expect(await find(request, { scan: 3, after: at(8) })).toEqual({ runs: [], next: at(4) });
    const last = await find(request, { scan: 3, after: at(4) });
    expect([last.runs.map(({ id }) => id), last.next]).toEqual([[runId(3)], null]);
  });

  it("a list contains runs with their tails and without their payloads", async () => {
    const entries = [returnedEntry(runId(4), 1)];
    await storage().transaction((tx) => tx.save({ changes: [], holds: [], entries }));
    const { runs } = await find({ status: ["completed"] }, { limit: 1 });
    const [whole] = await read((reader) => reader.load([runId(4)]));
    expect(whole).toMatchObject({ input: '{"orderId":"o-1"}', state: { output: "1" } });
    expect(runs).toEqual([{ ...whole, input: null, state: { status: "completed" } }]);
    expect(runs[0]?.tail).toBe(1);
  });

  it("a run is listed by its error code from its failure on", async () => {
    expect((await find({ errorCode: "LATE" })).runs).toEqual([]);
    const [run] = stored;
    if (run === undefined) throw new Error("No run was inserted.");
    const changes = [next(run, { state: failed("LATE"), dueAt: null })];
    await storage().transaction((tx) => tx.save({ changes, holds: [], entries: [] }));
    expect((await find({ errorCode: "LATE", status: ["failed"] })).runs.map(({ id }) => id)).toEqual([runId(1)]);
  });

  it("a run with an error code that is too long for a filter is stored", async () => {
    await insert(queuedRun(20, { state: failed("x".repeat(60_000)) }));
    expect((await find({ status: ["failed"] })).runs.map(({ id }) => id)).toEqual([20, 7, 5, 8].map(runId));
  });

  it("pages of a list are stable while runs are inserted", async () => {
    const first = await find({}, { limit: 2 });
    expect([first.runs.map(({ id }) => id), first.next]).toEqual([[runId(7), runId(5)], at(5)]);
    await insert(queuedRun(9), queuedRun(10, { createdAt: 55 }));
    const rest = await find({}, { after: first.next });
    expect(rest.runs.map(({ id }) => id)).toEqual([8, 2, 1, 4, 10, 3].map(runId));
    const onwards = await find({ order: "oldest" }, { after: at(5) });
    expect(onwards.runs.map(({ id }) => id)).toEqual([7, 9].map(runId));
  });
}
