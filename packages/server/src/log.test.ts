import { describe, expect, it } from "vitest";
import { jsonLogger } from "./log.ts";

describe("the JSON log", () => {
  it("has one object per line, the fields of its parents, and no credentials", () => {
    const lines: string[] = [];
    const logger = jsonLogger({ destination: { write: (line) => lines.push(line) } }).child({ worker: "w1" });
    logger.debug("not shown");
    logger.warn("a request failed", { authorization: "Bearer abc", database: { password: "hunter2" }, runId: "r" });
    expect(lines).toHaveLength(1);
    const line = lines[0] ?? "";
    expect(JSON.parse(line)).toMatchObject({ level: "warn", msg: "a request failed", worker: "w1", runId: "r" });
    expect(line).not.toMatch(/Bearer|hunter2/);
  });
});
