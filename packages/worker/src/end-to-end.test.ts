import { client } from "@aikirun/client";
import { AikiError, silentLogger } from "@aikirun/lib";
import type { Api } from "@aikirun/lib/protocol";
import { type Server, server } from "@aikirun/server";
import { task } from "@aikirun/task";
import { event, workflow } from "@aikirun/workflow";
import { afterEach, describe, expect, it } from "vitest";
import type { WorkerParams } from "./config.ts";
import { worker } from "./worker.ts";

const double = task({ name: "double", handler: async (n: number) => n * 2 });

const ship = workflow({ name: "ship" });
const shipV1 = ship.v("1.0.0", {
  handler: async (run, n: number) => {
    await run.sleep({ milliseconds: 5 });
    return double.start(run, n);
  },
});

const order = workflow({ name: "order" });
const orderV1 = order.v("1.0.0", {
  events: { approved: event<{ by: string }>() },
  handler: async (run, n: number) => {
    const receipt = await double.start(run, n);
    const approval = await run.events.approved.wait();
    await run.sleep({ milliseconds: 5 });
    const child = await shipV1.startAsChild(run, receipt);
    return { by: approval.by, tracking: await child.result() };
  },
});

const ends: Array<() => Promise<void>> = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) {
    await end();
  }
});

async function embedded(): Promise<Server> {
  const aikiServer = await server({ database: "memory:", logger: silentLogger });
  ends.push(() => aikiServer.close());
  return aikiServer;
}

async function connect(aikiServer: Server, transport: "in-process" | "http") {
  const logger = silentLogger;
  if (transport === "in-process") {
    return client({ server: aikiServer, logger });
  }
  const listener = await aikiServer.listen({ port: 0 });
  return client({ url: listener.url, logger });
}

async function setup(transport: "in-process" | "http", params: WorkerParams = {}) {
  const aikiServer = await embedded();
  const aiki = await connect(aikiServer, transport);
  ends.push(() => aiki.close());
  const aikiWorker = worker(aiki, { maxConcurrentWorkflowRuns: 10, ...params });
  ends.push(() => aikiWorker.stop());
  return { aikiServer, aiki, aikiWorker };
}

describe.each(["in-process", "http"] as const)("client, worker and server, %s", (transport) => {
  it("a run with tasks, sleeps, events and children returns its result", async () => {
    const { aiki, aikiWorker } = await setup(transport);
    aikiWorker.registry.add(order).add(ship);
    await aikiWorker.start();
    const handle = await orderV1.start(aiki, 5, { referenceId: "o-1" });
    expect(await handle.waitFor("awaiting_event")).toEqual({ reached: true, status: "awaiting_event" });
    await handle.events.approved.send({ by: "ada" });
    expect(await handle.result()).toEqual({ by: "ada", tracking: 20 });
    expect((await orderV1.start(aiki, 5, { referenceId: "o-1" })).id).toBe(handle.id);
    await expect(orderV1.start(aiki, 6, { referenceId: "o-1" })).rejects.toMatchObject({ code: "REFERENCE_CONFLICT" });
  });

  it("hundreds of concurrent runs complete", async () => {
    const { aiki, aikiWorker } = await setup(transport, { maxConcurrentWorkflowRuns: 50 });
    aikiWorker.registry.add(ship);
    const handles = await Promise.all(Array.from({ length: 300 }, (_, n) => shipV1.start(aiki, n)));
    await aikiWorker.start();
    const results = await Promise.all(handles.map((handle) => handle.result()));
    expect(results).toEqual(handles.map((_, n) => 2 * n));
  });

  it("result throws the error of a failed run, and an error for an unknown run", async () => {
    const { aiki, aikiWorker } = await setup(transport);
    const failing = workflow({ name: "failing" });
    const failingV1 = failing.v("1", {
      handler: async () => {
        throw Object.assign(new Error("No money."), { code: "BROKE" });
      },
    });
    aikiWorker.registry.add(failing);
    await aikiWorker.start();
    await expect((await failingV1.start(aiki)).result()).rejects.toMatchObject({
      code: "RUN_FAILED",
      cause: { message: "No money.", code: "BROKE" },
    });
    const unknown = aiki.runs.get("01a208f2-c48f-7676-a43c-871b412a1ba9");
    await expect(unknown.result()).rejects.toMatchObject({ code: "RUN_NOT_FOUND" });
    await expect(unknown.status()).rejects.toMatchObject({ code: "RUN_NOT_FOUND" });
  });

  it("cancelling a run aborts its running task", async () => {
    const { aiki, aikiWorker } = await setup(transport);
    const hang = workflow({ name: "hang" });
    let aborted: () => void = () => {};
    const wasAborted = new Promise<void>((resolve) => {
      aborted = resolve;
    });
    const endless = task({
      name: "endless",
      handler: (_: undefined, { signal }) =>
        new Promise<void>((_, reject) => {
          signal.addEventListener("abort", () => {
            aborted();
            reject(signal.reason);
          });
        }),
    });
    const hangV1 = hang.v("1", { handler: async (run) => endless.start(run) });
    aikiWorker.registry.add(hang);
    await aikiWorker.start();
    const handle = await hangV1.start(aiki);
    await handle.waitFor("running");
    await handle.cancel("Enough.");
    await wasAborted;
    await expect(handle.result()).rejects.toMatchObject({ code: "RUN_CANCELLED" });
  });

  it("a paused run continues where it was after resume", async () => {
    const { aiki, aikiWorker } = await setup(transport);
    let open: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    let first = 0;
    const flow = workflow({ name: "flow" });
    const flowV1 = flow.v("1", {
      handler: async (run) => {
        await run.step("first", async () => {
          first += 1;
          await gate;
        });
        return run.step("second", async () => "done");
      },
    });
    aikiWorker.registry.add(flow);
    await aikiWorker.start();
    const handle = await flowV1.start(aiki);
    await handle.waitFor("running");
    await handle.pause();
    open();
    await handle.waitFor("paused");
    await handle.resume();
    expect(await handle.result()).toBe("done");
    expect(first).toBe(1);
  });
});

describe("replies that are lost", () => {
  it("lost replies lose no run, and repeat no entry and no effect", async () => {
    const aikiServer = await embedded();
    let calls = 0;
    /** Executes each call, and loses the answer of every third one. */
    const lossy = async <Reply>(reply: Promise<Reply>): Promise<Reply> => {
      const answer = await reply;
      calls += 1;
      if (calls % 3 === 0) throw new AikiError("UNREACHABLE", "The answer was lost.");
      return answer;
    };
    const real = aikiServer.api();
    const api: Api = {
      ...real,
      start: (request, options) => lossy(real.start(request, options)),
      claim: (request, options) => lossy(real.claim(request, options)),
      report: (request, options) => lossy(real.report(request, options)),
      signal: (request, options) => lossy(real.signal(request, options)),
      watch: (request, options) => lossy(real.watch(request, options)),
    };
    const aiki = await client({ server: { api: () => api }, logger: silentLogger });
    ends.push(() => aiki.close());
    const aikiWorker = worker(aiki, { maxConcurrentWorkflowRuns: 4 });
    ends.push(() => aikiWorker.stop());
    const effects = new Map<string, number>();
    const flow = workflow({ name: "flow" });
    const flowV1 = flow.v("1", {
      events: { go: event<number>() },
      handler: async (run, n: number) => {
        const effect = (name: string) =>
          run.step(name, () => {
            effects.set(`${n} ${name}`, (effects.get(`${n} ${name}`) ?? 0) + 1);
            return n;
          });
        const before = await effect("before");
        const go = await run.events.go.wait();
        return before + go + (await effect("after"));
      },
    });
    aikiWorker.registry.add(flow);
    await aikiWorker.start();
    const handles = await Promise.all(Array.from({ length: 20 }, (_, n) => flowV1.start(aiki, n)));
    await Promise.all(handles.map((handle) => handle.events.go.send(1_000)));
    expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual(handles.map((_, n) => 1_000 + 2 * n));
    expect([...effects.values()]).toEqual(Array.from({ length: 40 }, () => 1));
  });
});

describe("a worker that stops", () => {
  it("a worker that stops hands over a run that does not end, within the shutdown timeout", async () => {
    const { aiki, aikiWorker } = await setup("in-process", { gracefulShutdownTimeoutMs: 400 });
    let isFirst = true;
    const stubborn = workflow({ name: "stubborn" });
    const stubbornV1 = stubborn.v("1", {
      handler: async (run) =>
        run.step("hang", () => {
          if (!isFirst) return "done";
          isFirst = false;
          return new Promise<string>(() => {});
        }),
    });
    aikiWorker.registry.add(stubborn);
    await aikiWorker.start();
    const handle = await stubbornV1.start(aiki);
    await expect.poll(() => isFirst).toBe(false);
    const began = performance.now();
    await Promise.all([aikiWorker.stop(), aikiWorker.stop()]);
    expect(performance.now() - began).toBeLessThan(1_000);
    expect(await handle.status()).toBe("queued");
    await expect(aikiWorker.start()).rejects.toMatchObject({ code: "WORKER_STOPPED" });
    const next = worker(aiki, {});
    ends.push(() => next.stop());
    next.registry.add(stubborn);
    await next.start();
    expect(await handle.result()).toBe("done");
  });

  it("a worker that stops records the results of running tasks and claims no more runs", async () => {
    const { aiki, aikiWorker } = await setup("in-process", { maxConcurrentWorkflowRuns: 1 });
    let open: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    let steps = 0;
    const flow = workflow({ name: "flow" });
    const flowV1 = flow.v("1", {
      handler: async (run) => {
        await run.step("first", async () => {
          steps += 1;
          await gate;
        });
        await run.step("second", async () => {
          steps += 10;
        });
      },
    });
    aikiWorker.registry.add(flow);
    await aikiWorker.start();
    const handles = [await flowV1.start(aiki), await flowV1.start(aiki)];
    await handles[0]?.waitFor("running");
    const stopped = aikiWorker.stop();
    open();
    await stopped;
    expect(steps).toBe(1);
    expect(await Promise.all(handles.map((handle) => handle.status()))).toEqual(["queued", "queued"]);
    const [read] = (await aiki.api.read({ runs: [{ runId: handles[0]?.id ?? "", entries: { after: 0, limit: 9 } }] }))
      .results;
    expect(read?.ok === true && read.entries.map(({ address }) => address)).toEqual(["step:first#0"]);
  });
});

describe("a worker and what it serves", () => {
  it("a worker executes a workflow at once that is registered while it waits", async () => {
    const { aiki, aikiWorker } = await setup("in-process");
    aikiWorker.registry.add(order);
    await aikiWorker.start();
    const handle = await shipV1.start(aiki, 4);
    aikiWorker.registry.add(ship);
    expect(await handle.result()).toBe(8);
  });

  it("a worker executes at most maxConcurrentWorkflowRuns runs at once", async () => {
    const { aiki, aikiWorker } = await setup("in-process", { maxConcurrentWorkflowRuns: 3 });
    let now = 0;
    let most = 0;
    const gauge = workflow({ name: "gauge" });
    const gaugeV1 = gauge.v("1", {
      handler: async (run) => {
        now += 1;
        most = Math.max(most, now);
        await run.step("wait", () => new Promise<void>((resolve) => setImmediate(resolve)));
        now -= 1;
      },
    });
    aikiWorker.registry.add(gauge);
    const handles = await Promise.all(Array.from({ length: 50 }, () => gaugeV1.start(aiki)));
    await aikiWorker.start();
    await Promise.all(handles.map((handle) => handle.result()));
    expect(most).toBe(3);
  });

  it("a worker serves only its shards", async () => {
    const { aiki, aikiWorker } = await setup("in-process", { shardKeys: ["eu"] });
    aikiWorker.registry.add(ship);
    await aikiWorker.start();
    const us = await shipV1.start(aiki, 1, { shardKey: "us" });
    const eu = await shipV1.start(aiki, 2, { shardKey: "eu" });
    expect(await eu.result()).toBe(4);
    expect(await us.status()).toBe("queued");
  });

  it("a suspended run is resumed when its non-durable work has ended", async () => {
    const { aiki, aikiWorker } = await setup("in-process");
    let open: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const flow = workflow({ name: "flow" });
    const flowV1 = flow.v("1", {
      events: { never: event() },
      handler: async (run) =>
        Promise.race([
          run.events.never.wait().then(() => "event"),
          gate.then(() => run.step("after", async () => "gate")),
        ]),
    });
    aikiWorker.registry.add(flow);
    await aikiWorker.start();
    const handle = await flowV1.start(aiki);
    await handle.waitFor("awaiting_event");
    open();
    expect(await handle.result()).toBe("gate");
  });
});
