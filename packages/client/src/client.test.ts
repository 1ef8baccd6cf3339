import { describeError, type RunHandle, type StartOptions, starter, type VersionReference } from "@aikirun/lib";
import type { RunSpec, SignalItem } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { type Script, scriptedApi, viewOf } from "../test/scripted-api.ts";
import { virtualEnv } from "../test/virtual-env.ts";
import { client } from "./client.ts";

const version = {
  name: "order",
  versionId: "1.0.0",
  events: JSON.parse('{"approved":{},"constructor":{},"__proto__":{}}') as VersionReference["events"],
  timeoutMs: 5_000,
};

async function connect(script: Script) {
  const scripted = scriptedApi(script);
  const aiki = await client({ server: { api: () => scripted.api }, env: virtualEnv() });
  const start = async (input: unknown, options: StartOptions = {}) =>
    (await aiki[starter](version, input, options)) as RunHandle<unknown, Record<string, { schema?: never }>>;
  return { aiki, start, ...scripted };
}

const accept: Script = ({ verb, request }) => {
  switch (verb) {
    case "start":
      return { results: request.runs.map(({ id }: RunSpec) => ({ ok: true, id, created: true })) };
    case "signal":
      return { results: request.signals.map(({ runId }: SignalItem) => ({ ok: true, runId, status: "queued" })) };
    default:
      return { results: [] };
  }
};

describe("starting a run", () => {
  it("sends everything that a start says", async () => {
    const { start, calls } = await connect(accept);
    await start(
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
    expect(calls[0]?.request.runs).toEqual([
      {
        id: "id-1",
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

  it("takes a date for at, and its own timeout before the version's", async () => {
    const { start, calls } = await connect(accept);
    await start(undefined, { at: new Date(1_234), timeout: { minutes: 1 } });
    expect(calls[0]?.request.runs).toEqual([
      { id: "id-1", name: "order", versionId: "1.0.0", at: 1_234, timeoutMs: 60_000 },
    ]);
  });

  it("shares requests between starts, and one refusal fails only its own", async () => {
    const { start, of } = await connect(({ request }) => ({
      results: request.runs.map(({ id, input }: RunSpec) =>
        input === "3" ? { ok: false, code: "REFERENCE_CONFLICT", message: "Taken." } : { ok: true, id, created: true },
      ),
    }));
    const started = await Promise.allSettled(Array.from({ length: 500 }, (_, index) => start(index)));
    expect(of("start").length).toBeLessThanOrEqual(2);
    expect(started.filter(({ status }) => status === "rejected")).toEqual([
      { status: "rejected", reason: expect.objectContaining({ code: "REFERENCE_CONFLICT", message: "Taken." }) },
    ]);
  });

  it.each([
    [{ delay: { seconds: 1 }, at: 5 }, "start options.at must be absent beside delay"],
    [{ at: new Date("never") }, "start options.at must be a valid Date"],
    [{ priority: 1_001 }, "start options.priority"],
    [{ tags: ["a", "a"] }, "start options.tags"],
    [{ refrenceId: "x" }, 'no field "refrenceId"'],
    [{ onConflict: "ignore" }, '"error" or "return_existing"'],
    [{ delay: 5 }, "start options.delay must be a duration"],
  ])("refuses the options %j", async (options, sentence) => {
    const { start, calls } = await connect(accept);
    await expect(start(1, options as StartOptions)).rejects.toThrow(sentence);
    expect(calls).toEqual([]);
  });

  it("refuses an input that its schema refuses, or that JSON cannot carry", async () => {
    const { aiki, start } = await connect(accept);
    const validate = () => ({ issues: [{ message: "Wrong.", path: ["cents"] }] });
    const inputSchema = { "~standard": { version: 1 as const, vendor: "test", validate } };
    await expect(aiki[starter]({ ...version, inputSchema }, {}, {})).rejects.toMatchObject({ code: "SCHEMA_MISMATCH" });
    await expect(start({ cents: 10n })).rejects.toMatchObject({ code: "UNSERIALIZABLE" });
  });
});

describe("a handle", () => {
  it.each(["approved", "constructor", "__proto__"])("sends the event %s", async (name) => {
    const { aiki, start, of } = await connect(accept);
    const senders = [(await start(1)).events, aiki.runs.get("run-1").events];
    for (const events of senders) {
      await events[name]?.send({ by: "ada" }, { referenceId: "e-1" });
    }
    expect(of("signal").map(({ request }) => request.signals[0].signal)).toEqual(
      senders.map(() => ({ type: "event", name, data: '{"by":"ada"}', referenceId: "e-1" })),
    );
  });

  it("has no events that its version lacks", async () => {
    const { start } = await connect(accept);
    expect((await start(1)).events.toString).toBeUndefined();
  });

  it("gives the output, or throws what was recorded", async () => {
    const failure = describeError(Object.assign(new Error("No money."), { code: "BROKE" }));
    const views = {
      ok: viewOf("ok", { outcome: { status: "completed", output: '{"__proto__":1}' } }),
      failed: viewOf("failed", { status: "failed", outcome: { status: "failed", error: failure } }),
      cancelled: viewOf("cancelled", {
        status: "cancelled",
        outcome: { status: "cancelled", reason: "Changed mind." },
      }),
    };
    const { aiki } = await connect(({ request }) => ({
      results: request.watched.map(({ runId }: { runId: keyof typeof views }) => ({
        type: "status",
        run: views[runId],
      })),
    }));
    expect(Object.entries((await aiki.runs.get("ok").result()) as object)).toEqual([["__proto__", 1]]);
    await expect(aiki.runs.get("failed").result()).rejects.toMatchObject({
      code: "RUN_FAILED",
      cause: { message: "No money.", code: "BROKE" },
    });
    await expect(aiki.runs.get("cancelled").result()).rejects.toMatchObject({
      code: "RUN_CANCELLED",
      message: expect.stringContaining("Changed mind."),
    });
  });

  it("waits for a status: reached, ended otherwise, or timed out", async () => {
    const scripted = scriptedApi(({ verb, request, signal }) => {
      if (verb === "read") return { results: [{ ok: true, run: viewOf("slow", { status: "queued" }), entries: [] }] };
      const { runId } = request.watched[0];
      if (runId !== "slow") return { results: [{ type: "status", run: viewOf(runId, { status: runId }) }] };
      return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted"))));
    });
    const env = virtualEnv();
    const aiki = await client({ server: { api: () => scripted.api }, env });
    expect(await aiki.runs.get("sleeping").waitFor("sleeping")).toEqual({ reached: true, status: "sleeping" });
    expect(await aiki.runs.get("completed").waitFor("sleeping")).toEqual({
      reached: false,
      reason: "ended",
      status: "completed",
    });
    const slow = aiki.runs.get("slow").waitFor("completed", { timeout: { seconds: 3 } });
    await env.advance(3_000);
    expect(await slow).toEqual({ reached: false, reason: "timed_out", status: "queued" });
  });

  it("retries into the run that goes on", async () => {
    const { aiki } = await connect(({ request }) => ({
      results: request.signals.map(({ runId, signal }: SignalItem) => ({
        ok: true,
        runId: runId === "stalled" || signal.type !== "retry" ? runId : signal.newRunId,
        status: "queued",
      })),
    }));
    expect((await aiki.runs.get("stalled").retry()).id).toBe("stalled");
    expect((await aiki.runs.get("failed").retry()).id).toMatch(/^id-/);
  });

  it("says why a signal was refused", async () => {
    const { aiki } = await connect(() => ({
      results: [{ ok: false, code: "RUN_FINAL", message: "The run has ended." }],
    }));
    await expect(aiki.runs.get("r").cancel()).rejects.toMatchObject({ code: "RUN_FINAL", ids: { runId: "r" } });
  });
});

describe("listing runs", () => {
  const pages: Script = ({ request }) =>
    request.cursor === undefined ? { runs: [viewOf("a"), viewOf("b")], cursor: "next" } : { runs: [viewOf("c")] };

  it("gives one page when awaited and all runs when iterated", async () => {
    const { aiki, calls } = await connect(pages);
    const list = aiki.runs.list({ status: "completed", createdAfter: new Date(5) });
    expect((await list).cursor).toBe("next");
    const ids = [];
    for await (const { id } of list) ids.push(id);
    expect(ids).toEqual(["a", "b", "c"]);
    expect(calls[0]?.request).toEqual({ status: ["completed"], createdAfter: 5 });
  });

  it.each([[{ status: "done" }], [{ status: ["done"] }], [{ limit: 201 }], [{ stauts: "failed" }]])(
    "refuses the filter %j",
    async (filter) => {
      const { aiki } = await connect(pages);
      expect(() => aiki.runs.list(filter as never)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    },
  );
});

describe("closing a client", () => {
  it("rejects pending waits and later calls, and may be done twice", async () => {
    const { aiki, start } = await connect(
      ({ signal }) => new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted")))),
    );
    const pending = aiki.runs.get("a").result();
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([aiki.close(), aiki.close()]);
    await expect(pending).rejects.toMatchObject({ code: "CLIENT_CLOSED" });
    await expect(start(1)).rejects.toMatchObject({ code: "CLIENT_CLOSED" });
    await expect(aiki.runs.get("a").status()).rejects.toMatchObject({ code: "CLIENT_CLOSED" });
  });
});
