/** What holds for whoever works, however it learns of runs. */

import { AikiError } from "@aikirun/lib";
import type { Api } from "@aikirun/lib/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { type HarnessOptions, type StartedWorker, WorkerHarness } from "./worker-harness.ts";

/** How long a run may wait for a worker that has nothing to do. Milliseconds; a machine under load needs some. */
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

    it("executes each run of a burst once, and never more at once than it has slots", async () => {
      await open();
      const started = await harness.startWorker({ maxConcurrentWorkflowRuns: 4 });
      const ids = await startMany(80, { ms: 5 });
      await completed(ids);
      expect(doneBy(started).toSorted()).toEqual(ids.toSorted());
      expect(started.busy.most).toBeLessThanOrEqual(4);
      expect(started.lines.filter((line) => !line.startsWith("info"))).toEqual([]);
    });

    it("executes what was queued before it came", async () => {
      await open();
      const ids = await startMany(10);
      await harness.startWorker();
      await completed(ids);
    });

    it("begins a run soon when it has nothing else to do", async () => {
      await open();
      await harness.startWorker();
      const first = await harness.start();
      await harness.completes(first);
      const began = performance.now();
      await harness.completes(await harness.start());
      expect(performance.now() - began).toBeLessThan(soonMs);
    });

    it("shares a burst with its like, each run once", async () => {
      await open();
      const all = await Promise.all([1, 2, 3].map(() => harness.startWorker({ maxConcurrentWorkflowRuns: 2 })));
      const ids = await startMany(60, { ms: 20 });
      await completed(ids);
      expect(doneBy(...all).toSorted()).toEqual(ids.toSorted());
      for (const { busy } of all) expect(busy.most).toBeLessThanOrEqual(2);
      for (const { done } of all) expect(done.length).toBeGreaterThan(0);
    });

    it("executes what is registered while it works", async () => {
      await open();
      const started = await harness.startWorker();
      await harness.completes(await harness.start());
      const later = `${harness.name}-later`;
      const queued = await harness.start({}, undefined, later);
      started.worker.registry.add(harness.job(later, started));
      await harness.completes(queued);
      await harness.completes(await harness.start({}, undefined, later));
    });

    it("executes the runs of its shards, and no others", async () => {
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

    it("goes on with runs that slept", async () => {
      await open();
      await harness.startWorker();
      await completed(await startMany(5, { sleepMs: 50 }));
    });

    it("gets the runs of a claim whose answer was lost, before their lease ends", async () => {
      await open();
      let left = 3;
      await harness.startWorker({}, (api) => losing(api, (runs) => runs > 0 && left-- > 0));
      const ids = await startMany(12);
      await completed(ids);
      expect(left).toBeLessThan(0);
      for (const id of ids) expect(await harness.wasRecovered(id)).toBe(false);
    });

    it("works on when a server that was away is back", async () => {
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

    it("takes nothing after it was stopped, and stops in time though it waits", async () => {
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

/** Claims are carried out, but these answers never arrive. */
function losing(api: Api, loses: (runs: number) => boolean): Api {
  return {
    ...api,
    async claim(request, options) {
      const reply = await api.claim(request, options);
      if (loses(reply.runs.length)) throw new AikiError("UNREACHABLE", "The answer was lost.");
      return reply;
    },
  };
}
