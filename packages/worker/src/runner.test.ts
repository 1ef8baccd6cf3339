import { AikiError, silentLogger } from "@aikirun/lib";
import type { ClaimedRun } from "@aikirun/lib/protocol";
import { claimedRun, type Script, scriptedApi } from "@aikirun/testing/scripted-api";
import { settled, virtualEnv } from "@aikirun/testing/virtual-env";
import { workflow } from "@aikirun/workflow";
import { type ActivationEnd, type Execution, type Host, registry } from "@aikirun/workflow/internal";
import { describe, expect, it } from "vitest";
import { instant } from "./leases.ts";
import { Runner } from "./runner.ts";

const order = workflow({ name: "order" });
order.v("1", { handler: async () => {} });

const accepting: Script = {
  renew: ({ runs }) => ({ results: runs.map(() => ({ ok: true, pause: false, inbox: 0 })) }),
  report: ({ reports }) => ({
    results: reports.map(() => ({ ok: true, first: 1, tail: 1, inbox: 0, entries: [], released: true, pause: false })),
  }),
};

/** An activation that the test ends. */
interface ManualActivation {
  host: Host;
  end: (end: ActivationEnd) => void;
}

function setup(slots: number, script: Script = accepting) {
  const env = virtualEnv();
  const { api, calls } = scriptedApi(script);
  const activations = new Map<string, ManualActivation>();
  const events: string[] = [];
  const begin = (host: Host, { id }: ClaimedRun) =>
    new Promise<ActivationEnd>((resolve) => activations.set(id, { host, end: resolve }));
  const createExecution = (_: unknown, host: Host): Execution => ({
    run: (claimed) => begin(host, claimed),
    resume: (claimed) => begin(host, claimed),
    receive: () => {},
    release: (reason) => events.push(`release for ${reason}`),
    abandon: (code) => events.push(`abandon for ${code}`),
    position: { seen: 0, after: 0 },
    tries: [],
    size: 1,
  });
  const warnings: Array<[string, unknown]> = [];
  const log = { ...silentLogger, warn: (message: string, fields: unknown) => warnings.push([message, fields]) };
  const logger = { ...log, child: () => log };
  const running = new Runner({
    client: { api, env, logger, url: null },
    registry: registry().add(order),
    createExecution,
    session: "s",
    worker: "w",
    slots,
    cacheLimits: { executions: 1, bytes: 100 },
    metrics: null,
    leaseMs: 90_000,
    heartbeatIntervalMs: 30_000,
    onFreed: () => events.push("freed"),
    onTakenBack: () => events.push("taken back"),
    onReclaim: (runId, fence) => events.push(`reclaim ${runId} under ${fence}`),
  });
  const take = async (...ids: string[]) => {
    for (const id of ids) running.take(claimedRun(id), instant(env));
    await settled();
  };
  const released = () => calls.report.flatMap(({ request }) => request.reports.map(({ runId }) => runId));
  return { env, running, take, activations, events, released, warnings };
}

describe("a run whose replay waits for a recorded call", () => {
  it("a run whose replay waits frees its slot, and takes it back when it continues", async () => {
    const { running, take, activations, events, released } = setup(1);
    await take("a");
    activations.get("a")?.host.expecting("step:s#0");
    expect([running.busy, events]).toEqual([0, ["freed"]]);
    await take("b");
    expect(activations.has("b")).toBe(true);
    activations.get("a")?.host.expecting(null);
    expect([running.busy, events]).toEqual([2, ["freed", "taken back"]]);
    expect(released()).toEqual([]);
  });

  it("a run whose replay waits keeps its slot if as many slots as there are were freed already", async () => {
    const { running, take, activations } = setup(1);
    await take("a");
    activations.get("a")?.host.expecting("step:s#0");
    await take("b");
    activations.get("b")?.host.expecting("step:s#0");
    expect(running.busy).toBe(1);
    activations
      .get("a")
      ?.end({ type: "stalled", stall: { reason: "diverged", call: "step:t#0", unclaimed: ["step:s#0"] } });
    await settled();
    expect(running.busy).toBe(0);
  });

  it("a run that was claimed for a freed slot is kept, and a run without a slot is released", async () => {
    const { take, activations, released } = setup(1);
    await take("a");
    activations.get("a")?.host.expecting("step:s#0");
    activations.get("a")?.host.expecting(null);
    await take("b", "c");
    expect([activations.has("b"), released()]).toEqual([true, ["c"]]);
  });

  it("a worker that stops waits for a run whose replay waits, and releases it", async () => {
    const { running, take, activations, events, released } = setup(1);
    await take("a");
    activations.get("a")?.host.expecting("step:s#0");
    running.drain();
    let isIdle = false;
    void running.idle().then(() => {
      isIdle = true;
    });
    await settled();
    expect([isIdle, events]).toEqual([false, ["freed", "release for shutdown"]]);
    await running.releaseAll();
    expect(released()).toEqual(["a"]);
    activations.get("a")?.end({ type: "lost", code: "SHUTDOWN" });
    await settled();
    expect(isIdle).toBe(true);
  });

  it("a replay that waits is logged once after 10 s, with the call", async () => {
    const { env, take, activations, warnings } = setup(1);
    await take("a");
    const since = new Date(env.now()).toISOString();
    activations.get("a")?.host.expecting("step:s#0");
    await env.advance(9_900);
    expect(warnings).toEqual([]);
    await env.advance(60_000);
    expect(warnings).toEqual([
      [expect.stringContaining("the replay waits"), expect.objectContaining({ runId: "a", call: "step:s#0", since })],
    ]);
  });

  it("a replay that waits is not logged after its run has left the worker", async () => {
    const { env, running, take, activations, warnings } = setup(1);
    await take("a");
    const { host, end } = activations.get("a") ?? {};
    host?.expecting("step:s#0");
    end?.({ type: "lost", code: "FENCED" });
    await settled();
    await take("b");
    host?.expecting(null);
    host?.expecting("step:s#0");
    await env.advance(60_000);
    expect([running.busy, warnings.map(([message]) => message)]).toEqual([1, ["lost"]]);
  });
});

describe("a run that is lost", () => {
  it.each([
    ["a run whose lease ended by the worker's clock is claimed again, because it may be suspended", "LEASE_LOST", 1],
    ["a run that is lost to another holder is not claimed again", "FENCED", 0],
  ] as const)("%s", async (_, code, reclaims) => {
    const { env, take, activations, events } = setup(1);
    const reclaimed = () => events.filter((event) => event === "reclaim a under 1");
    await take("a");
    activations.get("a")?.end({ type: "lost", code });
    await settled();
    expect(reclaimed()).toHaveLength(reclaims);
    // The report that suspends the run may be recorded only now.
    await env.advance(90_000);
    expect(reclaimed()).toHaveLength(2 * reclaims);
  });

  it("a lost run that this worker has claimed again is not claimed a second time", async () => {
    const { env, take, activations, events } = setup(1);
    await take("a");
    activations.get("a")?.end({ type: "lost", code: "LEASE_LOST" });
    await settled();
    await take("a");
    await env.advance(90_000);
    expect(events.filter((event) => event === "reclaim a under 1")).toHaveLength(1);
  });

  it.each([
    ["a run is lost if the run watch returns that it is lost", false, 1],
    ["a run that was suspended is not lost, even if its execution has not received the answer", true, 0],
  ])("%s", async (_, isSuspended, abandoned) => {
    let answer = () => {};
    const watch: Script["watch"] = () =>
      new Promise((resolve) => {
        answer = () => resolve({ results: [{ type: "lost", runId: "a", code: "FENCED" }] });
      });
    const { env, take, activations, events } = setup(1, { ...accepting, watch });
    await take("a");
    await env.advance(100);
    if (isSuspended) {
      const next = { type: "suspend", children: 0 } as const;
      await activations.get("a")?.host.report({ seen: 0, after: 0, entries: [], opens: [], starts: [], next });
    }
    answer();
    await settled();
    expect(events.filter((event) => event === "abandon for FENCED")).toHaveLength(abandoned);
  });

  it("a worker repeats the report of a suspension that gets no reply, until the lease has ended", async () => {
    const unreachable = () => Promise.reject(new AikiError("UNREACHABLE", "No answer."));
    const watch: Script["watch"] = () => ({ results: [{ type: "lost", runId: "a", code: "FENCED" }] });
    const renew: Script["renew"] = ({ runs }) => ({
      results: runs.map(() => ({ ok: false, code: "FENCED", message: "" })),
    });
    const { env, take, activations, events, released } = setup(1, { renew, report: unreachable, watch });
    await take("a");
    let end = "none";
    const next = { type: "suspend", children: 0 } as const;
    const report = activations.get("a")?.host.report({ seen: 0, after: 0, entries: [], opens: [], starts: [], next });
    void report?.catch((error: AikiError) => {
      end = error.code;
    });
    await env.advance(8_000);
    expect([end, events, released().length > 5]).toEqual(["none", [], true]);
    await env.advance(4_000);
    expect([end, events]).toEqual(["LEASE_LOST", []]);
  });

  it("a worker that stops does not claim a lost run again", async () => {
    const { running, take, activations, events } = setup(1);
    await take("a");
    running.drain();
    activations.get("a")?.end({ type: "lost", code: "LEASE_LOST" });
    await settled();
    expect(events.filter((event) => event.startsWith("reclaim"))).toEqual([]);
  });
});

async function suspend({ take, activations }: ReturnType<typeof setup>, ...ids: string[]): Promise<void> {
  for (const id of ids) {
    await take(id);
    activations.get(id)?.end({ type: "suspended" });
    await settled();
  }
}

describe("a cached execution", () => {
  it("a cached execution is abandoned if the journal of its next claim cannot be read", async () => {
    const read: Script["read"] = () => ({
      results: [{ ok: false, code: "RUN_NOT_FOUND", message: "There is no run a." }],
    });
    const set = setup(1, { ...accepting, read });
    await suspend(set, "a");
    set.running.take({ ...claimedRun("a"), fence: 2, isCached: true, journalCutAt: 1 }, instant(set.env));
    await settled();
    expect(set.events.filter((event) => event.startsWith("abandon"))).toEqual(["abandon for EVICTED"]);
  });
});

describe("a suspended execution that was evicted", () => {
  it("the run of an evicted execution is claimed again when its non-durable work has ended", async () => {
    const set = setup(1);
    await suspend(set, "a", "b");
    const { host } = set.activations.get("a") ?? {};
    set.events.length = 0;
    host?.reclaim();
    expect(set.events).toEqual(["reclaim a under 1"]);
    set.running.take({ ...claimedRun("a"), fence: 2, isCached: true }, instant(set.env));
    await settled();
    expect(set.activations.get("a")?.host).toBe(host);
  });

  it("the run of an evicted execution is not claimed again while it is already claimed", async () => {
    const set = setup(1);
    await suspend(set, "a");
    const { host } = set.activations.get("a") ?? {};
    set.events.length = 0;
    set.running.take({ ...claimedRun("a"), fence: 2, isCached: true }, instant(set.env));
    host?.reclaim();
    await settled();
    expect(set.events).toEqual([]);
    expect(set.activations.get("a")?.host).toBe(host);
  });

  it("an evicted execution is not resumed after the run was claimed without it", async () => {
    const set = setup(1);
    await suspend(set, "a", "b");
    const { host } = set.activations.get("a") ?? {};
    set.running.take({ ...claimedRun("a"), fence: 3 }, instant(set.env));
    await settled();
    set.events.length = 0;
    host?.reclaim();
    expect(set.events).toEqual(["abandon for EVICTED"]);
  });

  it("an evicted execution is not resumed after the worker was stopped", async () => {
    const set = setup(1);
    await suspend(set, "a", "b");
    set.running.drain();
    set.events.length = 0;
    set.activations.get("a")?.host.reclaim();
    expect(set.events).toEqual(["abandon for EVICTED"]);
  });
});
