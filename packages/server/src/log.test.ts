import { runInNewContext } from "node:vm";
import { AikiError, type LogFields } from "@aikirun/lib";
import { describe, expect, it } from "vitest";
import { jsonLogger } from "./log.ts";

function lineOf(fields: LogFields, bound: LogFields = {}): Record<string, unknown> {
  const lines: string[] = [];
  jsonLogger({ destination: { write: (line) => lines.push(line) } })
    .child(bound)
    .error("failed", fields);
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] ?? "");
}

describe("the JSON log", () => {
  it("the JSON log writes one object per line, with the fields of its parents and no credentials", () => {
    const lines: string[] = [];
    const logger = jsonLogger({ destination: { write: (line) => lines.push(line) } }).child({ worker: "w1" });
    logger.debug("not shown");
    logger.warn("a request failed", { authorization: "Bearer abc", database: { password: "hunter2" }, runId: "r" });
    expect(lines).toHaveLength(1);
    const line = lines[0] ?? "";
    expect(JSON.parse(line)).toMatchObject({ level: "warn", msg: "a request failed", worker: "w1", runId: "r" });
    expect(line).not.toMatch(/Bearer|hunter2/);
  });

  it("the JSON log writes name, message, code, stack and cause of an error, under any key", () => {
    const cause = Object.assign(new TypeError("refused"), { code: "ECONNREFUSED" });
    const error = new AikiError("STORAGE_UNAVAILABLE", "no database", { cause });
    const shown = {
      name: "AikiError",
      message: "no database",
      code: "STORAGE_UNAVAILABLE",
      stack: expect.stringMatching(/no database\n +at .*log\.test\.ts/),
      cause: { name: "TypeError", message: "refused", code: "ECONNREFUSED", stack: expect.stringContaining("refused") },
    };
    expect(lineOf({ error, reason: error })).toMatchObject({ error: shown, reason: shown });
    expect(lineOf({ deep: { list: [{ error }] } })).toMatchObject({ deep: { list: [{ error: shown }] } });
    expect(lineOf({}, { bound: error })).toMatchObject({ bound: shown });
  });

  it("the JSON log writes the errors of an AggregateError, and errors of another realm or with toJSON", () => {
    const both = new AggregateError([new Error("first"), new RangeError("second")], "both failed");
    const errors = [{ message: "first" }, { name: "RangeError", message: "second" }];
    expect(lineOf({ both })).toMatchObject({ both: { name: "AggregateError", message: "both failed", errors } });
    const foreign: unknown = runInNewContext("new TypeError('elsewhere')");
    expect(lineOf({ foreign })).toMatchObject({ foreign: { name: "TypeError", message: "elsewhere" } });
    const own = Object.assign(new Error("own"), { toJSON: () => ({}) });
    expect(lineOf({ own })).toMatchObject({ own: { name: "Error", message: "own" } });
  });

  it("the JSON log writes thrown values that are no errors, and values that JSON cannot represent", () => {
    const fields = { text: "thrown", none: null, big: 1n, mark: Symbol("s"), at: new Date(0), plain: { a: [1] } };
    expect(lineOf(fields)).toMatchObject({
      text: "thrown",
      none: null,
      big: "1",
      mark: "Symbol(s)",
      at: "1970-01-01T00:00:00.000Z",
      plain: { a: [1] },
    });
  });

  it("the JSON log accepts values that cannot be read", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const circle: { self?: unknown; error: Error } = { error: new Error("inside") };
    circle.self = circle;
    const hostile = Object.defineProperty({}, "trap", {
      enumerable: true,
      get: () => {
        throw new Error("trap");
      },
    });
    expect(lineOf({ proxy, circle, hostile })).toMatchObject({
      proxy: "(unreadable)",
      circle: { self: "(circular)", error: { message: "inside" } },
      hostile: "(unreadable)",
    });
  });

  it("the JSON log omits the own fields of an error, which may hold payloads and secrets", () => {
    const error = Object.assign(new Error("failed"), { config: { headers: { authorization: "Bearer abc" } } });
    expect(JSON.stringify(lineOf({ error, inner: { error } }))).not.toContain("Bearer");
  });
});
