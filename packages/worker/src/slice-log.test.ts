import { consoleLogger } from "@aikirun/lib";
import { describe, expect, it } from "vitest";
import { claimedRun } from "../test/scripted-api.ts";
import { sliceLog } from "./slice-log.ts";

describe("the log of a worker", () => {
  it("says why a run or an attempt failed", () => {
    const lines: string[] = [];
    const log = sliceLog(consoleLogger({ now: () => 0, write: (line) => lines.push(line) }));
    const error = { name: "Error", message: "no stock", cause: { name: "HttpError", message: "409" } };
    log.ended(claimedRun("r"), { type: "finished", status: "failed", error });
    log.ended(claimedRun("r"), { type: "finished", status: "retrying", error, retryInMs: 200 });
    expect(lines).toEqual([
      expect.stringMatching(/warn {2}failed .*error="Error: no stock \(caused by HttpError: 409\)"/),
      expect.stringMatching(/warn {2}attempt failed .*retryInMs=200 error="Error: no stock/),
    ]);
  });
});
