import { describe, expect, it } from "vitest";
import { consoleLogger, type LogFields, type LogLevel, silentLogger } from "./log.ts";

const at = new Date(2026, 0, 2, 3, 4, 5, 6).getTime();

function lines(level?: LogLevel) {
  const written: string[] = [];
  const logger = consoleLogger({ ...(level && { level }), now: () => at, write: (line) => written.push(line) });
  return { written, logger };
}

function lineOf(message: string, fields?: LogFields): string | undefined {
  const { written, logger } = lines();
  logger.info(message, fields);
  return written[0];
}

describe("consoleLogger", () => {
  it("consoleLogger writes the time, the level, the message and the fields on one line", () => {
    expect(lineOf("Run claimed", { runId: "r1", fence: 3, isCached: false, shard: null, none: undefined })).toBe(
      "03:04:05.006 info  Run claimed runId=r1 fence=3 isCached=false shard=null",
    );
  });

  it("a value that looks like another field is quoted", () => {
    expect(lineOf("x", { a: "b c=d", e: "", q: 'say "x"' })).toBe(
      '03:04:05.006 info  x a="b c=d" e="" q="say \\"x\\""',
    );
  });

  it("control characters are escaped: no value can forge a line or control the terminal", () => {
    const line = lineOf("a\nb\u001b[2J\u2028", { "k\r": "v\u0007", o: { n: "\u009b" } });
    expect(line).toBe('03:04:05.006 info  a\\nb\\u001b[2J\\u2028 k\\u000d=v\\u0007 o={"n":"\\u009b"}');
  });

  it("an error is shown by its name, message and cause", () => {
    const error = new TypeError("no socket", { cause: new Error("refused") });
    expect(lineOf("x", { error })).toBe('03:04:05.006 info  x error="TypeError: no socket (caused by Error: refused)"');
    const all = new AggregateError([new Error("refused"), new Error("late")], "all failed");
    const line = '03:04:05.006 info  x all="AggregateError: all failed (caused by Error: refused)"';
    expect(lineOf("x", { all })).toBe(line);
  });

  it("an error inside a field is shown", () => {
    const line = lineOf("x", { outcome: { error: new TypeError("no socket") } });
    expect(line).toContain('outcome={"error":{"name":"TypeError","message":"no socket","stack":"TypeError: no socket');
  });

  it("lines below the level are dropped; the default level is info", () => {
    for (const [level, kept] of [
      [undefined, ["info", "warn", "error"]],
      ["debug", ["debug", "info", "warn", "error"]],
      ["error", ["error"]],
    ] as const) {
      const { written, logger } = lines(level);
      logger.debug("m");
      logger.info("m");
      logger.warn("m");
      logger.error("m");
      expect(written.map((line) => line.split(" ")[1])).toEqual(kept);
    }
  });

  it("a child logger adds its fields to every line, before those of the line", () => {
    const { written, logger } = lines();
    logger.child({ a: 1, b: 1 }).child({ b: 2 }).warn("m", { c: 3 });
    expect(written).toEqual(["03:04:05.006 warn  m a=1 b=2 c=3"]);
  });

  it("fields that cannot be shown do not throw, and long ones are truncated", () => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    expect(lineOf("x", { cycle, big: 1n })).toBe('03:04:05.006 info  x cycle={"self":"(circular)"} big=1');
    const { proxy: error, revoke } = Proxy.revocable({}, {});
    revoke();
    expect(lineOf("x", { error })).toBe("03:04:05.006 info  x error=(unreadable)");
    expect(lineOf("x", { long: "y".repeat(3_000) })?.length).toBeLessThan(2_100);
  });
});

describe("silentLogger", () => {
  it("the child of silentLogger is silentLogger", () => {
    expect(silentLogger.child({ a: 1 })).toBe(silentLogger);
  });
});
