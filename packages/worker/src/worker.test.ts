import { client } from "@aikirun/client";
import { AikiError, type ErrorCode, silentLogger } from "@aikirun/lib";
import type { Entry, ReportResult } from "@aikirun/lib/protocol";
import { claimedRun, entry, type Script, scriptedApi, untilAborted, viewOf } from "@aikirun/testing/scripted-api";
import { settled, virtualEnv } from "@aikirun/testing/virtual-env";
import { workflow } from "@aikirun/workflow";
import { describe, expect, it } from "vitest";
import type { WorkerParams } from "./config.ts";
import type { Subscriber } from "./subscribers/subscriber.ts";
import { worker } from "./worker.ts";

const order = workflow({ name: "order" });
order.v("1", { handler: async (run) => run.step("s1", async () => "ran") });

const napping = workflow({ name: "order" });
napping.v("1", {
  handler: async (run) => {
    await run.sleep({ minutes: 1 });
  },
});

const done: ReportResult = { ok: true, first: 1, tail: 1, inbox: 0, entries: [], released: true, pause: false };

/** A worker of a server that accepts reports and heartbeats, unless the script replaces a verb. */
async function setup(script: Script, params: WorkerParams = {}) {
  const env = virtualEnv();
  const scripted = scriptedApi({
    renew: ({ runs }) => ({ results: runs.map(() => ({ ok: true, pause: false, inbox: 0 })) }),
    report: ({ reports }) => ({ results: reports.map(() => done) }),
    ...script,
  });
  const aiki = await client({ server: { api: () => scripted.api }, env, logger: silentLogger });
  const aikiWorker = worker(aiki, { maxConcurrentWorkflowRuns: 5, ...params });
  aikiWorker.registry.add(order);
  const reports = () => scripted.calls.report.flatMap(({ request }) => request.reports);
  return { env, aikiWorker, reports, ...scripted };
}

const once = (...runs: ReturnType<typeof claimedRun>[]): NonNullable<Script["claim"]> => {
  let left = runs;
  return (_, signal) => {
    const now = left;
    left = [];
    return now.length > 0 ? { runs: now } : untilAborted(signal);
  };
};

const failing = (code: ErrorCode): Script => ({
  renew: () => {
    throw new AikiError(code, "No.");
  },
});

describe("starting a worker", () => {
  it("worker() requires a client, not a promise of one", () => {
    for (const wrong of [undefined, {}, Promise.resolve()]) {
      const refusal = {
        code: "INVALID_CLIENT",
        message: expect.stringContaining("the value that client() resolves to"),
      };
      expect(() => Reflect.apply(worker, null, [wrong])).toThrow(expect.objectContaining(refusal));
    }
  });

  it("start rejects at once if the credentials are refused", async () => {
    const { aikiWorker } = await setup(failing("UNAUTHORIZED"));
    await expect(aikiWorker.start()).rejects.toMatchObject({ code: "UNAUTHORIZED" });
  });

  it("start rejects after the server was unreachable for 30 s, and may be called again", async () => {
    let isUp = false;
    const { env, aikiWorker } = await setup({
      renew: () => {
        if (!isUp) throw new AikiError("UNREACHABLE", "No answer.");
        return { results: [] };
      },
    });
    let rejected: unknown = null;
    const started = aikiWorker.start().catch((error: unknown) => {
      rejected = error;
    });
    await env.advance(29_000);
    expect(rejected).toBeNull();
    await env.advance(3_000);
    await started;
    expect(rejected).toMatchObject({ code: "UNREACHABLE" });
    isUp = true;
    await aikiWorker.start();
    await aikiWorker.stop();
  });

  it("stop makes a start in progress reject", async () => {
    const { aikiWorker } = await setup(failing("UNREACHABLE"));
    const started = expect(aikiWorker.start()).rejects.toMatchObject({ code: "WORKER_STOPPED" });
    await settled();
    await aikiWorker.stop();
    await started;
  });

  it.each([
    [
      "start rejects with the error of a custom subscriber",
      () => Promise.reject(Object.assign(new Error("No."), { code: "MINE" })),
      "MINE",
    ],
    ["start refuses a custom subscriber without its methods", () => JSON.parse('{ "next": 1 }'), "INVALID_CONFIG"],
  ])("%s", async (_, subscribe, code) => {
    const { aikiWorker } = await setup({}, { subscriber: { type: "custom", subscribe } });
    await expect(aikiWorker.start()).rejects.toMatchObject({ code });
    await aikiWorker.stop();
  });

  it("worker() refuses an invalid configuration", async () => {
    await expect(setup({}, { maxConcurrentWorkflowRuns: -1 })).rejects.toMatchObject({ code: "INVALID_CONFIG" });
  });
});

describe("a claimed run", () => {
  it("a claimed run is executed and reported under its fence, with the build of its claim", async () => {
    const { aikiWorker, reports, calls } = await setup({ claim: once(claimedRun("a", { fence: 7 })) });
    await aikiWorker.start();
    await settled();
    expect(reports()).toEqual([
      expect.objectContaining({
        runId: "a",
        fence: 7,
        entries: [expect.objectContaining({ value: { type: "returned", output: '"ran"' } })],
        next: { type: "finish", outcome: { status: "completed", output: '"ran"' } },
      }),
    ]);
    expect(reports()[0]?.build).toEqual(expect.any(String));
    expect(reports()[0]?.build).toBe(calls.claim[0]?.request.serves[0]?.build);
    await aikiWorker.stop();
  });

  it("a run that lost a lease before is renewed before it is executed", async () => {
    let answer: () => void = () => {};
    const { env, aikiWorker, reports, calls } = await setup({
      claim: once(claimedRun("a", { lostLeases: 1 })),
      renew: ({ runs }) =>
        new Promise((resolve) => {
          answer = () => resolve({ results: runs.map(() => ({ ok: true, pause: false, inbox: 0 })) });
        }),
    });
    const started = aikiWorker.start();
    await settled();
    answer();
    await started;
    await env.advance(1);
    expect(calls.renew[1]?.request.runs).toEqual([{ runId: "a", fence: 1 }]);
    expect(reports()).toEqual([]);
    answer();
    await settled();
    expect(reports().map(({ next }) => next.type)).toEqual(["finish"]);
    const stopped = aikiWorker.stop();
    await settled();
    answer();
    await stopped;
  });

  it("a run is not executed if its renewal is refused", async () => {
    const { env, aikiWorker, reports } = await setup({
      claim: once(claimedRun("a", { lostLeases: 1 })),
      renew: ({ runs }) => ({ results: runs.map(() => ({ ok: false, code: "FENCED", message: "" })) }),
    });
    await aikiWorker.start();
    await env.advance(1);
    await settled();
    expect(reports()).toEqual([]);
    await aikiWorker.stop();
  });

  it("a run of a version that is not registered is released", async () => {
    const { aikiWorker, reports } = await setup({
      claim: once(claimedRun("a", { versionId: "2", inbox: 3, journal: [entry(1)] })),
    });
    await aikiWorker.start();
    await settled();
    expect(reports()).toEqual([
      expect.objectContaining({ runId: "a", seen: 3, after: 1, next: { type: "release", reason: "unserved" } }),
    ]);
    await aikiWorker.stop();
  });

  it("if a claim returns more runs than slots are free, the surplus runs are released", async () => {
    const { aikiWorker, reports } = await setup(
      { claim: once(claimedRun("a"), claimedRun("b")) },
      { maxConcurrentWorkflowRuns: 1 },
    );
    await aikiWorker.start();
    await settled();
    expect(reports().find(({ runId }) => runId === "b")?.next).toEqual({ type: "release", reason: "shutdown" });
    expect(reports().find(({ runId }) => runId === "a")?.next.type).toBe("finish");
    await aikiWorker.stop();
  });

  it("a run is replayed from its whole journal if its execution is no longer cached", async () => {
    const address = "step:s1#0";
    const { aikiWorker, reports, calls } = await setup({
      claim: once(claimedRun("a", { isCached: true, fence: 2 })),
      read: () => ({ results: [{ ok: true, run: viewOf("a"), entries: [entry(1, address)], more: false }] }),
    });
    await aikiWorker.start();
    await settled();
    expect(calls.read).toHaveLength(1);
    expect(reports()).toEqual([
      expect.objectContaining({ entries: [], next: { type: "finish", outcome: { status: "completed", output: "1" } } }),
    ]);
    await aikiWorker.stop();
  });

  it("a claimed run waits for the answer to its previous report", async () => {
    let claims = 0;
    let answer: () => void = () => {};
    let resolveSuspended: (address: string) => void = () => {};
    const suspended = new Promise<string>((resolve) => {
      resolveSuspended = resolve;
    });
    const { aikiWorker, reports } = await setup({
      claim: async (_, signal) => {
        claims += 1;
        if (claims === 1) return { runs: [claimedRun("a")] };
        if (claims > 2) return untilAborted(signal);
        const journal: Entry[] = [{ ...entry(1, await suspended), value: { type: "elapsed" } }];
        return { runs: [claimedRun("a", { fence: 2, isCached: true, journal, inbox: 1 })] };
      },
      report: ({ reports: sent }) =>
        new Promise((resolve) => {
          resolveSuspended(sent[0]?.opens[0]?.address ?? "");
          answer = () => resolve({ results: sent.map(() => ({ ...done, tail: 0 })) });
        }),
    });
    aikiWorker.registry.removeAll().add(napping);
    await aikiWorker.start();
    await settled();
    expect(reports().map(({ fence, next }) => [fence, next.type])).toEqual([[1, "suspend"]]);
    answer();
    await settled();
    expect(reports().map(({ fence, next }) => [fence, next.type])).toEqual([
      [1, "suspend"],
      [2, "finish"],
    ]);
    answer();
    await aikiWorker.stop();
  });

  it("a run that arrives after stop is released at once", async () => {
    const { aikiWorker, reports } = await setup({
      claim: (_, signal) =>
        new Promise((resolve) => signal?.addEventListener("abort", () => resolve({ runs: [claimedRun("a")] }))),
    });
    await aikiWorker.start();
    await settled();
    await aikiWorker.stop();
    expect(reports().map(({ runId, next }) => [runId, next])).toEqual([["a", { type: "release", reason: "shutdown" }]]);
  });
});

describe("stopping a worker", () => {
  it("every heartbeat contains the load, also the last one, with which the session ends", async () => {
    const { aikiWorker, calls } = await setup({ claim: once(claimedRun("a")) });
    await aikiWorker.start();
    await settled();
    await aikiWorker.stop();
    const load = { slots: 5, busy: 0 };
    expect(calls.claim[0]?.request).toMatchObject({ load });
    expect(calls.renew.map(({ request }) => request)).toMatchObject([{ load }, { runs: [], load, leaving: true }]);
  });

  it("stop does not wait for a subscriber that never resolves, and closes one that resolves late", async () => {
    let resolveSubscriber: (subscriber: Subscriber) => void = () => {};
    let isClosed = false;
    const subscribe = () => new Promise<Subscriber>((resolve) => (resolveSubscriber = resolve));
    const { aikiWorker } = await setup({}, { subscriber: { type: "custom", subscribe } });
    const started = expect(aikiWorker.start()).rejects.toMatchObject({ code: "WORKER_STOPPED" });
    await settled();
    await aikiWorker.stop();
    await started;
    resolveSubscriber({
      next: (_, signal) => untilAborted(signal),
      close: async () => {
        isClosed = true;
      },
    });
    await settled();
    expect(isClosed).toBe(true);
  });

  /** A server that answers neither reports nor the leave request; `sequence` lists its requests in order. */
  const stuck = (): { script: Script; sequence: string[] } => {
    const sequence: string[] = [];
    const never = (name: string, signal: AbortSignal | undefined) => {
      sequence.push(name);
      return untilAborted(signal);
    };
    const script: Script = {
      claim: once(claimedRun("a")),
      report: ({ reports }, signal) => never(reports.map(({ next }) => next.type).join(), signal),
      renew: ({ runs, leaving }, signal) => {
        if (leaving === true) return never("leave", signal);
        sequence.push("renew");
        return { results: runs.map(() => ({ ok: true, pause: false, inbox: 0 })) };
      },
    };
    return { script, sequence };
  };

  it("stop resolves in time if the server never answers", async () => {
    const { env, aikiWorker } = await setup(stuck().script, { gracefulShutdownTimeoutMs: 2_000 });
    await aikiWorker.start();
    await settled();
    let isStopped = false;
    const stopped = aikiWorker.stop().then(() => {
      isStopped = true;
    });
    await env.advance(1_900);
    expect(isStopped).toBe(false);
    await env.advance(200);
    expect(isStopped).toBe(true);
    await stopped;
  });

  const hanging = workflow({ name: "order" });
  hanging.v("1", { handler: (run) => run.step("hang", () => new Promise<void>(() => {})) });

  it.each([
    { name: "a report in flight", served: order, timeoutMs: 2_000, requests: ["renew", "finish", "leave"] },
    { name: "a report in flight and no time", served: order, timeoutMs: 0, requests: ["renew", "finish", "leave"] },
    {
      name: "a run that was not released",
      served: hanging,
      timeoutMs: 2_000,
      requests: ["renew", "release", "leave"],
    },
    {
      name: "a run that was not released after a heartbeat",
      served: hanging,
      timeoutMs: 8_000,
      requests: ["renew", "renew", "release", "leave"],
    },
  ])("a worker that stops sends the leave request last: with $name", async ({ served, timeoutMs, requests }) => {
    const { script, sequence } = stuck();
    const { env, aikiWorker, calls } = await setup(script, { gracefulShutdownTimeoutMs: timeoutMs });
    aikiWorker.registry.removeAll().add(served);
    await aikiWorker.start();
    await settled();
    const stopped = aikiWorker.stop();
    await env.advance(timeoutMs);
    await stopped;
    await env.advance(300_000);
    expect(sequence).toEqual(requests);
    expect(calls.renew.at(-1)?.request).toMatchObject({ runs: [], leaving: true });
  });
});
