import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  AikiError,
  ChildRunFailedError,
  isAikiError,
  isRetryable,
  NonRetryableError,
  RunCancelledError,
  RunStalledError,
  TaskFailedError,
} from "./error.ts";
import { describeError, restoreError } from "./failure.ts";
import { limits } from "./protocol/api.ts";
import type { Failure } from "./protocol/run.ts";

const code = fc.oneof(fc.string(), fc.double(), fc.constantFrom("ECONNRESET", undefined, null));
const name = fc.constantFrom("Error", "", "AggregateError", undefined);
const field = fc.oneof(fc.jsonValue(), fc.anything({ withBigInt: true, withDate: true, withMap: true }));

/**
 * Thrown values of any kind: errors with fields, causes and nested errors, and values that throw when they are read.
 * Functions create them, because fast-check reads the values that it generates.
 */
const { thrown } = fc.letrec<{ thrown: () => unknown }>((tie) => ({
  thrown: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.anything({ withNullPrototype: true, withTypedArray: true }).map((value) => () => value),
    fc.constantFrom({}, [], () => {}).map((target) => () => revoked(target)),
    fc.tuple(fc.string({ unit: "binary" }), fc.anything(), tie("thrown")).map(([message, errors, cause]) => () => ({
      message,
      errors,
      cause: cause(),
    })),
    fc.tuple(fc.string({ unit: "binary" }), fc.dictionary(fc.string(), field), code, name, tie("thrown")).map(
      ([message, fields, code, name, cause]) =>
        () =>
          Object.assign(new Error(message, { cause: cause() }), fields, { code }, name === undefined ? {} : { name }),
    ),
    fc.tuple(fc.array(tie("thrown"), { maxLength: 12 }), fc.string()).map(
      ([parts, text]) =>
        () =>
          new AggregateError(
            parts.map((part) => part()),
            text,
          ),
    ),
    fc.string().map((reason) => () => new RunCancelledError({ runId: "r1" }, reason)),
  ),
}));

const call = { task: "charge", runId: "r1", address: "task:charge:9f#0" };

describe("describeError", () => {
  it("describeError keeps name, message, code, stack and causes", () => {
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
    ["a number as code", Object.assign(new Error("x"), { code: 7 }), { name: "Error", message: "x", code: 7 }],
    ["an error of another realm", runInNewContext("new RangeError('far')"), { name: "RangeError", message: "far" }],
    ["a DOMException", new DOMException("gone", "AbortError"), { name: "AbortError", message: "gone" }],
  ];
  it.each(strange)("describeError describes %s", (_, thrown, failure) => {
    expect(describeError(thrown)).toMatchObject(failure);
  });

  it("describeError keeps the errors of an AggregateError of any realm or library", async () => {
    const parts = ["first", "second"].map((message) => Promise.reject(new Error(message)));
    const thrown: unknown = await Promise.any(parts).catch((reason: unknown) => reason);
    const errors = [{ message: "first" }, { message: "second" }];
    expect(describeError(thrown)).toMatchObject({ name: "AggregateError", errors });
    const foreign: unknown = runInNewContext("new AggregateError([new Error('first'), { message: 'second' }])");
    expect(describeError(foreign)).toMatchObject({ name: "AggregateError", errors });
    const copied = Object.assign(new Error("both"), { name: "AggregateError", errors });
    expect(describeError(copied)).toMatchObject({ name: "AggregateError", errors });
    expect(describeError(new AggregateError([]))).toMatchObject({ errors: [] });
  });

  it("describeError keeps ten errors of an AggregateError, and counts the others", () => {
    const many = new AggregateError(Array.from({ length: 61 }, (_, index) => new Error(`no ${index}`)));
    const failure = describeError(many);
    expect(failure.errors?.map(({ message }) => message)).toEqual(Array.from({ length: 10 }, (_, n) => `no ${n}`));
    expect(failure.omittedErrors).toBe(51);
    let nested: unknown = new Error("deepest");
    for (let level = 0; level < 6; level++) nested = new AggregateError(Array(12).fill(nested));
    expect(count(describeError(nested))).toBeLessThanOrEqual(100);
    const self = new AggregateError([], "self");
    self.errors.push(self, new Error("other"));
    expect(describeError(self)).toMatchObject({ errors: [{ message: "other" }], omittedErrors: 1 });
  });

  it("describeError keeps own fields that JSON can represent, and omits the others", () => {
    const trap = () => {
      throw new Error("trap");
    };
    const thrown = Object.assign(new Error("no"), {
      code: "23505",
      table: "orders",
      errno: -111,
      issues: [{ path: ["a", 0], message: "wrong" }],
      errors: ["a is wrong"],
      "0": null,
      socket: new Map(),
      response: { request: trap },
      absent: undefined,
    });
    Object.defineProperty(thrown, "hidden", { value: 1, enumerable: false });
    Object.defineProperty(thrown, "trap", { get: trap, enumerable: true });
    expect(JSON.parse(describeError(thrown).details ?? "")).toEqual({
      "0": null,
      table: "orders",
      errno: -111,
      issues: [{ path: ["a", 0], message: "wrong" }],
      errors: ["a is wrong"],
    });
    expect(describeError(new Error("x"))).not.toHaveProperty("details");
    expect(describeError(Object.assign(new Error("x"), { code: Number.NaN }))).not.toHaveProperty("code");
  });

  it("describeError truncates long own fields, and omits a field that exceeds the total limit", () => {
    const body = "x".repeat(1e6);
    const big = Array.from({ length: 1e5 }, () => null);
    const thrown = Object.assign(new Error("no"), { big, body, small: 1 });
    const details = describeError(thrown).details ?? "";
    expect(details.length).toBeLessThanOrEqual(8_192);
    expect(JSON.parse(details)).toEqual({
      body: expect.stringMatching(/^x{2048}… \(cut from 1000000 characters\)$/),
      small: 1,
    });
  });

  it("describeError stops at a cycle of causes, and in an endless chain", () => {
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

  it("describeError accepts values that throw when they are read", () => {
    const trap = () => {
      throw new Error("trap");
    };
    const proxy = new Proxy({}, { get: trap, has: trap, getPrototypeOf: trap, ownKeys: trap });
    expect(describeError(proxy).name).toBe("NonError");
    const getters = Object.defineProperties(new Error("kept"), { stack: { get: trap }, cause: { get: trap } });
    expect(describeError(getters)).toEqual({ name: "Error", message: "kept" });
    for (const proxy of [revoked({}), revoked(() => {}), revoked([])]) {
      expect(describeError(proxy)).toEqual({
        name: "NonError",
        message: "object thrown: something that cannot be shown",
      });
    }
    expect(describeError(new Error("outer", { cause: revoked({}) }))).toMatchObject({ cause: { name: "NonError" } });
    expect(describeError(Object.assign(new Error("x"), { field: revoked({}) }))).not.toHaveProperty("details");
    const listed = Object.defineProperty(new AggregateError([]), "errors", { value: revoked([]) });
    expect(describeError(listed)).not.toHaveProperty("errors");
    const numbered = { [Symbol.toPrimitive]: trap, toString: trap, toJSON: trap };
    expect(describeError(numbered)).toMatchObject({ message: "object thrown: something that cannot be shown" });
  });

  it("describeError returns at most 64 KiB of JSON, and marks where it was cut", () => {
    const size = (failure: Failure) => Buffer.byteLength(JSON.stringify(failure));
    let nested = new Error("\u0000".repeat(1e6));
    for (let level = 0; level < 20; level++) nested = new Error("€".repeat(1e5), { cause: nested });
    expect(size(describeError(nested))).toBeLessThanOrEqual(limits.failureBytes);
    expect(describeError(new Error("x".repeat(20_000))).message).toMatch(/x… \(cut from 20000 characters\)$/);
    const controls = "\u0001".repeat(1e5);
    const worst = Object.assign(new Error(controls), { name: controls, code: controls, stack: controls });
    expect(size(describeError(worst))).toBeLessThanOrEqual(limits.failureBytes);
    const wide = new AggregateError(Array.from({ length: 10 }, () => worst));
    expect(size(describeError(wide))).toBeLessThanOrEqual(limits.failureBytes);
    fc.assert(fc.property(thrown, (value) => size(describeError(value())) <= limits.failureBytes));
  });
});

describe("restoreError", () => {
  const again = (thrown: unknown) => restoreError(JSON.parse(JSON.stringify(describeError(thrown))));

  it("describing a restored error gives the same description", () => {
    const errors = [
      new TaskFailedError(call, Object.assign(new RangeError("far"), { code: "E_FAR" })),
      new NonRetryableError("no", { cause: new Error("root") }),
      new AikiError("UNREACHABLE", "x", { ids: { runId: "r9" } }),
      new TypeError("y"),
    ];
    for (const error of errors) expect(describeError(again(error))).toEqual(describeError(error));
    const described = (value: () => unknown) => {
      const failure = describeError(value());
      expect(describeError(restoreError(JSON.parse(JSON.stringify(failure))))).toEqual(withStacks(failure));
    };
    fc.assert(fc.property(thrown, described), { numRuns: 500 });
  });

  it("restoreError restores an AggregateError with its errors and the number of omitted ones", () => {
    const parts = Array.from({ length: 12 }, (_, index) =>
      Object.assign(new RangeError(`no ${index}`), { code: index }),
    );
    const restored = again(new AggregateError(parts, "all failed", { cause: new Error("why") }));
    expect(restored).toBeInstanceOf(AggregateError);
    expect(restored).toMatchObject({
      message: "all failed",
      cause: { message: "why" },
      errors: parts.slice(0, 10).map(({ message, code }) => ({ name: "RangeError", message, code })),
      omittedErrors: 2,
    });
    expect(Object.keys(restored)).toEqual(["omittedErrors"]);
    expect(again(new AggregateError([]))).toMatchObject({ errors: [] });
  });

  it("restoreError restores own fields and the type of a code", () => {
    const restored = again(Object.assign(new Error("no"), { code: 14, details: "UNAVAILABLE", metadata: { a: [1] } }));
    expect(restored).toMatchObject({ code: 14, details: "UNAVAILABLE", metadata: { a: [1] } });
    expect(Object.keys(restored)).toEqual(["code", "details", "metadata"]);
    expect(again(Object.assign(new Error("no"), { code: "14" }))).toMatchObject({ code: "14" });
    const ids = { url: "http://x" };
    const aiki = again(new AikiError("UNREACHABLE", "x", { ids, retryable: false }));
    expect(aiki).toMatchObject({ ids, retryable: false });
    expect(isRetryable(aiki)).toBe(false);
    const stall = { reason: "crash_loop", crashes: 6 } as const;
    const stalled = again(new RunStalledError({ runId: "r1" }, stall, "Its worker died."));
    expect(stalled).toBeInstanceOf(RunStalledError);
    expect(stalled).toMatchObject({ code: "RUN_STALLED", stall, ids: { runId: "r1" }, retryable: false });
  });

  it("own fields never replace recorded fields or change a prototype", () => {
    const details = '{"message":"no","name":"no","stack":"no","cause":1,"code":1,"__proto__":{"polluted":1},"kept":1}';
    const restored = restoreError({ name: "E", message: "m", code: "C", stack: "s", details });
    expect(restored).toMatchObject({ name: "E", message: "m", code: "C", stack: "s", kept: 1 });
    expect(restored).not.toHaveProperty("cause");
    expect(restored).toBeInstanceOf(Error);
    expect(Reflect.get({}, "polluted")).toBeUndefined();
    for (const text of ["", "{", "7", "null"])
      expect(restoreError({ name: "E", message: "m", details: text })).toBeDefined();
  });

  it("restoreError restores the class and retryable if the code is Aiki's own", () => {
    class CardDeclined extends NonRetryableError {
      override readonly name = "CardDeclined";
    }
    const declined = again(new CardDeclined("no"));
    expect(declined).toBeInstanceOf(NonRetryableError);
    expect(declined.name).toBe("CardDeclined");
    expect(isRetryable(declined)).toBe(false);
    expect(again(new TaskFailedError(call, new Error("x")))).toBeInstanceOf(TaskFailedError);
    expect(again(new AikiError("UNREACHABLE", "x"))).toBeInstanceOf(AikiError);
    const newer = restoreError({
      name: "AikiError",
      code: "OF_A_NEWER_SERVER",
      message: "m",
      details: '{"retryable":false}',
    });
    expect(newer).toBeInstanceOf(AikiError);
    expect(newer).toMatchObject({ code: "OF_A_NEWER_SERVER", message: "m", retryable: false });
    expect(isAikiError(again(Object.assign(new Error("x"), { code: "ECONNRESET" })))).toBe(false);
  });

  it("restoreError restores whether a child failed or was cancelled", () => {
    const failed = new ChildRunFailedError({ runId: "c1" }, "failed", new Error("x"));
    const cancelled = new ChildRunFailedError({ runId: "c1" }, "cancelled", new RunCancelledError({ runId: "c1" }));
    expect(again(failed)).toMatchObject({ status: "failed", ids: { runId: "c1" } });
    expect(again(cancelled)).toMatchObject({ status: "cancelled", cause: { code: "RUN_CANCELLED" } });
  });

  it("a restored error shows the recorded stack, never the stack of restoreError", () => {
    expect(restoreError({ name: "E", message: "m", stack: "E: m\n  at there" }).stack).toBe("E: m\n  at there");
    expect(restoreError({ name: "E", message: "m" }).stack).toBe("E: m");
  });
});

/** A revoked proxy: every operation except `typeof` throws. */
function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

/** The failure with the stack that a restored error has: its name and message if no stack was recorded. */
function withStacks(failure: Failure): Failure {
  const { name, message, stack = `${name}: ${message}`, cause, errors } = failure;
  const inner = { ...(cause && { cause: withStacks(cause) }), ...(errors && { errors: errors.map(withStacks) }) };
  return { ...failure, stack, ...inner };
}

function count({ cause, errors = [] }: Failure): number {
  return 1 + [...(cause === undefined ? [] : [cause]), ...errors].reduce((sum, inner) => sum + count(inner), 0);
}

function depth(failure: Failure): number {
  return failure.cause === undefined ? 1 : 1 + depth(failure.cause);
}
