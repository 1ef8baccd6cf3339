import { client } from "@aikirun/client";
import { type MetricLabels, type MetricOptions, type Metrics, silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { event, workflow } from "@aikirun/workflow";
import { afterEach, describe, expect, it } from "vitest";
import { workerMetrics } from "./metrics.ts";
import { worker } from "./worker.ts";

/** Metrics that keep each sample as text, and refuse to create a metric twice, as prom-client does. */
function recording(): { metrics: Metrics; samples: string[] } {
  const samples: string[] = [];
  const names = new Set<string>();
  class Recorded {
    readonly #name: string;
    constructor({ name }: MetricOptions) {
      if (names.has(name)) throw new Error(`A metric with the name ${name} has already been registered.`);
      names.add(name);
      this.#name = name;
    }
    inc(labels: MetricLabels, value: number): void {
      samples.push([this.#name, ...Object.values(labels), value].join(" "));
    }
    observe(labels: MetricLabels, value: number): void {
      this.inc(labels, value);
    }
  }
  return { metrics: { Counter: Recorded, Histogram: Recorded }, samples };
}

const run = { name: "order", versionId: "1.0.0" };

describe("what a worker counts", () => {
  it("each recorded attempt of a task or step is counted with its time and outcome", () => {
    const { metrics, samples } = recording();
    const error = { name: "E", message: "m" };
    const entries = [
      { address: "task:charge:a#0/1", startedAt: 1_000, value: { type: "retrying", error, retryInMs: 1 } },
      { address: "task:charge:a#0", startedAt: 2_000, value: { type: "returned" } },
      { address: "step:pack#0", startedAt: 2_500, value: { type: "threw", error } },
      { address: "now:#0", value: { type: "observed", data: "1" } },
    ] as const;
    workerMetrics(metrics, silentLogger).recorded(run, entries, 3_000);
    expect(samples).toEqual([
      "aiki_task_attempts_total order 1.0.0 charge 1",
      "aiki_task_duration_seconds order 1.0.0 charge retrying 2",
      "aiki_task_attempts_total order 1.0.0 charge 1",
      "aiki_task_duration_seconds order 1.0.0 charge succeeded 1",
      "aiki_task_attempts_total order 1.0.0 pack 1",
      "aiki_task_duration_seconds order 1.0.0 pack failed 0.5",
    ]);
  });

  it("two workers may share one object", () => {
    const { metrics, samples } = recording();
    for (const _ of [1, 2]) workerMetrics(metrics, silentLogger).replayed(run, 250);
    expect(samples).toEqual(["aiki_replay_seconds order 1.0.0 0.25", "aiki_replay_seconds order 1.0.0 0.25"]);
  });

  it("metrics that throw are logged and do not throw into the run", () => {
    const errors: string[] = [];
    const logger = { ...silentLogger, error: (message: string) => errors.push(message) };
    const { metrics } = recording();
    const failing = workerMetrics(
      {
        ...metrics,
        Histogram: class {
          observe() {
            throw new Error("full");
          }
        },
      },
      logger,
    );
    failing.replayed(run, 1);
    expect(errors).toEqual(["the metrics given to the worker failed"]);
  });
});

describe("a replay", () => {
  const ends: Array<() => Promise<void>> = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  it("is measured by the worker that continues a run from its journal, and not by the one that began it", async () => {
    const order = workflow({ name: "order" });
    const v1 = order.v("1.0.0", {
      events: { approved: event() },
      handler: async (run) => {
        await run.step("pack", async () => 1);
        await run.events.approved.wait();
      },
    });
    const aikiServer = await server({ database: "memory:", logger: silentLogger });
    const aiki = await client({ server: aikiServer, logger: silentLogger });
    ends.push(
      () => aikiServer.close(),
      () => aiki.close(),
    );
    const begin = async (metrics: Metrics) => {
      const one = worker(aiki, { metrics });
      one.registry.add(order);
      await one.start();
      ends.push(() => one.stop());
      return one;
    };
    const [first, second] = [recording(), recording()];
    const beginner = await begin(first.metrics);
    const handle = await v1.start(aiki);
    await handle.waitFor("awaiting_event");
    await beginner.stop();
    await begin(second.metrics);
    await handle.events.approved.send();
    await handle.result();
    const names = (samples: string[]) => samples.map((sample) => sample.slice(0, sample.lastIndexOf(" ")));
    expect(names(first.samples)).toEqual([
      "aiki_task_attempts_total order 1.0.0 pack",
      "aiki_task_duration_seconds order 1.0.0 pack succeeded",
    ]);
    expect(names(second.samples)).toEqual(["aiki_replay_seconds order 1.0.0"]);
  });
});
