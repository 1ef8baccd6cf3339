import { consoleLogger } from "@aikirun/lib";
import type { ReportedStall } from "@aikirun/lib/protocol";
import { claimedRun } from "@aikirun/testing/scripted-api";
import { describe, expect, it } from "vitest";
import { activationLog } from "./activation-log.ts";

describe("the log of a worker", () => {
  it("the log says why a run or an attempt failed", () => {
    const lines: string[] = [];
    const log = activationLog(consoleLogger({ now: () => 0, write: (line) => lines.push(line) }));
    const error = { name: "Error", message: "no stock", cause: { name: "HttpError", message: "409" } };
    log.ended(claimedRun("r"), { type: "finished", status: "failed", error });
    log.ended(claimedRun("r"), { type: "finished", status: "retrying", error, retryInMs: 200 });
    expect(lines).toEqual([
      expect.stringMatching(/warn {2}failed .*error="Error: no stock \(caused by HttpError: 409\)"/),
      expect.stringMatching(/warn {2}attempt failed .*retryInMs=200 error="Error: no stock/),
    ]);
  });

  it("the log says why a run stalled, and what to check", () => {
    const lines: string[] = [];
    const log = activationLog(consoleLogger({ now: () => 0, write: (line) => lines.push(line) }));
    const error = { name: "SchemaError", message: "n is no number" };
    const stalls: ReportedStall[] = [
      { reason: "diverged", call: "step:new#0", unclaimed: ["step:old#0"] },
      { reason: "ambiguous_call", call: "step:save", identity: "i1", places: ["order.ts:3:1"] },
      { reason: "schema_mismatch", call: "event:go#0", error },
      { reason: "idle", idleMs: 300_000 },
    ];
    for (const stall of stalls) log.ended(claimedRun("r"), { type: "stalled", stall });
    expect(lines).toEqual([
      expect.stringMatching(/warn {2}stalled: the code no longer fits the run .*call=step:new#0 .*step:old#0/),
      expect.stringMatching(/stalled: two alike calls cannot be distinguished .*call=step:save .*order.ts:3:1/),
      expect.stringMatching(/stalled: recorded data no longer fits the schema .*error="SchemaError: n is no number"/),
      expect.stringMatching(/stalled: the handler awaited only non-durable work for too long .*idleMs=300000/),
    ]);
  });

  it("the log says for which call a replay waits, since when, and what to do", () => {
    const lines: string[] = [];
    const log = activationLog(consoleLogger({ now: () => 0, write: (line) => lines.push(line) }));
    log.waiting(claimedRun("r"), "step:charge#0", Date.UTC(2025, 0, 1));
    expect(lines).toEqual([
      expect.stringMatching(
        /warn {2}the replay waits for a call that the code made before.*runId=r .*call=step:charge#0/,
      ),
    ]);
    expect(lines[0]).toMatch(
      /deploy code that makes it, or cancel the run and retry it .*since=2025-01-01T00:00:00.000Z/,
    );
  });
});
