/** The requirements of every storage. Memory is the specification. */

import type { Entry, Value } from "@aikirun/lib/protocol";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Run } from "../../packages/server/src/core/run.ts";
import type { ListLimits } from "../../packages/server/src/storage/find.ts";
import { fitting } from "../../packages/server/src/storage/heavy.ts";
import type { Batch, Obstacle, Reader, Storage, Transaction } from "../../packages/server/src/storage/storage.ts";
import { callSitesSuite } from "./call-sites.suite.ts";
import { lists } from "./lists.suite.ts";
import { order as orders, queues } from "./queues.suite.ts";
import { entryWith, next, queuedRun, returnedEntry, runId, runningState, type StoredState } from "./records.ts";
import { relations } from "./relations.suite.ts";
import { stats } from "./stats.suite.ts";
import { workers } from "./workers.suite.ts";

export interface Opened {
  storage: Storage;
  /** Closes the storage and removes its data. */
  end(): Promise<void>;
}

/** Names that break code that treats them as keys, SQL, C strings, UTF-8 or left-to-right text. */
const strangeNames = [
  "constructor",
  "__proto__",
  "",
  "nul\0inside",
  "\0",
  "\ud800",
  "low\udc00high",
  "\u0001mark",
  '\u0001"mark"',
  "שלום ‮abc",
  "'; DROP TABLE run; --",
  "%_*?",
  "😀",
  "a:b#c/d",
  "line\nbreak",
];

const listLimits = { limit: 99, scan: 100, after: null };

const payloads = [
  "1e21",
  '{"a":1,"a":2}',
  '"\\u0000"',
  '"\\ud800"',
  " { } ",
  "-0",
  '{"__proto__":1}',
  "9007199254740993",
];

export function storageSuite(name: string, open: (env: { now(): number }) => Promise<Opened>): void {
  describe(`storage in ${name}`, () => {
    let opened: Opened;
    let storage: Storage;

    beforeEach(async () => {
      opened = await open({ now: () => 10_000 });
      storage = opened.storage;
    });
    afterEach(async () => opened.end());

    const insert = (...runs: Run[]): Promise<string[]> => storage.transaction((tx) => tx.insert(runs));
    const save = (batch: Partial<Batch>): Promise<Obstacle[]> =>
      storage.transaction((tx) => tx.save({ changes: [], holds: [], entries: [], ...batch }));
    const load = async (...ids: string[]): Promise<Run[]> => sorted(await storage.read((reader) => reader.load(ids)));
    const write = <T>(work: (tx: Transaction) => Promise<T>): Promise<T> => storage.transaction(work);
    const read = <T>(work: (reader: Reader) => Promise<T>): Promise<T> => storage.read(work);
    const journal = async (id: string): Promise<Entry[]> =>
      (await read((reader) => reader.journal([{ runId: id, after: 0, limit: 100_000, bytes: 1e9 }])))[0] ?? [];

    describe("insert", () => {
      it("a run is loaded as it was inserted", async () => {
        const run = queuedRun(1, {
          shardKey: "eu",
          priority: -7,
          options: { tags: ["a", "b"], retry: { type: "fixed", maxAttempts: 3, delayMs: 5 }, origin: runId(9) },
          referenceId: "o-1",
          parent: { id: runId(7), address: "child:ship:1#0" },
          timeoutAt: 77,
          dueAt: null,
          waits: [{ address: "sleep::#0", type: "sleep", openedAt: 0, until: 99 }],
          events: new Map([["approved", { arrived: 3, taken: 1 }]]),
          reported: { fence: 2, reportId: "r" },
          lastError: { name: "Error", message: "boom", cause: { name: "Inner", message: "x" } },
          inbox: 4,
          crashes: 1,
          lostLeases: 2,
          children: 3,
        });
        expect(await insert(run)).toEqual([run.id]);
        expect(await load(run.id)).toEqual([run]);
      });

      it.each(everyState())("the state $status is stored exactly", async (state) => {
        const run = queuedRun(1, { state });
        await insert(run);
        expect((await load(run.id))[0]?.state).toEqual(state);
      });

      it("an input or output of null differs from no input or output", async () => {
        await insert(queuedRun(1, { input: null, state: { status: "completed" } }));
        await insert(queuedRun(2, { input: "null", state: { status: "completed", output: "null" } }));
        const [without, withNull] = await load(runId(1), runId(2));
        expect([without?.input, without?.state]).toEqual([null, { status: "completed" }]);
        expect([withNull?.input, withNull?.state]).toEqual(["null", { status: "completed", output: "null" }]);
      });

      it("large payloads are not loaded with a row, but only on request", async () => {
        const [small, large] = [JSON.stringify("é".repeat(8_000)), JSON.stringify("é".repeat(8_200))];
        const ended = (n: number, text: string) =>
          queuedRun(n, { input: text, state: { status: "completed", output: text }, referenceId: `r-${n}` });
        await insert(ended(1, small), ended(2, large), queuedRun(3, { input: large, dueAt: 5 }));
        await insert(queuedRun(4, { input: null }));
        const unread = { bytes: Buffer.byteLength(large) };
        const [first, second] = await load(runId(1), runId(2));
        expect([first?.input, first?.state]).toEqual([small, { status: "completed", output: small }]);
        expect([second?.input, second?.state]).toEqual([unread, { status: "completed", output: unread }]);
        const key = { namespace: "default", name: "order", referenceId: "r-2" };
        expect((await read((reader) => reader.referenced([key])))[0]?.input).toEqual(unread);
        expect((await write((tx) => tx.hold([runId(3)])))[0]?.input).toEqual(unread);
        const payloads = await read((reader) => reader.payloads([runId(2), runId(3), runId(4), runId(5)]));
        expect([...payloads].sort(([left], [right]) => (left < right ? -1 : 1))).toEqual([
          [runId(2), { input: large, output: large }],
          [runId(3), { input: large, output: null }],
          [runId(4), { input: null, output: null }],
        ]);
        const all = await read((reader) => reader.all(null, 10));
        expect(all.map(({ input }) => input)).toEqual([small, large, large, null]);
      });

      it("a load of many rows with many waits returns the first ones and the ids of the others", async () => {
        const waits = Array.from(
          { length: 10_000 },
          (_, n) => ({ address: `${n}`.padEnd(250), type: "sleep", openedAt: n, until: n }) as const,
        );
        const parent = { id: runId(50), address: "child:x#0" };
        const stalled: StoredState = { status: "stalled", reason: "crash_loop", crashes: 9 };
        const heavy = (n: number) =>
          queuedRun(n, { waits, referenceId: `r-${n}`, state: stalled, parent: { ...parent, id: runId(50 + n) } });
        const light = [1, 9].map((n) => queuedRun(n));
        const all = [light[0], ...[2, 3, 4, 5, 6].map(heavy), light[1]].filter((run) => run !== undefined);
        for (const run of all) await insert(run);
        const ids = all.map(({ id }) => id);
        const keys = ids.map((_, n) => ({ namespace: "default", name: "order", referenceId: `r-${n + 1}` }));
        const heavyIds = ids.slice(1, -1);
        const readers = [
          { reading: () => read((reader) => reader.load(ids)), loaded: [...ids.slice(0, 3), runId(9)] },
          { reading: () => write((tx) => tx.hold(ids)), loaded: [...ids.slice(0, 3), runId(9)] },
          { reading: () => read((reader) => reader.referenced(keys)), loaded: heavyIds.slice(0, 2) },
          {
            reading: () => read((reader) => reader.stalledChildren(heavyIds.map((_, n) => runId(52 + n)))),
            loaded: heavyIds.slice(0, 2),
          },
        ];
        for (const { reading, loaded } of readers) {
          const found = await fitting(reading());
          expect(found.runs.map(({ id }) => id)).toEqual(loaded);
          expect(found.left).toEqual(heavyIds.slice(2));
          expect(found.runs.filter(({ waits: { length } }) => length === 10_000)).toHaveLength(2);
        }
        expect(await load(runId(6))).toEqual([heavy(6)]);
        const pages: string[][] = [];
        for (let after: ListLimits["after"] = null, isLast = false; !isLast; isLast = after === null) {
          const page = await read((reader) =>
            reader.find("default", { order: "oldest" }, { ...listLimits, limit: 4, after }),
          );
          pages.push(page.runs.map(({ id }) => id));
          after = page.next;
        }
        expect(pages).toEqual([ids.slice(0, 3), ids.slice(3, 5), ids.slice(5)]);
      });

      it("a changed row that was loaded without its large input keeps the input", async () => {
        const large = JSON.stringify("x".repeat(20_000));
        await insert(queuedRun(1, { input: large }));
        const [row] = await load(runId(1));
        if (row === undefined) throw new Error("The run does not exist.");
        expect(await save({ changes: [next(row, { priority: 5 })] })).toEqual([]);
        expect((await read((reader) => reader.payloads([row.id]))).get(row.id)?.input).toBe(large);
      });

      it("an output that was not loaded cannot be written", async () => {
        const large = JSON.stringify("x".repeat(20_000));
        await insert(queuedRun(1, { state: { status: "completed", output: large } }));
        const [row] = await load(runId(1));
        if (row === undefined) throw new Error("The run does not exist.");
        await expect(save({ changes: [next(row, { priority: 5 })] })).rejects.toThrow(/loaded/);
        expect((await read((reader) => reader.payloads([row.id]))).get(row.id)?.output).toBe(large);
      });

      it("an insert with a taken id changes nothing, in a later batch or the same one", async () => {
        const first = queuedRun(1, { input: "1" });
        expect(await insert(first, queuedRun(1, { input: "2" }))).toEqual([first.id]);
        expect(await insert(queuedRun(1, { input: "3" }), queuedRun(2))).toEqual([runId(2)]);
        expect(await load(first.id)).toEqual([first]);
      });

      it("insert accepts the first run for each namespace, name and reference id", async () => {
        const runs = [
          queuedRun(1, { referenceId: "r" }),
          queuedRun(2, { referenceId: "r" }),
          queuedRun(3, { referenceId: "r", name: "other" }),
          queuedRun(4, { referenceId: "r", namespace: "other" }),
          queuedRun(5),
          queuedRun(6),
        ];
        expect(await insert(...runs)).toEqual([1, 3, 4, 5, 6].map(runId));
        expect(await insert(queuedRun(7, { referenceId: "r" }))).toEqual([]);
      });

      it("later changes of an inserted object do not change the stored run", async () => {
        const run = queuedRun(1, { events: new Map([["e", { arrived: 1, taken: 0 }]]) });
        await insert(run);
        run.events.set("f", { arrived: 1, taken: 0 });
        run.waits.push({ address: "x", type: "sleep", openedAt: 0, until: 1 });
        const [loaded] = await load(run.id);
        expect(loaded?.events.size).toBe(1);
        loaded?.events.clear();
        expect((await load(run.id))[0]?.events.size).toBe(1);
        expect((await load(run.id))[0]?.waits).toEqual([]);
      });
    });

    describe("transaction", () => {
      it("a transaction that throws leaves nothing behind and rethrows the error", async () => {
        const kept = queuedRun(1, { referenceId: "kept" });
        await insert(kept);
        await save({ entries: [returnedEntry(kept.id, 1)] });
        const thrown = new Error("no");
        const failing = storage.transaction(async (tx) => {
          await tx.insert([queuedRun(2, { referenceId: "gone", parent: { id: kept.id, address: "a" } })]);
          const change = next(kept, { state: runningState(), dueAt: 1 });
          await tx.save({ changes: [change], holds: [], entries: [returnedEntry(kept.id, 2)] });
          await tx.save({ changes: [next(change.after, { priority: 5 })], holds: [], entries: [] });
          await tx.reuse(kept.id, runId(2));
          throw thrown;
        });
        await expect(failing).rejects.toBe(thrown);
        expect(await load(kept.id, runId(2))).toEqual([{ ...kept, tail: 1 }]);
        expect(await journal(kept.id)).toEqual([returnedEntry(kept.id, 1)]);
        expect(await journal(runId(2))).toEqual([]);
        expect(await write((tx) => tx.due(1e9, 10))).toEqual([kept.id]);
        expect((await write((tx) => tx.queued([orders], 10))).ids).toEqual([kept.id]);
        expect(await read((reader) => reader.claimed("session-1", ["claim-1"]))).toEqual([]);
        expect(await read((reader) => reader.children([kept.id], 10))).toEqual([]);
        expect(await insert(queuedRun(3, { referenceId: "gone" }))).toEqual([runId(3)]);
        expect(await save({ entries: [returnedEntry(kept.id, 2)] })).toEqual([]);
      });

      it("a transaction sees its own writes", async () => {
        const seen = await storage.transaction(async (tx) => {
          await tx.insert([queuedRun(1)]);
          await tx.save({ changes: [], holds: [], entries: [returnedEntry(runId(1), 1)] });
          return { runs: await tx.load([runId(1)]), queued: (await tx.queued([orders], 5)).ids };
        });
        expect(seen).toEqual({ runs: [queuedRun(1, { tail: 1 })], queued: [runId(1)] });
      });

      it("a read does not see an open transaction", async () => {
        let finish = (): void => undefined;
        const gate = new Promise<void>((resolve) => {
          finish = resolve;
        });
        const writing = storage.transaction(async (tx) => {
          await tx.insert([queuedRun(1)]);
          await gate;
          throw new Error("rolled back");
        });
        const reading = load(runId(1));
        finish();
        await expect(writing).rejects.toThrow("rolled back");
        expect(await reading).toEqual([]);
      });

      it("a closed storage refuses transactions, and close may be called twice", async () => {
        await storage.close();
        await storage.close();
        await expect(insert(queuedRun(1))).rejects.toMatchObject({ code: "STORAGE_CLOSED" });
        await expect(load(runId(1))).rejects.toMatchObject({ code: "STORAGE_CLOSED" });
      });
    });

    describe("save", () => {
      it("save replaces rows that have the previous revision", async () => {
        const [one, two] = [queuedRun(1), queuedRun(2)];
        await insert(one, two);
        const changes = [
          next(two, { state: runningState(), fence: 1, dueAt: 9 }),
          next(one, { state: { status: "completed", output: "7" }, dueAt: null, updatedAt: 5_000 }),
        ];
        expect(await save({ changes })).toEqual([]);
        expect(await load(one.id, two.id)).toEqual([changes[1]?.after, changes[0]?.after]);
      });

      it("save writes several decisions on one run as one change", async () => {
        await insert(queuedRun(1));
        const change = next(queuedRun(1), { revision: 4, fence: 1 });
        expect(await save({ changes: [change] })).toEqual([]);
        expect(await load(runId(1))).toEqual([change.after]);
      });

      it("save returns each change and hold whose row has changed or does not exist, in id order", async () => {
        await insert(queuedRun(1, { revision: 5 }), queuedRun(2), queuedRun(3), queuedRun(5, { revision: 5 }));
        const obstacles = await save({
          changes: [next(queuedRun(4), {}), next(queuedRun(2), {}), next(queuedRun(1), {})],
          holds: [
            { id: runId(6), revision: 1 },
            { id: runId(5), revision: 4 },
            { id: runId(3), revision: 2 },
            { id: runId(2), revision: 2 },
          ],
        });
        expect(obstacles).toEqual([1, 4, 3, 5, 6].map((n) => ({ runId: runId(n), kind: "revision" })));
      });

      it("a hold checks the revision of a row without changing it", async () => {
        await insert(queuedRun(1));
        expect(await save({ holds: [{ id: runId(1), revision: 1 }] })).toEqual([]);
        expect(await load(runId(1))).toEqual([queuedRun(1)]);
      });

      it("save returns the entry whose address or seq is taken, within a batch and across batches", async () => {
        const entries = [returnedEntry(runId(1), 1), returnedEntry(runId(2), 1)];
        expect(await save({ entries })).toEqual([]);
        const obstacles = await save({
          entries: [
            returnedEntry(runId(1), 9, { address: entries[0]?.address ?? "" }),
            returnedEntry(runId(2), 1, { address: "task:other#0" }),
            returnedEntry(runId(3), 1),
            returnedEntry(runId(3), 2, { address: "task:charge:abc#1" }),
            returnedEntry(runId(4), 1, { attempt: 2 }),
            returnedEntry(runId(4), 1, { attempt: 3 }),
            returnedEntry(runId(1), 1),
          ],
        });
        expect(obstacles).toEqual([
          { runId: runId(1), kind: "address" },
          { runId: runId(2), kind: "seq" },
          { runId: runId(3), kind: "address" },
          { runId: runId(4), kind: "seq" },
          { runId: runId(1), kind: "address" },
        ]);
      });

      it("an address may be recorded once in each attempt", async () => {
        const again = returnedEntry(runId(1), 2, { address: "task:charge:abc#1", attempt: 2 });
        expect(await save({ entries: [returnedEntry(runId(1), 1), again] })).toEqual([]);
        expect(await journal(runId(1))).toEqual([returnedEntry(runId(1), 1), again]);
      });

      it("an empty batch executes no statement", async () => {
        expect(await save({})).toEqual([]);
      });
    });

    describe("load", () => {
      it("load returns each existing run once", async () => {
        await insert(queuedRun(1), queuedRun(2));
        expect(await load(runId(2), runId(9), runId(1), runId(2))).toEqual([queuedRun(1), queuedRun(2)]);
        expect(await load()).toEqual([]);
      });

      it("the tail of a run is derived from its entries", async () => {
        await insert(queuedRun(1, { tail: 99 }), queuedRun(2));
        await save({ entries: [1, 2, 3].map((seq) => returnedEntry(runId(1), seq)) });
        expect((await load(runId(1), runId(2))).map((run) => run.tail)).toEqual([3, 0]);
      });
    });

    describe("journal", () => {
      const outputs = ['"é"', "2", '"three"', "4", "5"];
      beforeEach(async () => {
        const entries = outputs.map((output, at) => entryWith(runId(1), at + 1, { type: "returned", output }));
        await save({ entries: [...entries, returnedEntry(runId(2), 1)] });
      });
      const seqs = async (request: { after?: number; limit?: number; bytes?: number }): Promise<number[]> => {
        const full = { runId: runId(1), after: 0, limit: 100, bytes: 1e9, ...request };
        const [entries = []] = await read((reader) => reader.journal([full]));
        return entries.map((entry) => entry.seq);
      };

      it("a journal is read in pages by seq and limit", async () => {
        expect(await seqs({})).toEqual([1, 2, 3, 4, 5]);
        expect(await seqs({ limit: 2 })).toEqual([1, 2]);
        expect(await seqs({ after: 2, limit: 2 })).toEqual([3, 4]);
        expect(await seqs({ after: 5 })).toEqual([]);
        expect(await seqs({ limit: 0 })).toEqual([]);
      });

      it("a page of a journal ends at the byte limit, but has at least one entry", async () => {
        expect(await seqs({ bytes: 0 })).toEqual([1]);
        expect(await seqs({ after: 3, bytes: 1 })).toEqual([4]);
        const [all = []] = await read((reader) =>
          reader.journal([{ runId: runId(1), after: 0, limit: 9, bytes: 1e9 }]),
        );
        expect(all).toHaveLength(5);
        const two = await seqs({ bytes: 2 * (160 + 17) + 5 });
        expect(two).toEqual([1, 2]);
        expect(await seqs({ bytes: 2 * (160 + 17) + 4 })).toEqual([1]);
      });

      it("a journal read returns its results in the order of the requests", async () => {
        const requests = [runId(2), runId(9), runId(1)].map((id) => ({ runId: id, after: 0, limit: 3, bytes: 1e6 }));
        const pages = await read((reader) => reader.journal(requests));
        expect(pages.map((page) => page.map((entry) => entry.seq))).toEqual([[1], [], [1, 2, 3]]);
      });

      it.each(everyValue())("a value of type $type is stored exactly", async (value) => {
        const entry = entryWith(runId(3), 1, value, { worker: "w", startedAt: 5, attempt: 2, fence: 7 });
        const bare = entryWith(runId(3), 2, value);
        await save({ entries: [entry, bare] });
        expect(await journal(runId(3))).toEqual([entry, bare]);
        expect(Object.keys((await journal(runId(3)))[1] ?? {})).not.toContain("worker");
      });

      it("ten thousand entries are stored in order", async () => {
        const entries = Array.from({ length: 10_000 }, (_, at) => returnedEntry(runId(5), at + 1));
        await save({ entries: entries.slice(0, 5_000) });
        await save({ entries: entries.slice(5_000) });
        expect(await journal(runId(5))).toEqual(entries);
      });
    });

    it("entriesAt returns the recorded entries by attempt and address", async () => {
      const entries = [
        returnedEntry(runId(1), 1),
        returnedEntry(runId(1), 2, { address: "task:charge:abc#1", attempt: 2 }),
        returnedEntry(runId(2), 1),
      ];
      await save({ entries });
      const key = { runId: runId(1), attempt: 2, address: "task:charge:abc#1" };
      const keys = [key, key, { ...key, runId: runId(2) }, { ...key, runId: runId(2), attempt: 1 }];
      const found = await read((reader) => reader.entriesAt(keys));
      expect(found.toSorted((a, b) => (a.runId < b.runId ? -1 : 1))).toEqual([entries[1], entries[2]]);
      expect(await read((reader) => reader.entriesAt([]))).toEqual([]);
    });

    it("entriesAt omits large values and returns their type and size", async () => {
      const error = { name: "E", message: "\0é".repeat(2_000) };
      const values: Value[] = [
        { type: "returned", output: JSON.stringify("é".repeat(1_000)) },
        { type: "arrived", name: "e", data: `\ud800${"x".repeat(2_000)}` },
        { type: "threw", error },
        { type: "received", name: "é".repeat(255), nth: 7 },
        { type: "returned", output: JSON.stringify("x".repeat(1_998)) },
      ];
      const entries = values.map((value, n) => entryWith(runId(1), n + 1, value, { worker: "w", startedAt: 3 }));
      await save({ entries });
      const found = await read((reader) => reader.entriesAt(entries));
      const sizes = [2_002, 2_000 + `\u0001"\\ud800"`.length + '{"name":"e"}'.length];
      const left = [...sizes, JSON.stringify(values[2]).length + 2_000].map((bytes, n) => ({
        ...entries[n],
        value: { type: "unread", of: values[n]?.type, bytes },
      }));
      expect(found.toSorted((a, b) => a.seq - b.seq)).toEqual([...left, entries[3], entries[4]]);
    });

    it("the update time of a run is that of its row or its last entry, whichever is later", async () => {
      await insert(queuedRun(1), queuedRun(2));
      const facts = [runId(1), runId(2)].map((id) => returnedEntry(id, 1));
      await save({ entries: facts.map((entry, n) => ({ ...entry, at: n === 0 ? 1 : 9_999 })) });
      const runs = (await load(runId(1), runId(2))).toSorted((left, right) => (left.id < right.id ? -1 : 1));
      expect(runs.map(({ updatedAt }) => updatedAt)).toEqual([1_001, 9_999]);
    });

    queues(() => storage);

    it("hold locks each existing run once and returns it", async () => {
      await insert(queuedRun(1), queuedRun(2));
      await save({ entries: [returnedEntry(runId(2), 1)] });
      const held = await storage.transaction((tx) => tx.hold([2, 9, 1, 2].map(runId)));
      expect(sorted(held)).toEqual([queuedRun(1), queuedRun(2, { tail: 1 })]);
    });

    describe("due", () => {
      it("due returns the ids of runs that are due, earliest first", async () => {
        const dues: Array<number | null> = [300, 100, null, 100, 200];
        await insert(...dues.map((dueAt, at) => queuedRun(at + 1, { dueAt, state: { status: "scheduled", at: 900 } })));
        expect(await write((tx) => tx.due(200, 10))).toEqual([2, 4, 5].map(runId));
        expect(await write((tx) => tx.due(1_000, 2))).toEqual([2, 4].map(runId));
        expect(await write((tx) => tx.due(99, 10))).toEqual([]);
        expect(await write((tx) => tx.due(99, 0))).toEqual([]);
        expect(await read((reader) => reader.nextDue())).toBe(100);
      });

      it("nextDue follows changes until no run is due", async () => {
        await insert(queuedRun(1, { dueAt: 5 }));
        await save({ changes: [next(queuedRun(1), { dueAt: 50 })] });
        expect(await read((reader) => reader.nextDue())).toBe(50);
        await save({ changes: [next(queuedRun(1, { revision: 2 }), { dueAt: null })] });
        expect(await read((reader) => reader.nextDue())).toBeNull();
      });
    });

    relations(() => storage);

    it("referenced returns runs by reference id with their tails", async () => {
      await insert(queuedRun(1, { referenceId: "a" }), queuedRun(2, { referenceId: "b", name: "ship" }), queuedRun(3));
      await save({ entries: [returnedEntry(runId(2), 1)] });
      const key = { namespace: "default", name: "order", referenceId: "a" };
      const keys = [key, key, { ...key, name: "ship", referenceId: "b" }, { ...key, referenceId: "b" }];
      const found = sorted(await read((reader) => reader.referenced(keys)));
      expect(found.map(({ id, tail }) => [id, tail])).toEqual([
        [runId(1), 0],
        [runId(2), 1],
      ]);
    });

    describe("find", () => lists(() => storage));

    describe("reuse", () => {
      it("reuse copies results as attempt 0 without gaps in seq, and children only if they returned", async () => {
        const failure = { name: "E", message: "m" };
        const values: Array<[address: string, value: Value, attempt?: number]> = [
          ["task:a#0/1", { type: "retrying", error: failure, retryAt: 5 }],
          ["task:a#0", { type: "returned", output: "1" }],
          ["task:b#0", { type: "threw", error: failure }],
          ["now#0", { type: "observed", data: "5" }],
          ["sleep#0", { type: "elapsed", early: true }],
          ["child:x#0", { type: "started", runId: runId(20) }],
          ["child:y#0", { type: "started", runId: runId(21) }],
          ["child:z#0", { type: "started", runId: runId(22) }],
          ["child:x#0/result", { type: "returned", output: "2" }],
          ["child:y#0/result", { type: "threw", error: failure }],
          ["arrived:e#1", { type: "arrived", name: "e", data: "3" }],
          ["event:e#0", { type: "received", name: "e", nth: 0 }],
          ["mark#1", { type: "marked", mark: "attempt_failed", error: failure, retryAt: 9 }],
          ["child:y#0", { type: "started", runId: runId(23) }, 2],
          ["child:y#0/result", { type: "returned", output: "4" }, 2],
          ["task:a#0", { type: "returned", output: "9" }, 2],
        ];
        const entries = values.map(([address, value, attempt = 1], at) =>
          entryWith(runId(1), at + 1, value, { address, attempt, worker: "w" }),
        );
        await save({ entries });
        await insert(queuedRun(2));
        expect(await storage.transaction((tx) => tx.reuse(runId(1), runId(2)))).toBe(9);
        const copies = [2, 4, 5, 6, 9, 11, 12, 14, 15].map((seq, at) => ({
          ...entries[seq - 1],
          runId: runId(2),
          attempt: 0,
          fence: 0,
          seq: at + 1,
        }));
        expect(await journal(runId(2))).toEqual(copies);
        expect(await journal(runId(1))).toEqual(entries);
        expect((await load(runId(2)))[0]?.tail).toBe(9);
      });

      it("reuse copies large values exactly, and marks with an identity and any number of waits", async () => {
        const waits = Array.from({ length: 500 }, (_, n) => `sleep:#${n}`);
        const values: Value[] = [
          { type: "returned", output: `"${"é\0\ud800".repeat(9_000)}"` },
          { type: "marked", mark: "stalled", reason: "ambiguous_call", identity: "i", waits },
          { type: "marked", mark: "stalled", reason: "crash_loop", waits },
          { type: "arrived", name: '"identity":', data: JSON.stringify("x".repeat(20_000)) },
          { type: "threw", error: { name: "E", message: '"identity":'.repeat(9_000) } },
          { type: "marked", mark: "cancelled", reason: '"identity":' },
        ];
        await save({ entries: values.map((value, n) => entryWith(runId(1), n + 1, value)) });
        await insert(queuedRun(2));
        expect(await storage.transaction((tx) => tx.reuse(runId(1), runId(2)))).toBe(3);
        expect((await journal(runId(2))).map(({ value }) => value)).toEqual([values[0], values[1], values[3]]);
      });

      it("reuse into a run with entries is refused and copies nothing", async () => {
        await save({ entries: [returnedEntry(runId(1), 1), returnedEntry(runId(1), 2), returnedEntry(runId(2), 2)] });
        const reusing = storage.transaction((tx) => tx.reuse(runId(1), runId(2)));
        await expect(reusing).rejects.toMatchObject({ code: "REUSE_CONFLICT" });
        expect(await journal(runId(2))).toHaveLength(1);
      });

      it("reuse of a run without entries copies nothing", async () => {
        expect(await storage.transaction((tx) => tx.reuse(runId(1), runId(2)))).toBe(0);
      });
    });

    describe("bytes", () => {
      it("unusual names are stored exactly and stay distinct", async () => {
        const runs = strangeNames.map((strange, n) =>
          queuedRun(n, {
            namespace: strange,
            name: strange,
            versionId: strange,
            shardKey: strange,
            referenceId: strange,
            options: { tags: [strange] },
            parent: { id: strange, address: strange },
            events: new Map([[strange, { arrived: 2, taken: 1 }]]),
            lastError: { name: strange, message: strange },
            waits: [{ address: strange, type: "event", name: strange, openedAt: 0, until: null }],
          }),
        );
        expect(await insert(...runs)).toEqual(runs.map((run) => run.id));
        expect(await load(...runs.map((run) => run.id))).toEqual(runs);
        for (const [n, strange] of strangeNames.entries()) {
          const named = [{ namespace: strange, name: strange, versionId: strange, shardKey: strange }];
          const { ids } = await write((tx) => tx.queued(named, 9));
          expect(ids).toEqual([runId(n)]);
          const request = { name: strange, versionId: strange, shardKey: strange, referenceId: strange };
          for (const one of [request, { referenceId: strange }, { name: strange }, { tags: [strange] }]) {
            const found = await read((reader) => reader.find(strange, { ...one, parentId: strange }, listLimits));
            expect(found).toEqual({ runs: [{ ...runs[n], input: null }], next: null });
          }
          const key = { namespace: strange, name: strange, referenceId: strange };
          expect(await read((reader) => reader.referenced([key]))).toEqual([runs[n]]);
          expect(await read((reader) => reader.children([strange], 9))).toEqual([runId(n)]);
        }
      });

      it("runs are found by unusual tags", async () => {
        const tags = strangeNames.filter((tag) => tag !== "");
        await insert(...tags.map((tag, n) => queuedRun(n, { options: { tags: [tag, "all"] } })));
        for (const [n, tag] of tags.entries()) {
          for (const asked of [[tag], ["all", tag]]) {
            const found = await read((reader) => reader.find("default", { tags: asked }, listLimits));
            expect(found.runs.map((run) => run.id)).toEqual([runId(n)]);
          }
        }
      });

      it("unusual addresses, sessions, claims and workers are stored exactly and stay distinct", async () => {
        const entries = strangeNames.map((strange, n) =>
          entryWith(strange, n + 1, { type: "arrived", name: strange }, { address: strange, worker: strange }),
        );
        expect(await save({ entries })).toEqual([]);
        for (const [n, strange] of strangeNames.entries()) {
          expect(await journal(strange)).toEqual([entries[n]]);
          const key = { runId: strange, attempt: 1, address: strange };
          expect(await read((reader) => reader.entriesAt([key]))).toEqual([entries[n]]);
        }
        await insert(...strangeNames.map((strange, n) => queuedRun(n, { state: runningState(strange, strange) })));
        for (const [n, strange] of strangeNames.entries()) {
          expect(await read((reader) => reader.claimed(strange, [strange]))).toEqual([runId(n)]);
        }
      });

      it.each([...payloads, ...strangeNames])("the payload %j is stored exactly", async (payload) => {
        const completed: StoredState = { status: "completed", output: payload };
        await insert(queuedRun(1, { input: payload, state: completed }));
        const values: Value[] = [
          { type: "returned", output: payload },
          { type: "observed", data: payload },
          { type: "arrived", name: "e", data: payload },
        ];
        await save({ entries: values.map((value, at) => entryWith(runId(1), at + 1, value)) });
        const [run] = await load(runId(1));
        expect([run?.input, run?.state]).toEqual([payload, completed]);
        expect((await journal(runId(1))).map((entry) => entry.value)).toEqual(values);
      });

      it("a payload of four megabytes is stored", async () => {
        const payload = JSON.stringify("é".repeat(2 * 1024 * 1024));
        await insert(queuedRun(1, { input: payload }));
        await save({ entries: [entryWith(runId(1), 1, { type: "returned", output: payload })] });
        const payloads = await read((reader) => reader.payloads([runId(1)]));
        expect(payloads.get(runId(1))?.input === payload).toBe(true);
        const [entry] = await journal(runId(1));
        expect(entry?.value.type === "returned" && entry.value.output === payload).toBe(true);
      });
    });

    workers(() => storage, strangeNames);

    stats(() => storage, strangeNames);

    callSitesSuite(() => storage);

    it("all returns the runs of all namespaces in pages, in id order, with their tails", async () => {
      await insert(queuedRun(3), queuedRun(1, { namespace: "other" }), queuedRun(2), queuedRun(4));
      await save({ entries: [returnedEntry(runId(2), 1), returnedEntry(runId(2), 2)] });
      const page = async (after: string | null): Promise<Array<[id: string, tail: number]>> =>
        (await read((reader) => reader.all(after, 3))).map(({ id, tail }) => [id, tail]);
      expect(await page(null)).toEqual([
        [runId(1), 0],
        [runId(2), 2],
        [runId(3), 0],
      ]);
      expect(await page(runId(3))).toEqual([[runId(4), 0]]);
      expect(await page(runId(4))).toEqual([]);
    });

    it("queued keeps its order while two thousand runs are queued and completed", async () => {
      const runs = Array.from({ length: 2_000 }, (_, n) => queuedRun((n * 7_919) % 2_000, { priority: n % 3 }));
      await insert(...runs);
      const gone = runs.filter((run) => run.priority === 2 || run.dueAt === 6_000);
      await save({ changes: gone.map((run) => next(run, { state: { status: "completed" }, dueAt: null })) });
      const left = runs.filter((run) => !gone.includes(run));
      const ranked = left.toSorted((a, b) => b.priority - a.priority || (a.id < b.id ? -1 : 1));
      const queued = await write((tx) => tx.queued([orders], 5_000));
      expect(queued).toEqual({ ids: ranked.map((run) => run.id), more: false });
      const dated = left.toSorted((a, b) => (a.dueAt ?? 0) - (b.dueAt ?? 0));
      expect(await write((tx) => tx.due(1e9, 5_000))).toEqual(dated.map((run) => run.id));
    });
  });
}

/** Further requirements of storage that only one server uses: serial transactions, and the server's own clock. */
export function soleStorageSuite(name: string, open: (env: { now(): number }) => Promise<Opened>): void {
  describe(`storage of one server in ${name}`, () => {
    let opened: Opened;
    let storage: Storage;
    let clock = 10_000;

    beforeEach(async () => {
      opened = await open({ now: () => clock });
      storage = opened.storage;
    });
    afterEach(async () => opened.end());

    it("transactions and reads wait for earlier ones", async () => {
      const order: string[] = [];
      let finish = (): void => undefined;
      const gate = new Promise<void>((resolve) => {
        finish = resolve;
      });
      const first = storage.transaction(async (tx) => {
        await tx.insert([queuedRun(1)]);
        order.push("first");
        await gate;
        order.push("first ends");
        throw new Error("rolled back");
      });
      const second = storage.transaction(async (tx) => {
        order.push("second");
        return tx.insert([queuedRun(2)]);
      });
      const reading = storage.read((reader) => reader.load([runId(1), runId(2)]));
      finish();
      await expect(first).rejects.toThrow("rolled back");
      expect(await second).toEqual([runId(2)]);
      expect(await reading).toEqual([queuedRun(2)]);
      expect(order).toEqual(["first", "first ends", "second"]);
    });

    it("the storage returns the time of its clock", async () => {
      clock = 12_345;
      expect(await storage.read(async (reader) => reader.now())).toBe(12_345);
      expect(await storage.transaction(async (tx) => tx.now())).toBe(12_345);
    });
  });
}

function sorted(runs: Run[]): Run[] {
  return runs.toSorted((left, right) => (left.id < right.id ? -1 : 1));
}

function everyState(): StoredState[] {
  const resumable = { session: "s", fence: 3, tail: 9, attempt: 2 };
  return [
    { status: "scheduled", at: 900 },
    { status: "queued", resumable, redeliveries: 4, redeliverAt: 77 },
    runningState(),
    { ...runningState(), expecting: { call: "step:a#0", since: 7 } },
    { status: "paused", interrupted: { status: "sleeping", resumable, children: 0 }, inbox: 3 },
    { status: "sleeping", resumable: null, children: 0 },
    { status: "awaiting_event", resumable, children: 1 },
    { status: "awaiting_retry", retryAt: 8, resumable: null, children: 2 },
    { status: "awaiting_child_workflow", resumable: null, children: 10_000 },
    { status: "stalled", reason: "crash_loop", crashes: 5 },
    { status: "stalled", reason: "diverged", call: "task:new#0", unclaimed: ["task:old#0"] },
    { status: "stalled", reason: "ambiguous_call", call: "step:a#0", identity: "i1", places: ["flow.ts:1"] },
    { status: "stalled", reason: "schema_mismatch", call: "event:e#0", error: { name: "E", message: "\0\ud800" } },
    { status: "stalled", reason: "idle", idleMs: 300_000 },
    { status: "completed", output: '{"a":[1,2]}' },
    {
      status: "failed",
      error: { name: "E", message: "m\0\ud800", code: "C", stack: "at x", cause: { name: "F", message: "" } },
    },
    { status: "cancelled", reason: "because" },
    { status: "cancelled" },
  ];
}

function everyValue(): Value[] {
  const error = { name: "E", message: "nul\0 lone\ud800", stack: "at", cause: { name: "__proto__", message: "" } };
  return [
    { type: "returned", output: "1" },
    { type: "returned" },
    { type: "threw", error },
    { type: "retrying", error, retryAt: 7 },
    { type: "observed", data: "17" },
    { type: "asked" },
    { type: "reused", seq: 3 },
    { type: "withdrawn" },
    { type: "withdrawn", wait: { madeAfter: 3, identity: "i", branch: "b" } },
    { type: "started", runId: runId(4) },
    { type: "elapsed" },
    { type: "elapsed", early: true },
    { type: "received", name: "__proto__", nth: 3 },
    { type: "arrived", name: "constructor", data: "{}" },
    { type: "arrived", name: "n\0\ud800" },
    { type: "marked", mark: "recovered", crashes: 2, confirmed: false },
    { type: "marked", mark: "attempt_failed", error, retryAt: 3 },
  ];
}
