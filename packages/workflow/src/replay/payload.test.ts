import { performer, type TaskCall } from "@aikirun/lib/internal";
import { describe, expect, it } from "vitest";
import { ReplayRig } from "../../test/rig.ts";
import { workflow } from "../definition/workflow.ts";

/** The call that `@aikirun/task` makes for a task of this name. */
const task = (name: string, input: unknown, handler: (input: unknown) => unknown): TaskCall => ({
  kind: "task",
  name,
  input,
  retry: { type: "never" },
  timeoutMs: 60_000,
  handler,
});

/** What the handler receives as a task's output, on the first run and on replay, and then the inputs of the task. */
async function seenOf(output: unknown, input?: unknown): Promise<unknown[]> {
  const seen: unknown[] = [];
  const given: unknown[] = [];
  const v = workflow({ name: "w" }).v("1", {
    async handler(run) {
      const handler = (value: unknown): unknown => {
        given.push(value);
        return output;
      };
      seen.push(await run[performer](task("t", input, handler)).catch((error: Error) => error.cause));
      await run.sleep({ seconds: 1 });
      return given;
    },
  });
  const rig = new ReplayRig(v);
  await rig.toEnd();
  expect(rig.ledger.fence).toBe(2);
  return [...seen, ...given];
}

describe("the output of a task", () => {
  it("a handler receives a task's result in its JSON form, on the first run and on replay", async () => {
    const values = [
      JSON.parse('{"__proto__":{"polluted":true},"constructor":1}'),
      -0,
      "\ud800 \u0000 lone",
      1e21,
      { dropped: undefined, kept: null },
      undefined,
      [[]],
    ];
    for (const value of values) {
      const [live, replayed] = await seenOf(value);
      const carried: unknown = value === undefined ? undefined : JSON.parse(JSON.stringify(value));
      expect(live).toStrictEqual(carried);
      expect(replayed).toStrictEqual(carried);
      expect(live).not.toBe(value !== null && typeof value === "object" ? value : Symbol("another"));
    }
    expect({}).not.toHaveProperty("polluted");
  });

  it("a result that JSON cannot represent fails the task without a retry, and the error has the path", async () => {
    const cases = [
      [{ at: [new Date(0)] }, /output of task "t"\.at\[0\] is a Date/],
      [new Map(), /is a Map/],
      [10n, /is a BigInt/],
      [Number.NaN, /is NaN/],
    ] as const;
    for (const [value, message] of cases) {
      const [live, replayed] = await seenOf(value);
      for (const error of [live, replayed]) {
        expect(error).toMatchObject({ code: "UNSERIALIZABLE", message: expect.stringMatching(message) });
      }
    }
  });

  it("a result that is too large fails the task without a retry, not the run", async () => {
    const [live, replayed] = await seenOf("x".repeat(2_000_001));
    for (const error of [live, replayed]) expect(error).toMatchObject({ code: "PAYLOAD_TOO_LARGE" });
  });
});

describe("the input of a task", () => {
  it("a task receives a copy of its input in JSON form", async () => {
    const input = { list: [1], dropped: undefined, zero: -0 };
    const [, , given] = await seenOf(1, input);
    expect(given).toStrictEqual({ list: [1], zero: 0 });
  });

  it("an input that JSON cannot represent rejects the call at once, also on replay", async () => {
    const seen: unknown[] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const call = run[performer](task("t", { when: new Date(0) }, () => 1));
        seen.push(await call.catch((error: { code: string; message: string }) => error.message));
        await run.sleep({ seconds: 1 });
        await run[performer](task("t", 1, () => 1));
      },
    });
    const rig = new ReplayRig(v);
    await rig.toEnd();
    expect(rig.ledger.status).toBe("completed");
    expect(seen).toEqual([seen[0], seen[0]]);
    expect(seen[0]).toMatch(/input of task "t"\.when is a Date/);
  });

  it("calls are distinguished by their input, not by the order of its keys, or by their key", async () => {
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        await run[performer](task("t", { a: 1, b: 2 }, () => 1));
        await run[performer](task("t", { b: 2, a: 1 }, () => 1));
        await run[performer](task("t", { a: 2 }, () => 1));
        await run[performer]({ ...task("a:b#c", { a: 2 }, () => 1), key: "k/1" });
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    const addresses = rig.ledger.entries.map(({ address }) => address);
    const [first = ""] = addresses;
    expect(first).toMatch(/^task:t:[0-9a-f]{32}#0$/);
    expect(addresses[1]).toBe(first.replace("#0", "#1"));
    expect(addresses[2]).toMatch(/^task:t:[0-9a-f]{32}#0$/);
    expect(addresses[2]).not.toBe(first);
    expect(addresses[3]).toBe("task:a%3ab%23c:k%2f1#0");
  });

  it("a task's schemas validate and transform its input and output, also on replay", async () => {
    const tripled = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) =>
          typeof value === "number" ? { value: value * 3 } : { issues: [{ message: "no number", path: ["n"] }] },
      },
    } as const;
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const schemas = { inputSchema: tripled, outputSchema: tripled };
        const good = await run[performer]({ ...task("t", 1, (input) => input), ...schemas });
        const bad = await run[performer]({ ...task("t", "1", () => 1), ...schemas }).catch(
          (error: Error) => error.message,
        );
        await run.sleep({ seconds: 1 });
        return [good, bad];
      },
    });
    const rig = new ReplayRig(v);
    await rig.toEnd();
    expect(rig.output).toEqual([9, expect.stringContaining("no number")]);
    expect(rig.ledger.entries.filter(({ value }) => value.type === "retrying")).toEqual([]);
  });
});

describe("a workflow's own input and output", () => {
  it("a workflow's schemas validate its input and output, and a mismatch fails the run without a retry", async () => {
    const positive = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) =>
          typeof value === "number" && value > 0 ? { value: value + 1 } : { issues: [{ message: "not positive" }] },
      },
    } as const;
    const v = workflow({ name: "w" }).v("1", {
      retry: { type: "fixed", maxAttempts: 9, delayMs: 1 },
      schema: { input: positive, output: positive },
      handler: (_run, input) => (input === 11 ? 5 : -1),
    });
    const outcomes: unknown[] = [];
    for (const input of [10, 1, -1, undefined]) {
      const rig = new ReplayRig(v, input);
      await rig.replay();
      outcomes.push(rig.output ?? rig.ledger.error?.message);
    }
    expect(outcomes).toEqual([
      6,
      expect.stringContaining("output of w@1 does not fit"),
      expect.stringContaining("input of w@1 does not fit"),
      expect.stringContaining("input of w@1 does not fit"),
    ]);
  });
});

describe("names such as constructor", () => {
  it("steps, sleeps and workflows may have names such as constructor", async () => {
    const names = ["constructor", "__proto__", "toString", "a:b", "a#b/c"];
    const v = workflow({ name: "__proto__" }).v("constructor", {
      async handler(run) {
        const seen: unknown[] = [];
        for (const name of names) {
          seen.push(await run.step(name, () => name));
          await run.sleep(name, { milliseconds: 1 });
        }
        return seen;
      },
    });
    const rig = new ReplayRig(v);
    await rig.toEnd();
    expect(rig.output).toEqual(names);
  });
});
