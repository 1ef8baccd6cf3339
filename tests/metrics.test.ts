/** The metrics of a running server and worker, and the documents, board and alert rules that name them. */

import { readFile } from "node:fs/promises";
import { client } from "@aikirun/client";
import { silentLogger } from "@aikirun/lib";
import { server } from "@aikirun/server";
import { task } from "@aikirun/task";
import { worker } from "@aikirun/worker";
import { workflow } from "@aikirun/workflow";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const charge = task({
  name: "charge: card",
  retry: { type: "fixed", maxAttempts: 2, delayMs: 1 },
  handler: async (_: string, { attempt }) => {
    if (attempt === 1) throw new Error("The bank is closed.");
    return "paid";
  },
});

const order = workflow({ name: "order" });
const orderV1 = order.v("1.0.0", {
  handler: async (run, card: string) => {
    const paid = await charge.start(run, card);
    await run.sleep({ milliseconds: 1 });
    return paid;
  },
});

const ends: Array<() => Promise<unknown>> = [];
let text = "";
let secrets: string[] = [];

beforeAll(async () => {
  const aikiServer = await server({ database: "memory:", logger: silentLogger, auth: true });
  const key = await aikiServer.keys.create({ name: "ci" });
  const { url } = await aikiServer.listen({ port: 0 });
  const aiki = await client({ url, apiKey: key.secret, logger: silentLogger });
  const aikiWorker = worker(aiki, { metrics: aikiServer.metrics, id: "worker-label" });
  ends.push(
    () => aikiWorker.stop(),
    () => aiki.close(),
    () => aikiServer.close(),
  );
  aikiWorker.registry.add(order);
  await aikiWorker.start();
  const handle = await orderV1.start(aiki, "card", { referenceId: "reference-7" });
  await handle.result();
  const { secret } = await aikiServer.keys.create({ name: "prometheus", scopes: ["metrics:read"] });
  const reply = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${secret}` } });
  text = await reply.text();
  secrets = [handle.id, "reference-7", key.secret, key.id, secret, "worker-label"];
});

afterAll(async () => {
  for (const end of ends) await end();
});

/** The metrics of the server and the worker. */
function exposed(): string[] {
  return [...text.matchAll(/^# TYPE (aiki_\w+) /gm)].map(([, name = ""]) => name).sort();
}

function read(path: string): Promise<string> {
  return readFile(new URL(`../${path}`, import.meta.url), "utf8");
}

/** The metrics that a text names, without the suffixes of histograms. */
function named(source: string): string[] {
  const names = [...source.matchAll(/\baiki_[a-z_]+\b/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, ""));
  return [...new Set(names)].sort();
}

describe("the metrics of a server and its worker", () => {
  it("a run is counted from its start to its end, with its task", () => {
    const version = 'workflow="order",version="1.0.0"';
    expect(text).toContain(`aiki_runs_started_total{namespace="default",${version}} 1`);
    expect(text).toContain(`aiki_runs_finished_total{namespace="default",${version},status="completed"} 1`);
    expect(text).toContain(`aiki_task_attempts_total{${version},task="charge: card"} 2`);
    expect(text).toContain(`aiki_task_duration_seconds_count{${version},task="charge: card",outcome="retrying"} 1`);
    expect(text).toContain(`aiki_task_duration_seconds_count{${version},task="charge: card",outcome="succeeded"} 1`);
    expect(text).toMatch(/^aiki_timer_lateness_seconds_count 1$/m);
    expect(text).toMatch(/^aiki_http_request_seconds_count\{verb="start",status="200"\} 1$/m);
    expect(text).toMatch(/^aiki_store_seconds_count\{operation="transaction"\} \d+$/m);
  });

  it("labels have only the documented names", () => {
    const labels = [...text.matchAll(/[{,](\w+)="/g)].map(([, label]) => label);
    const open = ["namespace", "workflow", "version", "task", "shard", "status", "reason", "outcome"];
    const own = ["le", "code", "operation", "verb", "state"];
    expect([...new Set(labels)].filter((label) => ![...open, ...own].includes(label ?? ""))).toEqual([]);
    expect(labels.length).toBeGreaterThan(0);
  });

  it("no label contains a run id, a reference, a key or the label of a worker", () => {
    for (const secret of secrets) expect(text).not.toContain(secret);
    expect(text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
  });
});

describe("the documents about metrics", () => {
  it("the page describes every metric and no other", async () => {
    const rows = [...(await read("docs/metrics.md")).matchAll(/^\| `(aiki_\w+)` \|/gm)].map(([, name = ""]) => name);
    expect(rows.sort()).toEqual(exposed());
  });

  it("every metric is on the Grafana board, and the board names no other", async () => {
    expect(named(await read("deploy/grafana/aiki.json"))).toEqual(exposed());
  });

  it("alert rules name only metrics that exist", async () => {
    const metrics = named(await read("deploy/prometheus/alerts.yaml"));
    expect(metrics.filter((name) => !exposed().includes(name))).toEqual([]);
    expect(metrics.length).toBeGreaterThan(5);
  });

  it("the page describes every alert rule and no other", async () => {
    const documented = [...(await read("docs/metrics.md")).matchAll(/^\| `(Aiki\w+)` \|/gm)].map(([, name]) => name);
    const rules = [...(await read("deploy/prometheus/alerts.yaml")).matchAll(/- alert: (\w+)/g)].map(
      ([, name]) => name,
    );
    expect(documented).toEqual(rules);
  });
});
