import { RunStalledError, type StartOptions } from "@aikirun/lib";
import { describeError } from "@aikirun/lib/internal";
import type { ReplyOf, RequestOf, RunSpec, RunView } from "@aikirun/lib/protocol";
import { type Script, scriptedApi, scriptedWatch, viewOf } from "@aikirun/testing/scripted-api";
import { settled, uuid, virtualEnv } from "@aikirun/testing/virtual-env";
import { event, workflow } from "@aikirun/workflow";
import { describe, expect, expectTypeOf, it } from "vitest";
import { client } from "./client.ts";

const proto = "__proto__";
const order = workflow({ name: "order" });
const orderV1 = order.v("1.0.0", {
  events: { approved: event<{ by: string }>(), constructor: event<number>(), [proto]: event<number>() },
  timeout: { seconds: 5 },
  handler: async (_, input: unknown) => ({ got: input }),
});

async function connect(script: Script) {
  const env = virtualEnv();
  const scripted = scriptedApi(script);
  const aiki = await client({ server: { api: () => scripted.api }, env });
  return { aiki, env, ...scripted };
}

const started = ({ runs }: RequestOf<"start">): ReplyOf<"start"> => ({
  results: runs.map(({ id }) => ({ ok: true, id, created: true })),
});
const signalled = ({ signals }: RequestOf<"signal">): ReplyOf<"signal"> => ({
  results: signals.map(({ runId }) => ({ ok: true, runId, status: "queued" })),
});

/** Lets a test pass options that the types forbid. */
function isOptions(_: object): _ is StartOptions {
  return true;
}

describe("a long poll of a server in this process", () => {
  it("a pending long poll of an in-process server keeps the process alive", async () => {
    let answer = () => {};
    const watch = () => new Promise<ReplyOf<"watch">>((resolve) => (answer = () => resolve({ results: [] })));
    const { aiki } = await connect({ watch });
    const holding = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = holding();
    const reply = aiki.api.watch({ watched: [], waitMs: 60_000 });
    expect(holding()).toBe(before + 1);
    answer();
    await reply;
    expect(holding()).toBe(before);
  });
});

describe("starting a run", () => {
  it("start sends all its options", async () => {
    const { aiki, calls } = await connect({ start: started });
    await orderV1.start(
      aiki,
      { z: 1, a: undefined },
      {
        referenceId: "r",
        onConflict: "return_existing",
        delay: { seconds: 2 },
        shardKey: "eu",
        priority: 5,
        tags: ["x"],
      },
    );
    expect(calls.start[0]?.request.runs).toEqual([
      {
        id: uuid(1),
        name: "order",
        versionId: "1.0.0",
        input: '{"z":1}',
        inputHash: expect.stringMatching(/^[0-9a-f]{64}$/),
        referenceId: "r",
        onConflict: "return_existing",
        delayMs: 2_000,
        shardKey: "eu",
        priority: 5,
        tags: ["x"],
        timeoutMs: 5_000,
      },
    ]);
  });

  it("start accepts a Date for at, and its timeout overrides the version's", async () => {
    const { aiki, calls } = await connect({ start: started });
    await orderV1.start(aiki, undefined, { at: new Date(1_234), timeout: { minutes: 1 } });
    expect(calls.start[0]?.request.runs).toEqual([
      { id: uuid(1), name: "order", versionId: "1.0.0", at: 1_234, timeoutMs: 60_000 },
    ]);
  });

  it("start sends a moment in the past unchanged, and sends a negative delay as zero", async () => {
    const { aiki, calls } = await connect({ start: started });
    await orderV1.start(aiki, 1, { at: new Date("1969-07-20") });
    await orderV1.start(aiki, 1, { delay: { milliseconds: -1 } });
    const specs = calls.start.flatMap(({ request }) => request.runs);
    expect(specs).toMatchObject([{ at: Date.parse("1969-07-20") }, { delayMs: 0 }]);
  });

  it("starts of one turn share a request, and a refused start does not fail the others", async () => {
    const answer = ({ id, input }: RunSpec): ReplyOf<"start">["results"][number] =>
      input === "3" ? { ok: false, code: "REFERENCE_CONFLICT", message: "Taken." } : { ok: true, id, created: true };
    const { aiki, calls } = await connect({ start: ({ runs }) => ({ results: runs.map(answer) }) });
    const starts = Array.from({ length: 500 }, (_, index) => orderV1.start(aiki, index));
    const outcomes = await Promise.allSettled(starts);
    expect(calls.start.length).toBeLessThanOrEqual(2);
    expect(outcomes.filter(({ status }) => status === "rejected")).toEqual([
      { status: "rejected", reason: expect.objectContaining({ code: "REFERENCE_CONFLICT", message: "Taken." }) },
    ]);
  });

  it.each([
    [{ delay: { seconds: 1 }, at: 5 }, "start options.at must be left out when delay is set"],
    [{ at: new Date("never") }, "start options.at must be a valid Date"],
    [{ at: 8.64e15 + 1 }, "start options.at must be a valid Date"],
    [{ referenceId: "half of \ud83d" }, "without NUL or half of a surrogate pair"],
    [{ tags: ["NUL \0"] }, "without NUL or half of a surrogate pair"],
    [{ priority: 1_001 }, "start options.priority"],
    [{ tags: ["a", "a"] }, "start options.tags"],
    [{ refrenceId: "x" }, 'no field "refrenceId"'],
    [{ onConflict: "ignore" }, '"error" or "return_existing"'],
    [{ delay: 5 }, "start options.delay must be a duration"],
    [{ timeout: { seconds: 0 } }, "start options.timeout is zero"],
  ])("start refuses the options %j", async (options, sentence) => {
    const { aiki, calls } = await connect({ start: started });
    await expect(isOptions(options) && orderV1.start(aiki, 1, options)).rejects.toThrow(sentence);
    expect(calls.start).toEqual([]);
  });

  it("start refuses an input that its schema refuses, or that JSON cannot represent", async () => {
    const { aiki } = await connect({ start: started });
    const validate = () => ({ issues: [{ message: "Wrong.", path: ["cents"] }] });
    const strict = order.v("strict", {
      schema: { input: { "~standard": { version: 1, vendor: "test", validate } } },
      handler: async (_, input: unknown) => input,
    });
    await expect(strict.start(aiki, {})).rejects.toMatchObject({ code: "SCHEMA_MISMATCH" });
    await expect(orderV1.start(aiki, { cents: 10n })).rejects.toMatchObject({ code: "UNSERIALIZABLE" });
  });
});

describe("the events of a handle", () => {
  it("events may have any name", async () => {
    const { aiki, calls } = await connect({ start: started, signal: signalled });
    const { events } = await orderV1.start(aiki, 1);
    await events.approved.send({ by: "ada" }, { referenceId: "e-1" });
    await events.constructor.send(1);
    await events[proto].send(2);
    await aiki.runs.get("x").events[proto]?.send(3);
    expect(calls.signal.map(({ request }) => request.signals[0]?.signal)).toEqual([
      { type: "event", name: "approved", data: '{"by":"ada"}', referenceId: "e-1" },
      { type: "event", name: "constructor", data: "1" },
      { type: "event", name: "__proto__", data: "2" },
      { type: "event", name: "__proto__", data: "3" },
    ]);
  });

  it("a handle has the events of its version only", async () => {
    const { aiki } = await connect({ start: started });
    expect(Object.keys((await orderV1.start(aiki, 1)).events)).toEqual(["approved", "constructor", "__proto__"]);
    expect("toString" in (await orderV1.start(aiki, 1)).events).toBe(false);
  });

  it("an undeclared event is rejected, and the error lists the declared ones", async () => {
    const { aiki, calls } = await connect({ start: started, signal: signalled });
    const handle = await orderV1.start(aiki, 1);
    // @ts-expect-error a caller without types finds no compiler
    const refusal: Promise<void> = handle.events.aproved.send({ by: "ada" });
    await expect(refusal).rejects.toMatchObject({
      code: "UNKNOWN_EVENT",
      retryable: false,
      ids: { runId: handle.id, event: "aproved" },
      message:
        `The workflow of run ${handle.id} declares no event "aproved". ` +
        'It declares "approved", "constructor", "__proto__".',
    });
    const silent = aiki.runs.get("r", order.v("silent", { handler: async () => 1 }));
    // @ts-expect-error the version declares no events
    await expect(silent.events.toString.send(1)).rejects.toThrow("It declares no events.");
    expect(calls.signal).toEqual([]);
  });

  it("handle.events can be awaited, spread, and compared by its names", async () => {
    const { aiki } = await connect({ start: started });
    const { events } = await orderV1.start(aiki, 1);
    expect(await events).toBe(events);
    expect(await aiki.runs.get("x").events).toBeDefined();
    expect(Object.keys({ ...events })).toEqual(["approved", "constructor", "__proto__"]);
    expect("aproved" in events).toBe(false);
    expect(Reflect.get(events, Symbol.toPrimitive)).toBeUndefined();
    expect(Object.isFrozen(events)).toBe(true);
  });

  it.each([
    ["", "is empty"],
    ["x".repeat(256), "has 256 characters"],
    ["half of \ud83d", "half of a surrogate pair"],
  ])("an event with the name %j is refused before a request is sent", async (name, sentence) => {
    const { aiki, calls } = await connect({ signal: signalled });
    const refusal = { code: "INVALID_NAME", message: expect.stringContaining(sentence) };
    await expect(aiki.runs.get("x").events[name]?.send(1)).rejects.toMatchObject(refusal);
    expect(calls.signal).toEqual([]);
  });

  it("event data that JSON cannot represent, and unknown options, are refused", async () => {
    const { aiki } = await connect({ signal: signalled });
    const { anything } = aiki.runs.get("x").events;
    await expect(anything?.send(new Map())).rejects.toMatchObject({ code: "UNSERIALIZABLE" });
    const misspelt = { reference: "x" };
    await expect(anything?.send(1, { referenceId: "y", ...misspelt })).rejects.toMatchObject({
      code: "INVALID_OPTION",
    });
  });
});

describe("a handle", () => {
  it("a handle has the types of its version", async () => {
    const { aiki } = await connect({});
    const handle = aiki.runs.get("x", orderV1);
    expectTypeOf(handle.result).returns.resolves.toEqualTypeOf<{ got: unknown }>();
    expectTypeOf(handle.events.approved.send).parameter(0).toEqualTypeOf<{ by: string }>();
  });

  it("result returns the output, or throws the recorded error", async () => {
    const error = describeError(Object.assign(new Error("No money."), { code: "BROKE" }));
    const server = scriptedWatch();
    const setStatus = (run: RunView) => server.setResult(run.id, { type: "status", run });
    setStatus(viewOf("ok", { outcome: { status: "completed", output: '{"__proto__":1}' } }));
    setStatus(viewOf("failed", { status: "failed", outcome: { status: "failed", error } }));
    setStatus(viewOf("cancelled", { status: "cancelled", outcome: { status: "cancelled", reason: "Changed mind." } }));
    const { aiki } = await connect({ watch: server.watch });
    expect(JSON.stringify(await aiki.runs.get("ok").result())).toBe('{"__proto__":1}');
    await expect(aiki.runs.get("failed").result()).rejects.toMatchObject({
      code: "RUN_FAILED",
      cause: { message: "No money.", code: "BROKE" },
    });
    await expect(aiki.runs.get("cancelled").result()).rejects.toMatchObject({
      code: "RUN_CANCELLED",
      message: expect.stringContaining("Changed mind."),
    });
  });

  it("result rejects for a stalled run, and says what happened and what to do", async () => {
    const stall = { reason: "crash_loop", crashes: 6 } as const;
    const explanation = "Stalled: its worker died 6 times. Mend the cause, then retry or cancel it.";
    const server = scriptedWatch();
    server.setResult("s", { type: "status", run: viewOf("s", { status: "stalled", stall, explanation }) });
    const { aiki, calls } = await connect({ watch: server.watch, signal: signalled });
    const handle = aiki.runs.get("s");
    const refusal = handle.result();
    await expect(refusal).rejects.toBeInstanceOf(RunStalledError);
    await expect(refusal).rejects.toMatchObject({
      code: "RUN_STALLED",
      retryable: false,
      stall,
      ids: { runId: "s" },
      message: `Run s does not continue by itself. ${explanation}`,
    });
    expect(calls.watch[0]?.request.watched).toEqual([{ type: "status", runId: "s", statuses: ["stalled"] }]);
    server.end("s");
    expect(await (await handle.retry()).result()).toBe("done");
    expect(await handle.result()).toBe("done");
  });

  it("result waits through a stall only with waitThroughStalls, and waitFor always waits through it", async () => {
    const stall = { reason: "crash_loop", crashes: 6 } as const;
    const stalled = viewOf("s", { status: "stalled", stall });
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const { aiki, calls } = await connect({
      async watch({ watched: [first] }) {
        if (first?.type === "status" && first.statuses.includes("stalled"))
          return { results: [{ type: "status", run: stalled }] };
        await ended;
        return { results: [{ type: "status", run: viewOf("s") }] };
      },
    });
    const handle = aiki.runs.get("s");
    const waits = [handle.result({ waitThroughStalls: true }), handle.waitFor("sleeping")];
    await settled();
    expect(await handle.waitFor("stalled")).toEqual({ reached: true, status: "stalled" });
    await expect(handle.result({ waitThroughStalls: false })).rejects.toMatchObject({ code: "RUN_STALLED" });
    end();
    expect(await Promise.all(waits)).toEqual(["done", { reached: false, reason: "ended", status: "completed" }]);
    expect(calls.watch.length).toBe(3);
  });

  it("waitFor resolves when the status is reached, when the run ends otherwise, and on timeout", async () => {
    const server = scriptedWatch();
    server.setResult("a", { type: "status", run: viewOf("a", { status: "sleeping" }) });
    server.end("b");
    const { aiki, env } = await connect({
      watch: server.watch,
      read: () => ({ results: [{ ok: true, run: viewOf("c", { status: "queued" }), entries: [], more: false }] }),
    });
    expect(await aiki.runs.get("a").waitFor("sleeping")).toEqual({ reached: true, status: "sleeping" });
    expect(await aiki.runs.get("b").waitFor("sleeping")).toEqual({
      reached: false,
      reason: "ended",
      status: "completed",
    });
    const late = aiki.runs.get("c").waitFor("completed", { timeout: { seconds: 3 } });
    await env.advance(3_000);
    expect(await late).toEqual({ reached: false, reason: "timed_out", status: "queued" });
  });

  it.each([
    ["waitFor", ["completed", { timeoutMs: 5 }], "INVALID_OPTION"],
    ["waitFor", ["completed", { timeout: 5 }], "INVALID_OPTION"],
    ["waitFor", ["completed", { timeout: { second: 5 } }], "INVALID_DURATION"],
    ["waitFor", ["done"], "INVALID_OPTION"],
    ["result", [{ timeout: { seconds: 5 } }], "INVALID_OPTION"],
    ["result", [{ signal: "stop" }], "INVALID_OPTION"],
    ["result", [{ waitThroughStalls: "yes" }], "INVALID_OPTION"],
    ["cancel", [5], "INVALID_OPTION"],
  ])("a handle refuses %s(%j) instead of waiting for ever", async (method, given, code) => {
    const { aiki, calls } = await connect({});
    const handle = aiki.runs.get("x");
    const call: unknown = Reflect.get(handle, method);
    await expect(typeof call === "function" && Reflect.apply(call, handle, given)).rejects.toMatchObject({ code });
    expect([calls.watch, calls.signal]).toEqual([[], []]);
  });

  it("retry returns the handle of the run that continues", async () => {
    const { aiki } = await connect({
      signal: ({ signals }) => ({
        results: signals.map(({ runId, signal }) => ({
          ok: true,
          runId: runId === "stalled" || signal.type !== "retry" ? runId : signal.newRunId,
          status: "queued",
        })),
      }),
    });
    expect((await aiki.runs.get("stalled").retry()).id).toBe("stalled");
    expect((await aiki.runs.get("failed").retry()).id).toBe(uuid(3));
  });

  it("why returns the answer of the server, or rejects with the reason", async () => {
    const answer = { text: "Queued.", at: 5, links: [] };
    const { aiki, calls } = await connect({ read: () => ({ results: [], why: { ok: true, why: answer } }) });
    expect(await aiki.runs.get("r").why()).toEqual(answer);
    expect(calls.read.map(({ request }) => request)).toEqual([{ runs: [], why: "r" }]);
    const refused = await connect({
      read: () => ({ results: [], why: { ok: false, code: "RUN_NOT_FOUND", message: "There is no such run." } }),
    });
    await expect(refused.aiki.runs.get("r").why()).rejects.toMatchObject({
      code: "RUN_NOT_FOUND",
      ids: { runId: "r" },
    });
    const old = await connect({ read: () => ({ results: [] }) });
    await expect(old.aiki.runs.get("r").why()).rejects.toMatchObject({ code: "BAD_REPLY" });
  });

  it("pause sends its reason", async () => {
    const { aiki, calls } = await connect({
      signal: () => ({ results: [{ ok: true, runId: "r", status: "paused" }] }),
    });
    await aiki.runs.get("r").pause("the bank is down");
    await aiki.runs.get("r").pause();
    expect(calls.signal.flatMap(({ request }) => request.signals.map(({ signal }) => signal))).toEqual([
      { type: "pause", reason: "the bank is down" },
      { type: "pause" },
    ]);
  });

  it("a refused signal rejects with the reason", async () => {
    const { aiki } = await connect({
      signal: () => ({ results: [{ ok: false, code: "RUN_FINAL", message: "The run has ended." }] }),
    });
    await expect(aiki.runs.get("r").cancel()).rejects.toMatchObject({ code: "RUN_FINAL", ids: { runId: "r" } });
  });
});

describe("listing runs", () => {
  const pages: Script = {
    find: ({ cursor }) =>
      cursor === undefined ? { runs: [viewOf("a"), viewOf("b")], cursor: "next" } : { runs: [viewOf("c")] },
  };

  it("list returns one page when awaited, and all runs when iterated", async () => {
    const { aiki, calls } = await connect(pages);
    const list = aiki.runs.list({ status: "completed", createdAfter: new Date(5), errorCode: "E" });
    expect((await list).cursor).toBe("next");
    const ids = [];
    for await (const { id } of list) ids.push(id);
    expect(ids).toEqual(["a", "b", "c"]);
    expect(calls.find[0]?.request).toEqual({ status: ["completed"], createdAfter: 5, errorCode: "E" });
  });

  it("list continues after an empty page", async () => {
    const { aiki } = await connect({
      find: ({ cursor }) => (cursor === undefined ? { runs: [], cursor: "next" } : { runs: [viewOf("c")] }),
    });
    const ids = [];
    for await (const { id } of aiki.runs.list({ versionId: "1.0.0" })) ids.push(id);
    expect(ids).toEqual(["c"]);
  });

  it("list refuses an invalid filter", async () => {
    const { aiki } = await connect(pages);
    const misspelt = { stauts: "failed" };
    for (const filter of [{ limit: 201 }, { ...misspelt, limit: 1 }, { tags: [""] }, { errorCode: "" }]) {
      expect(() => aiki.runs.list(filter)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    }
  });
});

describe("closing a client", () => {
  it("close rejects pending waits and later calls, and may be called twice", async () => {
    const { aiki } = await connect({});
    const pending = aiki.runs.get("a").result();
    await settled();
    await Promise.all([aiki.close(), aiki.close()]);
    await expect(pending).rejects.toMatchObject({ code: "CLIENT_CLOSED" });
    await expect(orderV1.start(aiki, 1)).rejects.toMatchObject({ code: "CLIENT_CLOSED" });
    await expect(aiki.runs.get("a").status()).rejects.toMatchObject({ code: "CLIENT_CLOSED" });
  });

  it("close awaits a start in progress", async () => {
    let answer: () => void = () => {};
    const { aiki } = await connect({
      start: (request) =>
        new Promise((resolve) => {
          answer = () => resolve(started(request));
        }),
    });
    const start = orderV1.start(aiki, 1);
    await settled();
    const closed = aiki.close();
    answer();
    await closed;
    expect((await start).id).toBe(uuid(1));
  });
});
