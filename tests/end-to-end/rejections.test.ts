/** Unhandled rejections in the process of a worker. */

import { describe, expect, it } from "vitest";
import { run } from "./processes.ts";
import type { RejectingProcessConfig } from "./rejecting-process.ts";

async function outcomeOf(config: RejectingProcessConfig): Promise<{ output: string; code: number | null }> {
  const started = run("rejecting-process.ts", config);
  const { code } = await started.exited;
  return { output: started.output, code };
}

describe.concurrent("an unhandled rejection", () => {
  it.each([
    { where: "in a run", isListening: false },
    { where: "in a run", isListening: true },
    { where: "in a suspended run", isListening: false },
  ] as const)(
    "an unhandled rejection $where fails the run with its error, and the worker continues (listener: $isListening)",
    async (config) => {
      expect(await outcomeOf(config)).toEqual({
        output: "outcome: RUN_FAILED: UNHANDLED_REJECTION: SOLD_OUT, nothing left\nthe next run: hello\nclosed\n",
        code: 0,
      });
    },
  );

  it("an unhandled rejection outside of runs ends the process", async () => {
    const { output, code } = await outcomeOf({ where: "outside of runs", isListening: false });
    expect(code).toBe(1);
    expect(output).toContain("Error: nothing left");
    expect(output).not.toContain("the next run");
  });

  it("an unhandled rejection outside of runs is left to the application's own listener", async () => {
    expect(await outcomeOf({ where: "outside of runs", isListening: true })).toEqual({
      output: "the application receives: Error: nothing left\nthe next run: hello\nclosed\n",
      code: 0,
    });
  });
});
