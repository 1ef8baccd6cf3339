import { describe, expect, it, vi } from "vitest";
import {
  AikiError,
  ChildRunFailedError,
  isAikiError,
  isRetryable,
  NonRetryableError,
  RunCancelledError,
  RunFailedError,
  RunStalledError,
  receivedCode,
  TaskFailedError,
  TaskTimeoutError,
} from "./error.ts";

const call = { task: "charge", runId: "r1", address: "task:charge:9f#0" };

describe("AikiError", () => {
  it("an AikiError has its code, ids and cause, and is an Error", () => {
    const cause = new Error("socket closed");
    const error = new AikiError("UNREACHABLE", "The server cannot be reached.", { cause, ids: { url: "http://x" } });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: "AikiError", code: "UNREACHABLE", ids: { url: "http://x" }, cause });
    expect(String(error)).toBe("AikiError: The server cannot be reached.");
    expect(Object.hasOwn(new AikiError("INTERNAL", "x"), "cause")).toBe(false);
  });

  it("retryable follows from the code, unless it is given", () => {
    expect(new AikiError("UNREACHABLE", "x").retryable).toBe(true);
    expect(new AikiError("UNSERIALIZABLE", "x").retryable).toBe(false);
    expect(new AikiError("UNREACHABLE", "x", { retryable: false }).retryable).toBe(false);
    expect(new AikiError("UNSERIALIZABLE", "x", { retryable: true }).retryable).toBe(true);
    for (const code of [
      "INVALID_OPTION",
      "INVALID_CLIENT",
      "AMBIGUOUS_CALL",
      "NESTED_CALL",
      "UNKNOWN_EVENT",
    ] as const) {
      expect(new AikiError(code, "x").retryable).toBe(false);
    }
    for (const code of ["UNHANDLED_REJECTION", "WAIT_WITHDRAWN"] as const)
      expect(new AikiError(code, "x").retryable).toBe(true);
  });

  it("an unknown code is kept and counts as retryable", () => {
    expect(new AikiError(receivedCode("OF_A_NEWER_SERVER"), "x")).toMatchObject({
      code: "OF_A_NEWER_SERVER",
      message: "x",
      retryable: true,
    });
    expect(new AikiError(receivedCode("toString"), "x").retryable).toBe(true);
  });

  it("the errors that users see name the task, the run and the reason", () => {
    const cause = new Error("card declined");
    expect(new TaskFailedError(call, cause)).toMatchObject({
      name: "TaskFailedError",
      code: "TASK_FAILED",
      ids: call,
      cause,
      retryable: true,
      message: 'Task "charge" failed for good: card declined',
    });
    expect(new ChildRunFailedError({ runId: "c1" }, "failed", cause)).toMatchObject({
      code: "CHILD_RUN_FAILED",
      status: "failed",
      cause,
      message: "Child run c1 failed: card declined",
    });
    expect(new ChildRunFailedError({ runId: "c1" }, "cancelled")).toMatchObject({
      status: "cancelled",
      message: "Child run c1 was cancelled.",
    });
    expect(new RunFailedError({ runId: "r1" }, cause)).toMatchObject({
      code: "RUN_FAILED",
      ids: { runId: "r1" },
      cause,
    });
    expect(new RunCancelledError({ runId: "r1" }, "too late").message).toBe("Run r1 was cancelled: too late");
    expect(new TaskTimeoutError(call, 500).message).toMatch(/"charge" did not finish within 500 ms/);
  });

  it("an error can have a cause whose message cannot be read", () => {
    const hostile = new Proxy({}, { get: refuse, getPrototypeOf: refuse, has: refuse });
    expect(new RunFailedError({ runId: "r1" }, hostile).cause).toBe(hostile);
    expect(isAikiError(hostile)).toBe(false);
    expect(isRetryable(hostile)).toBe(true);
  });

  it("the message of an AggregateError includes its first error", async () => {
    const cause: unknown = await Promise.any([Promise.reject(new Error("first"))]).catch((reason: unknown) => reason);
    expect(new RunFailedError({ runId: "r1" }, cause).message).toBe("Run r1 failed: All promises were rejected: first");
    expect(new RunFailedError({ runId: "r1" }, new AggregateError([], "none")).message).toBe("Run r1 failed: none");
  });

  it("the error of a stalled run says what happened and what to do", () => {
    const stall = { reason: "crash_loop", crashes: 6 } as const;
    expect(new RunStalledError({ runId: "r1" }, stall, "Stalled: why. Retry it.")).toMatchObject({
      name: "RunStalledError",
      code: "RUN_STALLED",
      stall,
      ids: { runId: "r1" },
      retryable: false,
      message: "Run r1 does not continue by itself. Stalled: why. Retry it.",
    });
  });
});

describe("instanceof", () => {
  it("instanceof holds across copies of this package, class by class", async () => {
    vi.resetModules();
    const copy = await import("./error.ts");
    expect(copy.AikiError).not.toBe(AikiError);
    const error = new copy.TaskFailedError(call, new Error("x"));
    expect(error).toBeInstanceOf(AikiError);
    expect(error).toBeInstanceOf(TaskFailedError);
    expect(error).not.toBeInstanceOf(NonRetryableError);
    expect(isAikiError(error)).toBe(true);
    expect(isRetryable(new copy.NonRetryableError("x"))).toBe(false);
  });

  it("instanceof distinguishes a user's subclasses", () => {
    class CardDeclined extends NonRetryableError {}
    class CardExpired extends NonRetryableError {}
    const error = new CardDeclined("no");
    expect(error).toBeInstanceOf(CardDeclined);
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(error).not.toBeInstanceOf(CardExpired);
    expect(new NonRetryableError("no")).not.toBeInstanceOf(CardDeclined);
    expect(error).toMatchObject({ code: "NON_RETRYABLE", retryable: false });
  });

  it("instanceof is false for a revoked proxy, and never throws", () => {
    class CardDeclined extends NonRetryableError {}
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const types = [
      AikiError,
      NonRetryableError,
      TaskFailedError,
      ChildRunFailedError,
      RunFailedError,
      RunCancelledError,
    ];
    for (const type of [...types, RunStalledError, TaskTimeoutError, CardDeclined]) {
      expect(proxy instanceof type).toBe(false);
    }
    expect(isAikiError(proxy)).toBe(false);
    expect(isRetryable(proxy)).toBe(true);
    expect(new TaskFailedError(call, proxy).message).toBe(
      'Task "charge" failed for good: an error that cannot be read',
    );
    expect(new ChildRunFailedError({ runId: "c1" }, "failed", proxy).cause).toBe(proxy);
  });

  it("instanceof is false for plain errors, look-alikes and primitives", () => {
    for (const value of [new Error("x"), { code: "TASK_FAILED" }, null, undefined, "AikiError", 1]) {
      expect(isAikiError(value)).toBe(false);
    }
  });
});

function refuse(): never {
  throw new Error("trap");
}
