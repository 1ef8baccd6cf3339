/** How every storage keeps call sites of entries, and copies entries for a retried run. */

import type { CallSite, Entry, Value } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import type { Storage } from "../../packages/server/src/storage/storage.ts";
import { entryWith, queuedRun, runId } from "./records.ts";

const value: Value = { type: "returned", output: "1" };

export function callSitesSuite(storage: () => Storage): void {
  const save = (...entries: Entry[]) =>
    storage().transaction((transaction) => transaction.save({ changes: [], holds: [], entries }));
  const journal = async (id: string, bytes = 1e9): Promise<Entry[]> => {
    const request = { runId: id, after: 0, limit: 100, bytes };
    return (await storage().read((reader) => reader.journal([request])))[0] ?? [];
  };

  describe("the call site of an entry", () => {
    it.each<CallSite>([
      { madeAfter: 0, identity: "a" },
      { madeAfter: Number.MAX_SAFE_INTEGER, identity: "!".repeat(32), branch: "~".repeat(32) },
      { madeAfter: 7, identity: "a:b#0/1", branch: "%_*?" },
    ])("a call site is loaded as it was saved: %j", async (callSite) => {
      const entries = [entryWith(runId(1), 1, value, { callSite }), entryWith(runId(1), 2, value)];
      expect(await save(...entries)).toEqual([]);
      expect(await journal(runId(1))).toEqual(entries);
      expect(Object.keys((await journal(runId(1)))[1] ?? {})).not.toContain("callSite");
      const key = { runId: runId(1), attempt: 1, address: entries[0]?.address ?? "" };
      expect(await storage().read((reader) => reader.entriesAt([key]))).toEqual([entries[0]]);
    });

    it("a call site counts towards the byte limit of a journal read", async () => {
      const callSite: CallSite = { madeAfter: 1, identity: "i".repeat(20), branch: "b".repeat(30) };
      await save(...[1, 2, 3].map((seq) => entryWith(runId(1), seq, value, { callSite })));
      const each = 160 + 17 + 48 + 20 + 30 + 1;
      expect(await journal(runId(1), 2 * each)).toHaveLength(2);
      expect(await journal(runId(1), 2 * each - 1)).toHaveLength(1);
    });

    it("a saved call site does not change when the caller changes the object later", async () => {
      const callSite: CallSite = { madeAfter: 1, identity: "i" };
      await save(entryWith(runId(1), 1, value, { callSite }));
      callSite.madeAfter = 9;
      expect((await journal(runId(1)))[0]?.callSite).toEqual({ madeAfter: 1, identity: "i" });
    });
  });

  it("a stored run keeps its last build, the call sites of its waits and its returned events", async () => {
    const callSite: CallSite = { madeAfter: 3, identity: "i", branch: "b" };
    const runs = [
      queuedRun(1, {
        build: { id: "build-1", since: 12 },
        waits: [{ address: "sleep::#0", type: "sleep", openedAt: 0, until: 99, callSite }],
        events: new Map([
          ["given back", { arrived: 5, taken: 4, returned: [0, 2] }],
          ["taken", { arrived: 1, taken: 1 }],
        ]),
      }),
      queuedRun(2),
    ];
    await storage().transaction((transaction) => transaction.insert(runs));
    const loaded = await storage().read((reader) => reader.load(runs.map(({ id }) => id)));
    expect(loaded.toSorted((left, right) => (left.id < right.id ? -1 : 1))).toEqual(runs);
  });

  describe("the copy of entries for a retried run", () => {
    const reused = async (...values: Array<[string, Value, number?, number?]>): Promise<Entry[]> => {
      const entries = values.map(([address, of, madeAfter, attempt = 1], at) => {
        const callSite = madeAfter === undefined ? {} : { callSite: { madeAfter, identity: address } };
        return entryWith(runId(1), at + 1, of, { address, attempt, ...callSite });
      });
      expect(await save(...entries)).toEqual([]);
      await storage().transaction(async (transaction) => {
        await transaction.insert([queuedRun(2)]);
        await transaction.reuse(runId(1), runId(2));
      });
      return journal(runId(2));
    };

    it("a copy of entries adapts call sites to the new seq of the copies", async () => {
      const error = { name: "E", message: "m" };
      const copies = await reused(
        ["arrival:e:1", { type: "arrived", name: "e" }],
        ["task:a#0", { type: "threw", error }, 0],
        ["task:b#0", value, 2],
        ["task:c#0", value, 3],
        ["task:d#0", value, 1],
      );
      expect(copies.map(({ address, seq, callSite }) => [address, seq, callSite?.madeAfter])).toEqual([
        ["arrival:e:1", 1, undefined],
        ["task:b#0", 2, 1],
        ["task:c#0", 3, 2],
        ["task:d#0", 4, 1],
      ]);
      expect(copies[1]?.callSite?.identity).toBe("task:b#0");
    });

    it("a copy of entries omits those that only order the calls of an attempt", async () => {
      const copies = await reused(
        ["child:x#0/wait#0/ask", { type: "asked" }, 0],
        ["task:a#0", value, 0],
        ["task:a#0", { type: "reused", seq: 2 }, 0, 2],
        ["sleep:#0/withdrawn", { type: "withdrawn" }, 2],
      );
      expect(copies.map(({ address }) => address)).toEqual(["task:a#0"]);
    });

    it("a copy of entries omits withdrawn waits of the same attempt, not the one that received the event", async () => {
      const copies = await reused(
        ["arrival:e:1", { type: "arrived", name: "e" }],
        ["event:e#0", { type: "received", name: "e", nth: 0 }, 0],
        ["sleep:#0", { type: "elapsed" }, 0],
        ["event:e#0/withdrawn", { type: "withdrawn" }, 0],
        ["sleep:#0/withdrawn", { type: "withdrawn" }, 0],
        ["event:e#1", { type: "received", name: "e", nth: 0 }, 0],
        ["sleep:#1", { type: "elapsed" }, 0],
        ["sleep:#1/withdrawn", { type: "withdrawn" }, 0, 2],
      );
      expect(copies.map(({ address }) => address)).toEqual(["arrival:e:1", "event:e#1", "sleep:#1"]);
    });
  });
}
