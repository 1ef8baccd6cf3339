import type { AnyRun } from "@aikirun/lib";
import { childStarter, defaultTaskTimeoutMs, performer, type TaskCall } from "@aikirun/lib/internal";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { task } from "./task.ts";

const unused = (): Promise<never> => Promise.reject(new Error("unused"));

/** A run that keeps its calls, and answers each with `answer`. */
function recorder(answer: unknown = "done"): { run: AnyRun; calls: TaskCall[] } {
  const calls: TaskCall[] = [];
  const run: AnyRun = {
    [performer](call) {
      calls.push(call);
      return Promise.resolve(answer);
    },
    [childStarter]: unused,
  };
  return { run, calls };
}

describe("task", () => {
  it("a task passes its definition and its input to the run", async () => {
    const { run, calls } = recorder({ id: "ch_1" });
    const retry = { type: "exponential", maxAttempts: 5, baseDelayMs: 200 } as const;
    const schema = { input: z.object({ cents: z.number() }), output: z.object({ id: z.string() }) };
    const handler = async () => ({ id: "ch_1" });
    const key = (input: { cents: number }) => `k${input.cents}`;
    const charge = task({ name: "charge", handler, retry, timeout: { seconds: 20 }, schema, key });
    expect(charge.name).toBe("charge");
    expect(await charge.start(run, { cents: 1 })).toEqual({ id: "ch_1" });
    expect(calls).toEqual([
      {
        kind: "task",
        name: "charge",
        input: { cents: 1 },
        key: "k1",
        retry,
        timeoutMs: 20_000,
        inputSchema: schema.input,
        outputSchema: schema.output,
        handler,
      },
    ]);
  });

  it("a task without a policy is tried once, and times out after five minutes", async () => {
    const { run, calls } = recorder();
    const ping = task({ name: "ping", handler: () => 1 });
    await ping.start(run);
    expect(calls).toEqual([
      {
        kind: "task",
        name: "ping",
        input: undefined,
        retry: { type: "never" },
        timeoutMs: defaultTaskTimeoutMs,
        handler: expect.any(Function),
      },
    ]);
    expect(defaultTaskTimeoutMs).toBe(300_000);
  });

  it("a call may have a key, which overrides the task's own, and a signal", async () => {
    const { run, calls } = recorder();
    const { signal } = new AbortController();
    const own = task({ name: "x", handler: (_: string) => 1, key: (input) => `own ${input}` });
    await own.start(run, "a");
    await own.start(run, "a", { key: "given" });
    await own.start(run, "a", { key: "", signal });
    await own.start(run, "a", {});
    await task({ name: "y", handler: () => 1 }).start(run, undefined, { key: "given", signal });
    expect(calls.map(({ input, key, signal }) => ({ input, key, signal }))).toEqual([
      { input: "a", key: "own a" },
      { input: "a", key: "given" },
      { input: "a", key: "", signal },
      { input: "a", key: "own a" },
      { input: undefined, key: "given", signal },
    ]);
    expect(calls.map((call) => Object.hasOwn(call, "signal"))).toEqual([false, false, true, false, true]);
  });

  it.each<[string, unknown, string, RegExp]>([
    ["a key that is no string", { key: 7 }, "INVALID_KEY", /key of task "x" must be a string, not number/],
    ["a signal that is none", { signal: "stop" }, "INVALID_OPTION", /"x".signal must be an AbortSignal/],
    ["an option that there is not", { timeout: 5 }, "INVALID_OPTION", /options of task "x" has no field "timeout"/],
    ["no object", "key", "INVALID_OPTION", /options of task "x" must be an object/],
    ["null", null, "INVALID_OPTION", /must be an object, not null/],
  ])("a call refuses %s before the task is executed", (_, options, code, message) => {
    const { run, calls } = recorder();
    const ping = task({ name: "x", handler: () => 1 });
    expect(() => Reflect.apply(ping.start, ping, [run, undefined, options])).toThrow(
      expect.objectContaining({ code, retryable: false, message: expect.stringMatching(message) }),
    );
    expect(calls).toEqual([]);
  });

  it("the run's method is called with the run as this", async () => {
    class Runner implements AnyRun {
      readonly prefix = "run of ";
      readonly [childStarter] = unused;
      async [performer](call: TaskCall): Promise<unknown> {
        return this.prefix + call.name;
      }
    }
    expect(await task({ name: "x", handler: () => "" }).start(new Runner())).toBe("run of x");
  });

  it("a call rejects with what the run rejects with", async () => {
    const failure = new Error("failed for good");
    const run: AnyRun = { [performer]: () => Promise.reject(failure), [childStarter]: unused };
    await expect(task({ name: "x", handler: () => 1 }).start(run)).rejects.toBe(failure);
  });

  it("a call without a run throws an error that says what to pass", () => {
    const ping = task({ name: "ping", handler: () => 1 });
    for (const run of [undefined, null, {}, "run"]) {
      expect(() => Reflect.apply(ping.start, ping, [run])).toThrow(
        expect.objectContaining({
          code: "INVALID_RUN",
          message: expect.stringContaining("first argument of a workflow"),
        }),
      );
    }
  });

  it("a key function that returns no string is refused before the task is executed", () => {
    const { run, calls } = recorder();
    const key = (): string => JSON.parse("7");
    const keyed = task({ name: "x", handler: (_: { id?: string }) => 1, key });
    expect(() => keyed.start(run, {})).toThrow(expect.objectContaining({ code: "INVALID_KEY", retryable: false }));
    expect(calls).toEqual([]);
  });

  const handler = () => 1;
  const bad: Array<[string, object | undefined, string, RegExp]> = [
    ["an empty name", { name: "", handler }, "INVALID_NAME", /name of a task is empty/],
    ["no handler", { name: "x" }, "INVALID_CONFIG", /task "x".handler must be a function/],
    [
      "a key that is no function",
      { name: "x", handler, key: "id" },
      "INVALID_CONFIG",
      /task "x".key must be a function/,
    ],
    ["a bad policy", { name: "x", handler, retry: { type: "fixed" } }, "INVALID_RETRY_POLICY", /policy of task "x"/],
    ["a bad timeout", { name: "x", handler, timeout: { weeks: 1 } }, "INVALID_DURATION", /timeout of task "x" has no/],
    ["nothing at all", undefined, "INVALID_CONFIG", /task must be an object/],
    ["a field that there is not", { name: "x", handler, timeoutMs: 5 }, "INVALID_CONFIG", /task "x" has no field/],
    ["no schema", { name: "x", handler, schema: { input: {} } }, "INVALID_SCHEMA", /input of task "x" is not a/],
    ["a schema field that there is not", { name: "x", handler, schema: { inputs: {} } }, "INVALID_CONFIG", /"inputs"/],
    [
      "a timeout of zero",
      { name: "x", handler, timeout: { seconds: 0 } },
      "INVALID_CONFIG",
      /task "x".timeout is zero/,
    ],
  ];
  it.each(bad)("task() refuses %s", (_, options, code, message) => {
    expect(() => Reflect.apply(task, undefined, [options])).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});
