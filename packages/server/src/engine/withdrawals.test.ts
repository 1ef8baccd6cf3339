import type { ClaimedRun, NewEntry, Report } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { only, rig, type TestSession } from "../../test/rig.ts";
import { awaits, go, kinds, returned, suspend } from "../../test/runs.ts";

const first = awaits("paid", null, "event:paid#0");
const second = awaits("paid", null, "event:paid#1");
const withdrawal: NewEntry = { address: "event:paid#0/withdrawn", value: { type: "withdrawn" } };

/** Sends reports with the position that the previous answer gave, as a worker does. */
async function reporting(session: TestSession, run: ClaimedRun): Promise<(more: Partial<Report>) => Promise<Report>> {
  let known = { seen: run.inbox, after: run.journal.at(-1)?.seq ?? 0 };
  return async (more) => {
    const report = session.reporting(run, go, { ...known, ...more });
    const answer = only(await session.send(report));
    if (!answer.ok) {
      throw new Error(`${answer.code}: ${answer.message}`);
    }
    known = { seen: answer.inbox, after: answer.tail };
    return report;
  };
}

async function claimed(
  session: TestSession,
): Promise<{ id: string; report: (more: Partial<Report>) => Promise<Report> }> {
  const id = await session.start();
  const report = await reporting(session, await session.claimOne());
  return { id, report };
}

describe("a withdrawal", () => {
  it("withdrawing an open wait loads no journal entry", async () => {
    const { openSession, storage } = rig();
    const { report } = await claimed(openSession());
    await report({ opens: [first] });
    storage.takeCounts();
    await report({ entries: [withdrawal] });
    expect(storage.takeCounts()).toMatchObject({ transactions: 1, updates: 1, entries: 1, lookups: 0 });
  });

  it("a withdrawal gives back an event that this or another server has recorded for the wait", async () => {
    for (const other of [false, true]) {
      const server = rig();
      const { id, report } = await claimed(server.openSession());
      await report({ opens: [first] });
      const sender = (other ? server.another() : server).openSession();
      await sender.signal(id, { type: "event", name: "paid" });
      await report({ entries: [withdrawal], opens: [second], next: suspend });
      const { run, entries } = await server.openSession().read(id);
      expect(kinds(entries)).toEqual(["arrived", "received", "withdrawn", "received"]);
      expect(entries.at(-1)).toMatchObject({ address: second.address, value: { nth: 0 } });
      expect(run.status).toBe("running");
    }
  });

  it("a withdrawal gives back an event of the same transaction", async () => {
    const { openSession, batches } = rig();
    const session = openSession();
    const { id, report } = await claimed(session);
    await report({ opens: [first] });
    const sending = session.signal(id, { type: "event", name: "paid" });
    await Promise.all([session.start(), sending, report({ entries: [withdrawal] })]);
    expect(batches.at(-1)?.operations.map(({ type }) => type)).toContain("command");
    await report({ opens: [second] });
    const { entries } = await session.read(id);
    expect(entries.filter(({ address }) => address === second.address)).toMatchObject([{ value: { nth: 0 } }]);
  });

  it("a late copy of the report that opened the wait does not undo its withdrawal", async () => {
    const session = rig().openSession();
    const { id, report } = await claimed(session);
    const opening = await report({ opens: [first] });
    await report({ entries: [withdrawal] });
    await report({ entries: [returned("task:a#0")] });
    await session.send(opening);
    await session.signal(id, { type: "event", name: "paid" });
    await report({ opens: [second] });
    const { entries } = await session.read(id);
    expect(kinds(entries)).toEqual(["withdrawn", "returned", "arrived", "received"]);
    expect(entries.at(-1)).toMatchObject({ address: second.address });
  });

  it("a repeated withdrawal gives the event back once", async () => {
    const session = rig().openSession();
    const { id, report } = await claimed(session);
    await report({ opens: [first] });
    await session.signal(id, { type: "event", name: "paid" });
    const withdrawing = await report({ entries: [withdrawal] });
    await session.send(withdrawing);
    await report({ opens: [second] });
    await session.send(withdrawing);
    await session.signal(id, { type: "event", name: "paid" });
    await report({ opens: [awaits("paid", null, "event:paid#2")] });
    const { entries } = await session.read(id);
    const received = entries.flatMap(({ address, value }) => (value.type === "received" ? [[address, value.nth]] : []));
    expect(received).toEqual([
      ["event:paid#0", 0],
      ["event:paid#1", 0],
      ["event:paid#2", 1],
    ]);
  });
});
