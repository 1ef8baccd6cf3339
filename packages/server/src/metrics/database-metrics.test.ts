import { AikiError } from "@aikirun/lib";
import { Registry } from "prom-client";
import { beforeEach, describe, expect, it } from "vitest";
import { type EngineRig, rig } from "../../test/rig.ts";
import { memoryStorage } from "../storage/memory/memory.ts";
import { databaseMetrics } from "./database-metrics.ts";

let engine: EngineRig;
let registry: Registry;
let refresh: () => Promise<void>;

beforeEach(() => {
  engine = rig();
  registry = new Registry();
  refresh = databaseMetrics({ registry, storage: engine.storage, env: engine.env });
});

async function gauges(): Promise<string[]> {
  await refresh();
  return (await registry.metrics()).split("\n").filter((line) => line.includes("{"));
}

const order = 'namespace="default",workflow="order",version="1"';

describe("gauges of the database", () => {
  it("a queue that no live worker serves is no_worker, and its age is that of its oldest run", async () => {
    const session = engine.openSession();
    await session.start();
    await engine.env.advance(4_000);
    await session.start();
    expect(await gauges()).toEqual([
      `aiki_queue_depth{${order},shard="",reason="no_worker"} 2`,
      `aiki_queue_oldest_seconds{${order},shard=""} 4`,
    ]);
  });

  it("a queue is ready if a worker that serves it has a free slot, and blocked if all slots are busy", async () => {
    const session = engine.openSession();
    const saved = (busy: number) => session.claim({ limit: 1, load: { slots: 1, busy } });
    await saved(0);
    await engine.env.advance(1_000);
    await session.start();
    expect(await gauges()).toContain(`aiki_queue_depth{${order},shard="",reason="ready"} 1`);
    expect(await gauges()).toContain('aiki_worker_slots{namespace="default",state="free"} 1');
    await saved(1);
    await session.start();
    await engine.env.advance(20_000);
    expect(await gauges()).toContain(`aiki_queue_depth{${order},shard="",reason="blocked"} 1`);
    expect(await gauges()).toContain('aiki_worker_slots{namespace="default",state="busy"} 1');
  });

  it("stalled runs are counted by reason until they continue", async () => {
    const session = engine.openSession();
    const id = await session.start();
    const run = await session.claimOne();
    await session.report(run, { type: "stall", stall: { reason: "idle", idleMs: 5 } });
    expect(await gauges()).toEqual([`aiki_stalled_runs{${order},reason="idle"} 1`]);
    await session.signal(id, { type: "cancel" });
    await engine.env.advance(10_000);
    expect(await gauges()).toEqual([]);
  });

  it("the database is read at most once in ten seconds, however many scrapes arrive", async () => {
    engine.storage.takeCounts();
    await Promise.all([refresh(), refresh()]);
    await refresh();
    expect(engine.storage.takeCounts().reads).toBe(1);
    engine.env.jump(10_000);
    await refresh();
    expect(engine.storage.takeCounts().reads).toBe(1);
  });

  it("gauges have no values while the database cannot be read", async () => {
    await engine.openSession().start();
    let isFailing = false;
    const read: typeof engine.storage.read = (work) =>
      isFailing ? Promise.reject(new AikiError("STORAGE_UNAVAILABLE", "It is down.")) : engine.storage.read(work);
    const other = new Registry();
    const update = databaseMetrics({ registry: other, storage: { read }, env: engine.env });
    await update();
    expect(await other.metrics()).toContain("aiki_queue_depth{");
    isFailing = true;
    engine.env.jump(10_000);
    await update();
    expect(await other.metrics()).not.toContain("aiki_queue_depth{");
  });

  it("queues beyond the limit of series are counted as other", async () => {
    const storage = memoryStorage(engine);
    const many = rig({ inner: storage, env: engine.env });
    const session = many.openSession();
    const specs = Array.from({ length: 503 }, (_, n) => session.spec({ name: `w-${String(n).padStart(3, "0")}` }));
    for (let first = 0; first < specs.length; first += 100) {
      await session.api.start({ runs: specs.slice(first, first + 100) });
    }
    const other = new Registry();
    await databaseMetrics({ registry: other, storage, env: engine.env })();
    const text = await other.metrics();
    expect(text.match(/^aiki_queue_depth\{/gm)).toHaveLength(501);
    expect(text).toContain('workflow="other",version="other",shard="other",reason="no_worker"} 3');
  });
});
