/** What every Api keeps for a replay: call sites, open waits and builds. */

import { limits, type NewEntry, type ReportedStall } from "@aikirun/lib/protocol";
import { expect, it } from "vitest";
import { awaits, codes, only, returned, type Stage, sleeps } from "./actors.ts";

export function replaying(make: () => Stage): void {
  it("report keeps the call site of every entry, and resolves references to entries of the same report", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const callSite = { madeAfter: 0, identity: "a", branch: "b" };
    await worker.report(await worker.claimOne(), {
      entries: [
        { ...returned("task:a#0"), callSite },
        { ...returned("task:b#0"), callSite: { madeAfter: -1, identity: "c" } },
        { address: "child:c#0/wait#0/ask", value: { type: "asked" } },
        { address: "task:d#0", value: { type: "reused", seq: 1 } },
      ],
    });
    expect(await stage.entries(id)).toMatchObject([
      { callSite },
      { callSite: { madeAfter: 1, identity: "c" } },
      { value: { type: "asked" } },
      { value: { type: "reused", seq: 1 } },
    ]);
  });

  it("claim returns the build that recorded a run, and its open waits unless the worker has them cached", async () => {
    const stage = make();
    await stage.start();
    const [first, other] = [stage.worker(), stage.worker()];
    const run = await first.claimOne();
    expect(run).toMatchObject({ waits: [] });
    expect(run).not.toHaveProperty("build");
    const callSite = { madeAfter: 0, identity: "a" };
    const opens = [sleeps(30), { ...awaits("go"), callSite }, { ...sleeps(60_000, "sleep:#1"), callSite }];
    await first.suspend(run, opens, { build: "build-1", entries: [returned("task:a#0")] });
    const resumed = await first.claimOne();
    expect(resumed).toMatchObject({ isCached: true, waits: [], build: { id: "build-1", since: 0 } });
    const entries = [returned("task:b#0")];
    await first.report(resumed, { build: "build-2", entries, next: { type: "release", reason: "shutdown" } });
    expect(await other.claimOne()).toMatchObject({
      isCached: false,
      build: { id: "build-2", since: 2 },
      waits: [
        { address: "event:go#0", callSite },
        { address: "sleep:#1", callSite },
      ],
    });
  });

  it("the explanation of a run names the recorded call for which its replay waits", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    await worker.report(await worker.claimOne(), { expecting: "step:charge#0" });
    expect((await stage.view(id)).explanation).toMatch(/^Worker .* waits since .* for step:charge#0, which the code/);
  });

  const stalls: ReportedStall[] = [
    { reason: "diverged", call: "task:new#0", unclaimed: ["task:old#0"] },
    { reason: "ambiguous_call", call: "step:save:ab#0", identity: "i1", places: ["flow.ts:3:1", "flow.ts:9:1"] },
    { reason: "schema_mismatch", call: "event:paid#0", error: { name: "SchemaError", message: "no amount" } },
    { reason: "idle", idleMs: 300_000 },
  ];
  it.each(stalls)("a stalled run keeps its reason: $reason", async (stall) => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    await worker.report(await worker.claimOne(), { next: { type: "stall", stall } });
    expect(await stage.view(id)).toMatchObject({ status: "stalled", stall });
    expect((await stage.entries(id)).at(-1)).toMatchObject({ value: { mark: "stalled", reason: stall.reason } });
  });

  it("a withdrawn wait is closed, and its event goes to the next wait", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    await worker.report(run, { opens: [awaits("go"), sleeps(60_000), sleeps(90_000, "sleep:#1")] });
    await stage.signal(id, { type: "event", name: "go", data: "7" });
    const withdrawn = (address: string): NewEntry => ({
      address: `${address}/withdrawn`,
      value: { type: "withdrawn" },
    });
    await worker.report(run, { entries: [withdrawn("event:go#0"), withdrawn("sleep:#0")], seen: 1, after: 2 });
    const answer = await worker.suspend(run, [awaits("go", "event:go#1")], { seen: 1, after: 4 });
    expect(answer.released).toBe(false);
    expect(answer.entries).toMatchObject([{ address: "event:go#1", value: { type: "received", nth: 0 } }]);
    expect((await stage.view(id)).waits).toMatchObject([{ address: "sleep:#1" }]);
  });

  it("the start of a child whose reference id is taken throws REFERENCE_CONFLICT at its call", async () => {
    const stage = make();
    const holder = await stage.start({ referenceId: "ref", inputHash: "a", versionId: "child" });
    const id = await stage.start();
    const worker = stage.worker();
    const spec = stage.spec({ referenceId: "ref", inputHash: "b", versionId: "child" });
    const answer = await worker.report(await worker.claimOne(), {
      entries: [returned("task:a#0")],
      starts: [{ address: "child:c#0", spec }],
      next: { type: "suspend", children: 1 },
    });
    expect(answer).toMatchObject({ first: 1, tail: 2, released: false });
    const thrown = { address: "child:c#0", value: { type: "threw", error: { code: "REFERENCE_CONFLICT" } } };
    expect(answer.entries).toMatchObject([{ seq: 2, ...thrown }]);
    expect(JSON.stringify(answer.entries)).toContain(holder);
    expect((await stage.entries(id))[1]).toMatchObject(thrown);
  });

  it("a run lists events that no wait has received, and its explanation names them", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    await worker.suspend(await worker.claimOne(), [awaits("approved")]);
    await stage.signal(id, { type: "event", name: "aproved" });
    expect(await stage.view(id)).toMatchObject({
      status: "awaiting_event",
      unboundEvents: [{ name: "aproved", count: 1 }],
      explanation: expect.stringContaining('1 event "aproved" arrived that the run has not waited for.'),
    });
  });

  it("the explanation of a parent names its stalled child", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const spec = stage.spec({ versionId: "child" });
    await worker.report(await worker.claimOne(), {
      starts: [{ address: "child:c#0", spec }],
      entries: [{ address: "child:c#0/wait#0/ask", value: { type: "asked" } }],
      next: { type: "suspend", children: 1 },
    });
    const child = await worker.claimOne({ serves: [{ name: stage.name, versionId: "child" }] });
    await worker.report(child, { next: { type: "stall", stall: { reason: "idle", idleMs: 1_000 } } });
    const sentence = `Waits for child ${spec.id} of ${stage.name}, which is stalled: the handler awaited`;
    expect((await stage.view(id)).explanation).toContain(sentence);
  });

  it("a run may have ten thousand open sleeps, and fails with one more", async () => {
    const stage = make();
    const [id, over] = [await stage.start(), await stage.start()];
    const worker = stage.worker();
    const [run, other] = await worker.claim();
    if (run === undefined || other === undefined) throw new Error("Both runs must be claimed.");
    const callSite = { madeAfter: 0, identity: "a".repeat(26), branch: "b".repeat(26) };
    const opens = (count: number) =>
      Array.from({ length: count }, (_, n) => ({ ...sleeps(200, `sleep:label#${n}`), name: "label", callSite }));
    expect(await worker.suspend(run, opens(limits.openWaits))).toMatchObject({ released: true });
    await worker.suspend(other, opens(limits.openWaits + 1));
    expect(await stage.view(over)).toMatchObject({ outcome: { error: { code: "TOO_MANY_WAITS" } } });
    const resumed = await worker.claimOne();
    expect(resumed).toMatchObject({ id, isCached: true });
    expect(resumed.journal).toHaveLength(limits.openWaits);
    await worker.finish(resumed);
  });

  it("report refuses a call site that refers to a missing entry of the report", async () => {
    const stage = make();
    await stage.start();
    const worker = stage.worker();
    const entry = { ...returned("task:a#0"), callSite: { madeAfter: -2, identity: "a" } };
    const report = worker.draft(await worker.claimOne(), { entries: [entry] });
    expect(codes(await worker.send(report))).toEqual(["BAD_REQUEST"]);
    expect(only(await worker.send({ ...report, entries: [] }))).toMatchObject({ ok: true });
  });
}
