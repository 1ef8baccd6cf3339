import { describe, expect, it } from "vitest";
import { claimedRun, entry, type Script, scriptedApi, viewOf } from "../test/scripted-api.ts";
import { withJournal } from "./journal.ts";

const recorded = Array.from({ length: 7 }, (_, index) => entry(index + 1));

/** Pages of three. */
const pages: Script = {
  read: ({ runs }) => ({
    results: runs.map(({ entries }) => {
      const rest = recorded.slice(entries?.after ?? 0);
      return { ok: true, run: viewOf("a"), entries: rest.slice(0, 3), more: rest.length > 3 };
    }),
  }),
};

describe("the journal of a claimed run", () => {
  it("is what the claim brought, when that is all", async () => {
    const { api, asked } = scriptedApi(pages);
    const claimed = claimedRun("a", { journal: recorded });
    expect(await withJournal(api, claimed, false)).toBe(claimed);
    expect(asked.read).toEqual([]);
  });

  it("is read on where it was cut", async () => {
    const { api } = scriptedApi(pages);
    const claimed = claimedRun("a", { journal: recorded.slice(0, 2), journalCutAt: 2 });
    const whole = await withJournal(api, claimed, false);
    expect(whole.journal).toEqual(recorded);
    expect(whole.journalCutAt).toBeUndefined();
  });

  it("is read whole when the execution that had the rest is gone", async () => {
    const { api } = scriptedApi(pages);
    const claimed = claimedRun("a", { hot: true, journal: recorded.slice(5) });
    expect(await withJournal(api, claimed, false)).toMatchObject({ hot: false, journal: recorded });
    expect(await withJournal(api, claimed, true)).toBe(claimed);
  });

  it("is missed aloud when the server refuses it", async () => {
    const { api } = scriptedApi({
      read: () => ({ results: [{ ok: false, code: "RUN_NOT_FOUND", message: "No such run." }] }),
    });
    const claimed = claimedRun("a", { hot: true });
    await expect(withJournal(api, claimed, false)).rejects.toMatchObject({ code: "RUN_NOT_FOUND" });
  });
});
