/** How every storage finds the runs of a parent, a claim or a session. */

import { expect, it } from "vitest";
import type { Run, State } from "../../packages/server/src/core/run.ts";
import type { Batch, Obstacle, Reader, Storage } from "../../packages/server/src/storage/storage.ts";
import { next, queuedRun, returnedEntry, runId, runningState } from "./records.ts";

export function relations(storage: () => Storage): void {
  const insert = (...runs: Run[]): Promise<string[]> => storage().transaction((tx) => tx.insert(runs));
  const save = (batch: Partial<Batch>): Promise<Obstacle[]> =>
    storage().transaction((tx) => tx.save({ changes: [], holds: [], entries: [], ...batch }));
  const read = <T>(work: (reader: Reader) => Promise<T>): Promise<T> => storage().read(work);

  it("children returns live children that end with their parent", async () => {
    const parent = { id: runId(1), address: "child:ship#0" };
    const ended = { status: "failed", error: { name: "E", message: "" } } as const;
    await insert(
      queuedRun(1),
      queuedRun(2, { parent }),
      queuedRun(3, { parent, options: { onParentEnd: "abandon" } }),
      queuedRun(4, { parent, state: ended }),
      queuedRun(5, { parent, state: { status: "paused", interrupted: { status: "scheduled", at: 900 }, inbox: 0 } }),
      queuedRun(6, { parent: { id: runId(9), address: "a" } }),
    );
    const children = (parents: string[], limit = 10): Promise<string[]> =>
      read((reader) => reader.children(parents, limit));
    expect((await children([runId(1)])).toSorted()).toEqual([runId(2), runId(5)]);
    expect((await children([runId(9), runId(1), runId(9)])).toSorted()).toEqual([2, 5, 6].map(runId));
    expect(await children([runId(9), runId(1)], 2)).toHaveLength(2);
    await save({ changes: [next(queuedRun(2, { parent }), { state: ended })] });
    expect(await children([runId(1)])).toEqual([runId(5)]);
  });

  it("claimed returns the running runs of claims, in id order", async () => {
    await insert(
      queuedRun(3, { state: runningState() }),
      queuedRun(1, { state: runningState() }),
      queuedRun(2, { state: runningState("session-2") }),
      queuedRun(4, { state: runningState("session-1", "claim-2") }),
    );
    const claimed = (...claimIds: string[]): Promise<string[]> =>
      read((reader) => reader.claimed("session-1", claimIds));
    expect(await claimed("claim-1")).toEqual([runId(1), runId(3)]);
    expect(await claimed("claim-3", "claim-2", "claim-1", "claim-2")).toEqual([runId(1), runId(3), runId(4)]);
    expect(await claimed()).toEqual([]);
    await save({ changes: [next(queuedRun(1, { state: runningState() }), { state: { status: "cancelled" } })] });
    expect(await claimed("claim-1")).toEqual([runId(3)]);
  });

  it("stalledChildren returns the stalled child with the lowest id of each parent", async () => {
    const stalled: State = { status: "stalled", reason: "idle", idleMs: 5 };
    const parent = { id: runId(1), address: "child:ship#0" };
    const runs = [
      queuedRun(1, { state: stalled }),
      queuedRun(2, { parent }),
      queuedRun(3, { parent, state: stalled, options: { onParentEnd: "abandon" } }),
      queuedRun(4, { parent, state: stalled }),
      queuedRun(5, { parent: { ...parent, id: runId(9) }, state: stalled }),
    ];
    await insert(...runs);
    await save({ entries: [returnedEntry(runId(3), 1)] });
    const found = async (...parents: number[]): Promise<Run[]> =>
      (await read((reader) => reader.stalledChildren(parents.map(runId)))).toSorted((a, b) => (a.id < b.id ? -1 : 1));
    expect(await found(1)).toEqual([queuedRun(3, { ...runs[2], tail: 1 })]);
    expect((await found(9, 1, 7, 9)).map(({ id }) => id)).toEqual([runId(3), runId(5)]);
    expect(await found()).toEqual([]);
    await save({ changes: [next(queuedRun(3, runs[2]), { state: { status: "cancelled" } })] });
    expect((await found(1)).map(({ id }) => id)).toEqual([runId(4)]);
  });

  it("inSession returns the running runs of a session in its namespace, up to a limit", async () => {
    await insert(
      queuedRun(1, { state: runningState() }),
      queuedRun(2, { state: runningState("session-2") }),
      queuedRun(3, { state: runningState("session-1", "claim-2") }),
      queuedRun(4, { state: runningState(), namespace: "other" }),
      queuedRun(5),
      queuedRun(6, { state: runningState("nul\0 \ud800") }),
    );
    const held = (session: string, limit = 9, namespace = "default"): Promise<string[]> =>
      read((reader) => reader.inSession(namespace, session, limit));
    expect((await held("session-1")).toSorted()).toEqual([runId(1), runId(3)]);
    expect(await held("session-1", 1)).toHaveLength(1);
    expect(await held("session-1", 9, "other")).toEqual([runId(4)]);
    expect(await held("nul\0 \ud800")).toEqual([runId(6)]);
    expect(await held("session-3")).toEqual([]);
    await save({ changes: [next(queuedRun(1, { state: runningState() }), { state: { status: "cancelled" } })] });
    expect(await held("session-1")).toEqual([runId(3)]);
  });
}
