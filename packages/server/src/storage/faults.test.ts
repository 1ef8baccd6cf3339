import { AikiError, type LogFields, type Logger, silentLogger } from "@aikirun/lib";
import { virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { StorageFaults } from "./faults.ts";

type LoggedFault = [level: string, message: string, fields: LogFields | undefined];

function observing() {
  const env = virtualEnv();
  const lines: LoggedFault[] = [];
  const at = (level: string) => (message: string, fields?: LogFields) => void lines.push([level, message, fields]);
  const logger: Logger = { ...silentLogger, info: at("info"), warn: at("warn"), error: at("error") };
  const faults = new StorageFaults({ env, logger });
  return {
    env,
    lines,
    succeed: (access: "read" | "write" = "read") => faults.observe(access, Promise.resolve(1)),
    fail: async (error: Error = unavailable, access: "read" | "write" = "read") => {
      await expect(faults.observe(access, Promise.reject(error))).rejects.toBe(error);
    },
  };
}

const unavailable = new AikiError("STORAGE_UNAVAILABLE", "unreachable");
const full = new AikiError("STORAGE_FULL", "full");

describe("the faults of a storage", () => {
  it("storage faults cause one warning when they begin, and one line with their number when they end", async () => {
    const { env, lines, fail, succeed } = observing();
    await succeed();
    for (let second = 0; second < 30; second += 1) {
      await fail();
      await fail();
      await env.advance(1_000);
    }
    await succeed();
    expect(lines).toEqual([["warn", "the database fails", { code: unavailable.code, faults: 1, error: unavailable }]]);
    await env.advance(5_000);
    await succeed();
    await succeed();
    expect(lines.slice(1)).toEqual([["info", "the database works again", { faults: 60, failedForMs: 29_000 }]]);
    await fail();
    expect(lines[2]).toEqual(["warn", "the database fails", { code: unavailable.code, faults: 1, error: unavailable }]);
  });

  it("storage faults are logged again each minute, and at once if their kind changes", async () => {
    const { env, lines, fail } = observing();
    for (let second = 0; second <= 120; second += 1) {
      await fail();
      if (second === 10) await fail(full);
      await env.advance(1_000);
    }
    expect(lines.map(([level, , fields]) => [level, fields?.code, fields?.faults])).toEqual([
      ["warn", "STORAGE_UNAVAILABLE", 1],
      ["warn", "STORAGE_FULL", 12],
      ["warn", "STORAGE_UNAVAILABLE", 62],
      ["warn", "STORAGE_UNAVAILABLE", 122],
    ]);
  });

  it("storage faults that alternate with successes are one period", async () => {
    const { env, lines, fail, succeed } = observing();
    for (let count = 0; count < 20; count += 1) {
      await fail();
      await env.advance(2_000);
      await succeed();
    }
    expect(lines).toHaveLength(1);
  });

  it("a read does not end the faults of writes, as on a full disk", async () => {
    const { env, lines, fail, succeed } = observing();
    await fail(full, "write");
    await env.advance(60_000);
    await succeed("read");
    expect(lines).toHaveLength(1);
    await succeed("write");
    expect(lines).toHaveLength(2);
  });

  it("faults of the server itself are logged as errors, and repeated decisions are no faults", async () => {
    const { lines, fail } = observing();
    await fail(new AikiError("STORAGE_CONFLICT", "in the way"));
    await fail(new AikiError("STORAGE_CLOSED", "closed"));
    await fail(new Error("decided wrongly"));
    expect(lines).toEqual([]);
    await fail(new AikiError("STORAGE_FAILED", "unforeseen"));
    await fail(new AikiError("ROW_UNREADABLE", "a row"));
    expect(lines.map(([level, , fields]) => [level, fields?.code])).toEqual([
      ["error", "STORAGE_FAILED"],
      ["warn", "ROW_UNREADABLE"],
    ]);
  });
});
