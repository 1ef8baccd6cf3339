import { type Client, client } from "@aikirun/client";
import { AikiError, silentLogger } from "@aikirun/lib";
import { recordedTerminal } from "@aikirun/testing/recorded-terminal";
import { scriptedApi } from "@aikirun/testing/scripted-api";
import { expect, it } from "vitest";
import { actOnEach } from "./bulk.ts";

const aiki: Client = await client({ server: { api: () => scriptedApi({}).api }, logger: silentLogger });
const ids = Array.from({ length: 250 }, (_, n) => `run-${n}`);
const refused = new AikiError("FORBIDDEN", "The key has no scope for this.");

it("an error of some runs is counted, and the command fails with the last one", async () => {
  const { terminal, out, shown } = recordedTerminal({ isInteractive: true });
  const act = async ({ id }: { id: string }) => {
    if (id.endsWith("7")) throw refused;
    if (id.endsWith("8")) throw new AikiError("RUN_FINAL", "The run has already ended.");
  };
  const acted = actOnEach(aiki, { ids, statuses: undefined, act }, "pause", {}, terminal);
  await expect(acted).rejects.toMatchObject({
    status: 1,
    message: "25 runs of 250 failed. The last error: FORBIDDEN: The key has no scope for this.",
  });
  expect(out).toEqual(["Paused 200 runs, skipped 25 whose status does not allow it or that do not exist, 25 failed."]);
  expect(shown[0]).toBe("pause runs  ██████████░░░░░░░░░░░░░░ 40%  100 of 250");
  expect(shown.at(-1)).toBeNull();
});

it("if all runs of a batch fail, the other runs are not tried and count as failed", async () => {
  const { terminal, out } = recordedTerminal();
  let calls = 0;
  const act = async () => {
    calls += 1;
    throw refused;
  };
  const acted = actOnEach(aiki, { ids, statuses: undefined, act }, "cancel", { json: true }, terminal);
  await expect(acted).rejects.toThrow("250 runs of 250 failed");
  expect([calls, out]).toEqual([100, ['{"done":0,"skipped":0,"failed":250}']]);
});
