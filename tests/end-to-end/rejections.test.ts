/** Promises that reject in the process of a worker and that nothing handles. */

import { describe, expect, it } from "vitest";
import { run } from "./processes.ts";
import type { RejectingProcessConfig } from "./rejecting-process.ts";

async function outcomeOf(config: RejectingProcessConfig): Promise<{ output: string; code: number | null }> {
  const started = run("rejecting-process.ts", config);
  const { code } = await started.exited;
  return { output: started.output, code };
}

describe.concurrent("a promise that nothing handles and that rejects", () => {
  it.each([
    { where: "in a run", isListening: false },
    { where: "in a run", isListening: true },
    { where: "in a suspended run", isListening: false },
  ] as const)(
    "$where fails the run with its error, and the worker goes on (listener: $isListening)",
    async (config) => {
      expect(await outcomeOf(config)).toEqual({
        output: "outcome: RUN_FAILED: UNHANDLED_REJECTION: SOLD_OUT, nothing left\nthe next run: hello\nclosed\n",
        code: 0,
      });
    },
  );

  it("outside of runs ends the process", async () => {
    const { output, code } = await outcomeOf({ where: "outside of runs", isListening: false });
    expect(code).toBe(1);
    expect(output).toContain("Error: nothing left");
    expect(output).not.toContain("the next run");
  });

  it("outside of runs is the application's, when it listens", async () => {
    expect(await outcomeOf({ where: "outside of runs", isListening: true })).toEqual({
      output: "the application receives: Error: nothing left\nthe next run: hello\nclosed\n",
      code: 0,
    });
  });
});
