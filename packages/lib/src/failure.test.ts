import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  AikiError,
  ChildRunFailedError,
  isAikiError,
  isRetryable,
  NonRetryableError,
  RunCancelledError,
  TaskFailedError,
} from "./error.ts";
import { describeError, restoreError } from "./failure.ts";
import { limits } from "./protocol/api.ts";
import type { Failure } from "./protocol/run.ts";

const call = { task: "charge", runId: "r1", address: "task:charge:9f#0" };

describe("describeError", () => {
  it("keeps name, message, code, stack and causes", () => {
    const root = Object.assign(new TypeError("socket closed"), { code: "ECONNRESET" });
    const failure = describeError(new TaskFailedError(call, root));
    expect(failure).toMatchObject({
      name: "TaskFailedError",
      code: "TASK_FAILED",
      runId: "r1",
      message: 'Task "charge" failed for good: socket closed',
      cause: { name: "TypeError", message: "socket closed", code: "ECONNRESET" },
    });
    expect(failure.stack).toContain("failure.test.ts");
  });

  const strange: Array<[string, unknown, Partial<Failure>]> = [
    ["null", null, { name: "NonError", message: "object thrown: null" }],
    ["undefined", undefined, { name: "NonError", message: "undefined thrown: undefined" }],
    ["a string", "no", { name: "NonError", message: "string thrown: no" }],
    ["a symbol", Symbol("x"), { name: "NonError", message: "symbol thrown: Symbol(x)" }],
    ["a plain object", { reason: 7 }, { name: "NonError", message: 'object thrown: {"reason":7}' }],
    ["an object like an error", { message: "no", name: "" }, { name: "Error", message: "no" }],
    ["an object with BigInt", { a: 1n }, { message: "object thrown: something that cannot be shown" }],
    ["a number as code", Object.assign(new Error("x"), { code: 7 }), { name: "Error", message: "x" }],
    ["a DOMException", new DOMException("gone", "AbortError"), { name: "AbortError", message: "gone" }],
  ];
  it.each(strange)("describes %s", (_, thrown, failure) => {
    expect(describeError(thrown)).toMatchObject(failure);
  });

  it("tells an AggregateError by its first error", async () => {
    const thrown = await Promise.any([Promise.reject(new Error("first"))]).catch((reason: unknown) => reason);
    expect(describeError(thrown)).toMatchObject({ name: "AggregateError", cause: { message: "first" } });
  });

  it("ends a cycle of causes, and a chain without end", () => {
    const one = new Error("one");
    const two = new Error("two", { cause: one });
    one.cause = two;
    expect(describeError(one)).toMatchObject({ message: "one", cause: { message: "two" } });
    expect(describeError(one).cause).not.toHaveProperty("cause");
    const endless = {
      message: "again",
      get cause(): unknown {
        return Object.create(endless);
      },
    };
    expect(depth(describeError(endless))).toBe(9);
  });

  it("survives whatever throws when it is read", () => {
    const trap = () => {
      throw new Error("trap");
    };
    const proxy = new Proxy({}, { get: trap, has: trap, getPrototypeOf: trap, ownKeys: trap });
    expect(describeError(proxy).name).toBe("NonError");
    const getters = Object.defineProperties(new Error("kept"), { stack: { get: trap }, cause: { get: trap } });
    expect(describeError(getters)).toEqual({ name: "Error", message: "kept" });
    const { proxy: gone, revoke } = Proxy.revocable(() => {}, {});
    revoke();
    expect(describeError(gone).name).toBe("NonError");
  });

  it("is JSON of at most 64 KiB for anything thrown, and says where it cut", () => {
    const size = (failure: Failure) => Buffer.byteLength(JSON.stringify(failure));
    let nested = new Error("\u0000".repeat(1e6));
    for (let level = 0; level < 20; level++) nested = new Error("€".repeat(1e5), { cause: nested });
    expect(size(describeError(nested))).toBeLessThanOrEqual(limits.failureBytes);
    expect(describeError(new Error("x".repeat(20_000))).message).toMatch(/x… \(cut from 20000 characters\)$/);
    const controls = "\u0001".repeat(1e5);
    const worst = Object.assign(new Error(controls), { name: controls, code: controls, stack: controls });
    expect(size(describeError(worst))).toBeLessThanOrEqual(limits.failureBytes);
    fc.assert(fc.property(fc.anything(), (thrown) => size(describeError(thrown)) <= limits.failureBytes));
  });
});

describe("restoreError", () => {
  const again = (thrown: unknown) => restoreError(JSON.parse(JSON.stringify(describeError(thrown))));

  it("describes what it restored as it was described", () => {
    const errors = [
      new TaskFailedError(call, Object.assign(new RangeError("far"), { code: "E_FAR" })),
      new NonRetryableError("no", { cause: new Error("root") }),
      new AikiError("UNREACHABLE", "x", { ids: { runId: "r9" } }),
      new TypeError("y"),
    ];
    for (const error of errors) expect(describeError(again(error))).toEqual(describeError(error));
  });

  it("restores the class where the code is Aiki's own, and what it says of retries", () => {
    class CardDeclined extends NonRetryableError {
      override readonly name = "CardDeclined";
    }
    const declined = again(new CardDeclined("no"));
    expect(declined).toBeInstanceOf(NonRetryableError);
    expect(declined.name).toBe("CardDeclined");
    expect(isRetryable(declined)).toBe(false);
    expect(again(new TaskFailedError(call, new Error("x")))).toBeInstanceOf(TaskFailedError);
    expect(again(new AikiError("UNREACHABLE", "x"))).toBeInstanceOf(AikiError);
    expect(isAikiError(again(Object.assign(new Error("x"), { code: "ECONNRESET" })))).toBe(false);
  });

  it("restores whether a child failed or was cancelled", () => {
    const failed = new ChildRunFailedError({ runId: "c1" }, "failed", new Error("x"));
    const cancelled = new ChildRunFailedError({ runId: "c1" }, "cancelled", new RunCancelledError({ runId: "c1" }));
    expect(again(failed)).toMatchObject({ status: "failed", ids: { runId: "c1" } });
    expect(again(cancelled)).toMatchObject({ status: "cancelled", cause: { code: "RUN_CANCELLED" } });
  });

  it("shows the recorded stack, never one of the place that restored it", () => {
    expect(restoreError({ name: "E", message: "m", stack: "E: m\n  at there" }).stack).toBe("E: m\n  at there");
    expect(restoreError({ name: "E", message: "m" }).stack).toBe("E: m");
  });
});

function depth(failure: Failure): number {
  return failure.cause === undefined ? 1 : 1 + depth(failure.cause);
}
