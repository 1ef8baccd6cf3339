import type { Report, ReportResult } from "@aikirun/lib/protocol";
import { claimedRun, entry, type Script, scriptedApi, viewOf } from "@aikirun/testing/scripted-api";
import { describe, expect, it } from "vitest";
import { withAllEntries, withJournal } from "./journal.ts";

const recorded = Array.from({ length: 7 }, (_, index) => entry(index + 1));

/** A server that reads pages of three entries. */
const pages: Script = {
  read: ({ runs }) => ({
    results: runs.map(({ entries }) => {
      const rest = recorded.slice(entries?.after ?? 0);
      return { ok: true, run: viewOf("a"), entries: rest.slice(0, 3), more: rest.length > 3 };
    }),
  }),
};

describe("the journal of a claimed run", () => {
  it("a complete journal of a claim is used as it is", async () => {
    const { api, calls } = scriptedApi(pages);
    const claimed = claimedRun("a", { journal: recorded });
    expect(await withJournal(api, claimed, false)).toBe(claimed);
    expect(calls.read).toEqual([]);
  });

  it("a journal that was cut is read on from there", async () => {
    const { api } = scriptedApi(pages);
    const claimed = claimedRun("a", { journal: recorded.slice(0, 2), journalCutAt: 2 });
    const whole = await withJournal(api, claimed, false);
    expect(whole.journal).toEqual(recorded);
    expect(whole.journalCutAt).toBeUndefined();
  });

  it("a journal is read from the start if the execution is no longer cached", async () => {
    const { api } = scriptedApi(pages);
    const claimed = claimedRun("a", { isCached: true, journal: recorded.slice(5) });
    expect(await withJournal(api, claimed, false)).toMatchObject({ isCached: false, journal: recorded });
    expect(await withJournal(api, claimed, true)).toBe(claimed);
  });

  it("reading a journal throws if the server refuses it", async () => {
    const { api } = scriptedApi({
      read: () => ({ results: [{ ok: false, code: "RUN_NOT_FOUND", message: "No such run." }] }),
    });
    const claimed = claimedRun("a", { isCached: true });
    await expect(withJournal(api, claimed, false)).rejects.toMatchObject({ code: "RUN_NOT_FOUND" });
  });
});

describe("the input of a claimed run", () => {
  it("an omitted input is read, unless the execution is in memory", async () => {
    const { api, calls } = scriptedApi({
      read: () => ({ results: [{ ok: true, run: viewOf("a", { input: '"large"' }), entries: [], more: false }] }),
    });
    const claimed = claimedRun("a", { inputLeftOut: true, journal: recorded });
    expect(await withJournal(api, claimed, false)).toEqual(claimedRun("a", { input: '"large"', journal: recorded }));
    expect(calls.read.map(({ request }) => request.runs[0]?.entries?.after)).toEqual([7]);
    const held = claimedRun("a", { inputLeftOut: true, isCached: true });
    expect(await withJournal(api, held, true)).toBe(held);
    expect((await withJournal(api, held, false)).input).toBe('"large"');
  });
});

describe("the answer to a report", () => {
  const report: Report = {
    reportId: "1",
    runId: "a",
    fence: 1,
    seen: 0,
    after: 0,
    entries: [{ address: "step:s4#0", value: { type: "returned" } }],
    opens: [],
    starts: [
      { address: "child:c#0", spec: { id: "c", name: "c", versionId: "1" } },
      { address: "child:d#0", spec: { id: "d", name: "d", versionId: "1" } },
    ],
    next: { type: "continue" },
  };
  const answer: ReportResult = { ok: true, first: 4, tail: 6, inbox: 3, entries: [], released: false, pause: false };

  it("a complete answer to a report is used as it is", async () => {
    const { api, calls } = scriptedApi(pages);
    expect(await withAllEntries(api, report, answer)).toBe(answer);
    expect(calls.read).toEqual([]);
  });

  it("an answer that was cut is read on, up to its tail, without the entries of the report", async () => {
    const started = (seq: number, address: string, runId: string) => ({
      ...entry(seq, address),
      value: { type: "started" as const, runId },
    });
    const stored = [...recorded.slice(0, 4), started(5, "child:c#0", "c"), started(6, "child:d#0", "other"), entry(7)];
    const { api } = scriptedApi({
      read: ({ runs }) => ({
        results: runs.map(({ entries }) => {
          const rest = stored.slice(entries?.after ?? 0);
          return { ok: true, run: viewOf("a"), entries: rest.slice(0, 2), more: rest.length > 2 };
        }),
      }),
    });
    const cut = { ...answer, entries: recorded.slice(0, 1), entriesCutAt: 1 };
    const full = await withAllEntries(api, report, cut);
    expect(full).toEqual({ ...answer, entries: [...recorded.slice(0, 3), stored[5]] });
  });
});
