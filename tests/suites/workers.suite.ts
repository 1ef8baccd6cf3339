/** How every storage keeps workers. */

import { describe, expect, it } from "vitest";
import type { RegisteredWorker } from "../../packages/server/src/storage/registered-worker.ts";
import type { Storage } from "../../packages/server/src/storage/storage.ts";

export function registered(session: string, differing: Partial<RegisteredWorker> = {}): RegisteredWorker {
  return {
    namespace: "default",
    session,
    worker: "worker-1",
    serves: [{ name: "order", versionId: "1.0.0" }],
    shardKeys: ["eu"],
    load: { slots: 10, busy: 3 },
    since: 1_000,
    seenAt: 2_000,
    liveUntil: 92_000,
    ...differing,
  };
}

export function bySession(all: RegisteredWorker[]): RegisteredWorker[] {
  return all.toSorted((left, right) => (left.session < right.session ? -1 : 1));
}

/** `strangeNames` break code that treats them as keys, SQL, C strings or UTF-8. */
export function workers(storage: () => Storage, strangeNames: readonly string[]): void {
  const see = (...all: RegisteredWorker[]): Promise<void> => storage().transaction((tx) => tx.saveWorkers(all));
  const workers = async (at = 0, namespace = "default"): Promise<RegisteredWorker[]> =>
    bySession(await storage().read((reader) => reader.workers(namespace, at)));

  describe("workers", () => {
    it("workers are loaded as they were saved, in their namespace", async () => {
      const { load: _, ...silent } = registered("b", { serves: [], shardKeys: [] });
      await see(silent, registered("a"), registered("a", { namespace: "other", worker: "theirs" }));
      expect(await workers()).toEqual([registered("a"), silent]);
      expect(await workers(0, "other")).toEqual([registered("a", { namespace: "other", worker: "theirs" })]);
      expect(await workers(0, "none")).toEqual([]);
    });

    it("a worker is live until its time is over", async () => {
      await see(registered("a", { liveUntil: 92_000 }), registered("b", { liveUntil: 3_600_000 }));
      expect((await workers(91_999)).map(({ session }) => session)).toEqual(["a", "b"]);
      expect((await workers(92_000)).map(({ session }) => session)).toEqual(["b"]);
    });

    it("a worker keeps its latest state and its earliest date, in whichever order its states are saved", async () => {
      await see(registered("a", { since: 1_000, seenAt: 3_000, load: { slots: 10, busy: 9 } }));
      await see(registered("a", { since: 500, seenAt: 2_999, worker: "before" }));
      expect(await workers()).toMatchObject([{ worker: "worker-1", seenAt: 3_000, load: { busy: 9 } }]);
      const { load: _, ...later } = registered("a", { since: 2_000, seenAt: 3_000, worker: "after", shardKeys: [] });
      await see(later);
      expect(await workers()).toEqual([{ ...later, since: 1_000 }]);
    });

    it("a worker that has left stays removed, whatever is saved later", async () => {
      await see(registered("a", { seenAt: 5_000 }));
      await see(registered("a", { seenAt: 4_000, liveUntil: 0 }));
      await see(registered("a", { seenAt: 9_000 }));
      expect(await workers()).toEqual([]);
    });

    it("a worker that left before it was saved is removed too", async () => {
      await see(registered("a", { liveUntil: 0, worker: "", serves: [] }));
      await see(registered("a", { seenAt: 9_000 }));
      expect(await workers()).toEqual([]);
    });

    it("a worker is deleted long after its last claim or heartbeat has expired", async () => {
      await see(
        registered("dead"),
        registered("patient", { liveUntil: 900_000 }),
        registered("gone", { liveUntil: 0 }),
      );
      await storage().transaction((tx) => tx.forgetWorkers(2_000));
      await see(registered("gone"));
      expect((await workers()).map(({ session }) => session)).toEqual(["dead", "patient"]);
      await storage().transaction((tx) => tx.forgetWorkers(92_001));
      await see(registered("gone"));
      expect((await workers()).map(({ session }) => session)).toEqual(["gone", "patient"]);
    });

    it("a transaction that is rolled back saves no worker", async () => {
      await see(registered("a"));
      const failing = storage().transaction(async (tx) => {
        await tx.saveWorkers([registered("a", { seenAt: 9_000 }), registered("b")]);
        await tx.forgetWorkers(1e9);
        expect(await tx.workers("default", 0)).toEqual([]);
        throw new Error("no");
      });
      await expect(failing).rejects.toThrow("no");
      expect(await workers()).toEqual([registered("a")]);
    });

    it("unusual names of workers are stored exactly and stay distinct", async () => {
      for (const strange of strangeNames) {
        const serves = [{ name: strange, versionId: strange }];
        const one = registered(strange, { namespace: strange, worker: strange, serves, shardKeys: [strange] });
        await see(one);
        expect(await workers(0, strange)).toEqual([one]);
      }
    });

    it("later changes of a saved object do not change the stored worker", async () => {
      const one = registered("a");
      await see(one);
      one.shardKeys.push("us");
      (await workers())[0]?.serves.pop();
      expect(await workers()).toEqual([registered("a")]);
    });
  });
}
