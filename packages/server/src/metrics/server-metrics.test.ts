import { silentLogger } from "@aikirun/lib";
import { describe, expect, it } from "vitest";
import { type EngineRig, rig } from "../../test/rig.ts";
import { memoryStorage } from "../storage/memory/memory.ts";
import { type ServerMetrics, serverMetrics } from "./server-metrics.ts";

/** The metrics of everything that the rig has committed. */
async function scraped(engine: EngineRig, namespace: string | null = null): Promise<Map<string, number>> {
  const metrics = serverMetrics({ storage: memoryStorage(engine), env: engine.env, logger: silentLogger });
  for (const batch of engine.batches) metrics.observe(batch);
  return samples(metrics, namespace);
}

/** Every sample except buckets, by its name with its labels. */
async function samples(metrics: ServerMetrics, namespace: string | null): Promise<Map<string, number>> {
  const { text } = await metrics.scrape(namespace);
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#") && !line.includes("_bucket{"));
  return new Map(
    lines.map((line) => {
      const space = line.lastIndexOf(" ");
      return [line.slice(0, space), Number(line.slice(space + 1))];
    }),
  );
}

const order = 'namespace="default",workflow="order",version="1"';
const finish = { type: "finish", outcome: { status: "completed", output: "1" } } as const;

describe("what a commit did to runs", () => {
  it("a run is counted when it starts, when a worker claims it and when it ends", async () => {
    const engine = rig();
    const session = engine.openSession();
    await session.start();
    await engine.env.advance(2_000);
    const run = await session.claimOne();
    await engine.env.advance(3_000);
    await session.report(run, finish);
    const found = await scraped(engine);
    expect(found.get(`aiki_runs_started_total{${order}}`)).toBe(1);
    expect(found.get(`aiki_runs_finished_total{${order},status="completed"}`)).toBe(1);
    expect(found.get(`aiki_run_queue_seconds_sum{${order}}`)).toBe(2);
    expect(found.get(`aiki_run_duration_seconds_sum{${order}}`)).toBe(5);
  });

  it("a lease that ends without a report is counted, and so is each claim of the run", async () => {
    const engine = rig();
    await engine.engine.start();
    const session = engine.openSession();
    await session.start();
    await session.claimOne();
    await engine.env.advance(100_000);
    await session.claimOne();
    await engine.engine.close();
    const found = await scraped(engine);
    expect(found.get(`aiki_leases_expired_total{${order}}`)).toBe(1);
    expect(found.get(`aiki_run_queue_seconds_count{${order}}`)).toBe(2);
    expect(found.get(`aiki_runs_started_total{${order}}`)).toBe(1);
  });

  it("a timer is measured from the moment at which it was over", async () => {
    const engine = rig();
    const session = engine.openSession();
    await session.start({ delayMs: 1_000 });
    engine.env.jump(3_500);
    await engine.engine.start();
    await engine.env.advance(10);
    await engine.engine.close();
    const found = await scraped(engine);
    expect(found.get("aiki_timer_lateness_seconds_count")).toBe(1);
    expect(found.get("aiki_timer_lateness_seconds_sum")).toBeCloseTo(2.5, 1);
  });

  it("a transaction that is rolled back and decided again is counted once", async () => {
    const engine = rig();
    const session = engine.openSession();
    engine.storage.faults.push("during");
    const spec = session.spec();
    await session.tryStart(spec).catch(() => null);
    await session.tryStart(spec);
    await session.tryStart(spec);
    expect((await scraped(engine)).get(`aiki_runs_started_total{${order}}`)).toBe(1);
  });
});

describe("who sees which samples", () => {
  it("the metrics of one namespace contain no other namespace, whatever its name contains", async () => {
    const engine = rig();
    const names = ["default", "team", 'a"b\\c', '",namespace="team"', "default,namespace="];
    for (const name of names) await engine.openSession(name).start({ name: 'x",namespace="team' });
    for (const name of names) {
      const started = [...(await scraped(engine, name)).keys()].filter((key) => key.startsWith("aiki_runs_started"));
      expect(started).toEqual([
        `aiki_runs_started_total{namespace="${escaped(name)}",workflow="x\\",namespace=\\"team",version="1"}`,
      ]);
    }
    expect((await scraped(engine)).size).toBeGreaterThanOrEqual(names.length);
  });
});

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"');
}
