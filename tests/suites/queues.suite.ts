/** The order in which every storage returns queued runs. */

import type { QueueKey } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import type { Run } from "../../packages/server/src/core/run.ts";
import type { Change, Storage } from "../../packages/server/src/storage/storage.ts";
import { next, queuedRun, runId, runningState } from "./records.ts";

/** The queue of the runs in these suites. */
export const order: QueueKey = { namespace: "default", name: "order", versionId: "1.0.0", shardKey: null };

export function queues(storage: () => Storage): void {
  describe("queued", () => {
    const insert = (...runs: Run[]) => storage().transaction((tx) => tx.insert(runs));
    const queued = (keys: QueueKey[], limit = 100) => storage().transaction((tx) => tx.queued(keys, limit));
    const change = (changed: Change) =>
      storage().transaction((tx) => tx.save({ changes: [changed], holds: [], entries: [] }));
    const ids = async (keys: QueueKey[] = [order], limit = 100) => (await queued(keys, limit)).ids;

    it("queued returns the highest priority first, then the oldest run of each queue in turn", async () => {
      await insert(
        queuedRun(1),
        queuedRun(2, { priority: 10 }),
        queuedRun(3, { priority: 10, versionId: "2.0.0" }),
        queuedRun(4, { priority: -1 }),
        queuedRun(5, { priority: 10 }),
        queuedRun(6, { name: "ship" }),
      );
      const second = { ...order, versionId: "2.0.0" };
      expect(await ids([order, second])).toEqual([2, 3, 5, 1, 4].map(runId));
      expect(await ids([second, order])).toEqual([3, 2, 5, 1, 4].map(runId));
      expect(await ids([order, second], 3)).toEqual([2, 3, 5].map(runId));
      expect(await ids([])).toEqual([]);
      expect(await ids([{ ...second, name: "ship" }])).toEqual([]);
      expect(await ids([order], 0)).toEqual([]);
    });

    it("queued returns runs of every queue in turn, even if one queue is long", async () => {
      await insert(...Array.from({ length: 30 }, (_, n) => queuedRun(n)), queuedRun(98, { name: "ship" }));
      await insert(queuedRun(99, { name: "ship" }));
      const ship = { ...order, name: "ship" };
      expect(await ids([order, ship], 4)).toEqual([0, 98, 1, 99].map(runId));
      expect(await ids([ship, order], 1)).toEqual([98].map(runId));
    });

    it("queued returns whether storage has more runs than it returned", async () => {
      await insert(queuedRun(1), queuedRun(2), queuedRun(3, { name: "ship" }));
      expect(await queued([order], 1)).toEqual({ ids: [runId(1)], more: true });
      expect(await queued([order], 2)).toEqual({ ids: [runId(1), runId(2)], more: false });
      expect((await queued([order, { ...order, name: "ship" }], 2)).more).toBe(true);
      expect(await queued([{ ...order, name: "none" }], 2)).toEqual({ ids: [], more: false });
    });

    it("queued returns only runs of the given shards, or only runs without a shard", async () => {
      await insert(queuedRun(1), queuedRun(2, { shardKey: "eu" }), queuedRun(3, { shardKey: "us" }), queuedRun(4));
      const inShards = (...keys: string[]) => keys.map((shardKey) => ({ ...order, shardKey }));
      expect(await ids()).toEqual([runId(1), runId(4)]);
      expect(await ids(inShards("us", "eu"))).toEqual([runId(3), runId(2)]);
      expect(await ids(inShards("", "null"))).toEqual([]);
    });

    it("queued returns only runs of the namespace", async () => {
      await insert(queuedRun(1), queuedRun(2, { namespace: "other" }));
      expect(await ids([{ ...order, namespace: "other" }])).toEqual([runId(2)]);
    });

    it("queued omits claimed runs and returns runs that are queued again", async () => {
      const run = queuedRun(1);
      await insert(run, queuedRun(2, { state: { status: "scheduled", at: 900 } }));
      const claimed = next(run, { state: runningState() });
      await change(claimed);
      expect(await ids()).toEqual([]);
      await change(next(claimed.after, { state: run.state }));
      expect(await ids()).toEqual([run.id]);
    });
  });
}
