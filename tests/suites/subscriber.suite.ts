/** The requirements of a worker with any subscriber. */

import { AikiError } from "@aikirun/lib";
import type { Api } from "@aikirun/lib/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { type HarnessOptions, type StartedWorker, WorkerHarness } from "./worker-harness.ts";

/** How long a run may wait for an idle worker, with an allowance for a machine under load. Milliseconds. */
const soonMs = 4_000;

export function subscriberSuite(title: string, options: () => HarnessOptions): void {
  describe(title, () => {
    let harness: WorkerHarness;
    const open = async () => {
      harness = await WorkerHarness.open(options());
    };
    afterEach(() => harness.close());

    const completed = (ids: readonly string[]) => Promise.all(ids.map((id) => harness.completes(id)));
    const startMany = (count: number, input = {}) =>
      Promise.all(Array.from({ length: count }, () => harness.start(input)));
    const doneBy = (...started: StartedWorker[]) => started.flatMap(({ done }) => done);

    it("a worker executes each run of a burst once, and at most as many at once as it has slots", async () => {
      await open();
      const started = await harness.startWorker({ maxConcurrentWorkflowRuns: 4 });
      const ids = await startMany(80, { ms: 5 });
      await completed(ids);
      expect(doneBy(started).toSorted()).toEqual(ids.toSorted());
      expect(started.busy.most).toBeLessThanOrEqual(4);
      expect(started.lines.filter((line) => !line.startsWith("info"))).toEqual([]);
    });

    it("a worker executes runs that were queued before its start", async () => {
      await open();
      const ids = await startMany(10);
      await harness.startWorker();
      await completed(ids);
    });

    it("an idle worker begins a run soon", async () => {
      await open();
      await harness.startWorker();
      const first = await harness.start();
      await harness.completes(first);
      const began = performance.now();
      await harness.completes(await harness.start());
      expect(performance.now() - began).toBeLessThan(soonMs);
    });

    it("two workers share a burst and execute each run once", async () => {
      await open();
      const all = await Promise.all([1, 2, 3].map(() => harness.startWorker({ maxConcurrentWorkflowRuns: 2 })));
      const ids = await startMany(60, { ms: 20 });
      await completed(ids);
      expect(doneBy(...all).toSorted()).toEqual(ids.toSorted());
      for (const { busy } of all) expect(busy.most).toBeLessThanOrEqual(2);
      for (const { done } of all) expect(done.length).toBeGreaterThan(0);
    });

    it("a worker executes workflows that are registered after its start", async () => {
      await open();
      const started = await harness.startWorker();
      await harness.completes(await harness.start());
      const later = `${harness.name}-later`;
      const queued = await harness.start({}, undefined, later);
      started.worker.registry.add(harness.job(later, started));
      await harness.completes(queued);
      await harness.completes(await harness.start({}, undefined, later));
    });

    it("a worker executes only runs of its shards", async () => {
      await open();
      const [eu, us] = [
        await harness.startWorker({ shardKeys: ["eu", "de"] }),
        await harness.startWorker({ shardKeys: ["us"] }),
      ];
      const of = async (shardKey: string) => Promise.all([1, 2, 3].map(() => harness.start({}, shardKey)));
      const ids = { eu: [...(await of("eu")), ...(await of("de"))], us: await of("us") };
      const unserved = await harness.start();
      await completed([...ids.eu, ...ids.us]);
      expect([eu.done.toSorted(), us.done.toSorted()]).toEqual([ids.eu.toSorted(), ids.us.toSorted()]);
      expect(await harness.statusOf(unserved)).toBe("queued");
    });

    it("a worker continues runs after their sleep", async () => {
      await open();
      await harness.startWorker();
      await completed(await startMany(5, { sleepMs: 50 }));
    });

    it("a worker gets the runs of a claim without a reply before their lease expires", async () => {
      await open();
      let left = 3;
      await harness.startWorker({}, (api) => losing(api, (runs) => runs > 0 && left-- > 0));
      const ids = await startMany(12);
      await completed(ids);
      expect(left).toBeLessThan(0);
      for (const id of ids) expect(await harness.wasRecovered(id)).toBe(false);
    });

    it("a worker continues after its server was unreachable", async () => {
      await open();
      let isAway = false;
      const started = await harness.startWorker({}, (api) => losing(api, () => isAway));
      await harness.completes(await harness.start());
      isAway = true;
      const ids = await startMany(3);
      await expect
        .poll(() => started.lines, { timeout: 20_000 })
        .toContainEqual(expect.stringContaining("claim failed"));
      isAway = false;
      await completed(ids);
    });

    it("a worker that waits for runs stops in time and claims nothing afterwards", async () => {
      await open();
      const started = await harness.startWorker({ gracefulShutdownTimeoutMs: 5_000 });
      await harness.completes(await harness.start());
      const began = performance.now();
      await started.worker.stop();
      expect(performance.now() - began).toBeLessThan(5_000);
      const late = await harness.start();
      const other = await harness.startWorker();
      await harness.completes(late);
      expect([started.done.includes(late), other.done]).toEqual([false, [late]]);
    });
  });
}

/** Executes claims, but drops their replies while `loses` returns true. */
function losing(api: Api, loses: (runs: number) => boolean): Api {
  return {
    ...api,
    async claim(request, options) {
      const reply = await api.claim(request, options);
      if (loses(reply.runs.length)) throw new AikiError("UNREACHABLE", "The reply was lost.");
      return reply;
    },
  };
}
