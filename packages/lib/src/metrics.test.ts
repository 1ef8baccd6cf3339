import { describe, expect, it } from "vitest";
import { createCounter, createHistogram, limitedSeries, type MetricOptions, type Metrics } from "./metrics.ts";

describe("limitedSeries", () => {
  it("combinations beyond the limit get other as the value of every label that users name", () => {
    const limited = limitedSeries(2);
    const of = (workflow: string, status: string) => limited({ workflow, status });
    expect([of("a", "failed"), of("b", "failed")]).toEqual([
      { workflow: "a", status: "failed" },
      { workflow: "b", status: "failed" },
    ]);
    expect(of("c", "failed")).toEqual({ workflow: "other", status: "failed" });
    expect(of("a", "completed")).toEqual({ workflow: "other", status: "completed" });
    expect(of("a", "failed")).toEqual({ workflow: "a", status: "failed" });
  });
});

describe("instruments", () => {
  it("a metric is created in the given registries, and a negative duration counts as zero", () => {
    const created: MetricOptions[] = [];
    const values: number[] = [];
    class Recorded {
      constructor(options: MetricOptions) {
        created.push(options);
      }
      inc(_: unknown, value: number): void {
        values.push(value);
      }
      observe(_: unknown, value: number): void {
        values.push(value);
      }
    }
    const metrics: Metrics = { Counter: Recorded, Histogram: Recorded, registers: ["own"] };
    createCounter(metrics, { name: "a_total", help: "A.", labels: ["task"] }).inc({ task: "t" }, 2);
    createHistogram(metrics, { name: "b_seconds", help: "B.", labels: [], buckets: [1] }).observe({}, -1);
    expect(created).toEqual([
      { name: "a_total", help: "A.", labelNames: ["task"], registers: ["own"] },
      { name: "b_seconds", help: "B.", labelNames: [], buckets: [1], registers: ["own"] },
    ]);
    expect(values).toEqual([2, 0]);
  });
});
