import type { ChildStart, ClaimedRun, Entry, RunSpec } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { codes, only, rig, type TestSession } from "../../test/rig.ts";
import { complete, error, fail, go, kinds, returned } from "../../test/runs.ts";

const served = { serves: [{ name: "child", versionId: "1" }] };
const awaiting = { type: "suspend", children: 1 } as const;

function starts(session: TestSession, address: string, more: Partial<RunSpec> = {}): ChildStart {
  const hash = more.referenceId === undefined ? {} : { inputHash: "h" };
  return {
    address,
    callSite: { madeAfter: 0, identity: address },
    spec: session.spec({ name: "child", ...hash, ...more }),
  };
}

async function parent(session: TestSession): Promise<ClaimedRun> {
  const id = await session.start();
  return only((await session.claim()).filter((run) => run.id === id));
}

/** The recorded starts by address: the error's code, or the id of the started run. */
function startsIn(entries: readonly Entry[]): Record<string, string | undefined> {
  return Object.fromEntries(
    entries.flatMap(({ address, value }) => {
      if (value.type === "started") return [[address, value.runId]];
      return value.type === "threw" ? [[address, String(value.error.code)]] : [];
    }),
  );
}

describe("the start of a child whose reference or id is taken", () => {
  it("a child start whose reference or id is taken throws where it was called; its parent keeps running", async () => {
    const session = rig().openSession();
    const holder = await session.start({ name: "child", referenceId: "ref", inputHash: "a" });
    const taken = await session.start({ name: "child" });
    const run = await parent(session);
    const [first, second, free] = [
      starts(session, "child:a#0", { referenceId: "ref" }),
      starts(session, "child:b#0", { id: taken }),
      starts(session, "child:c#0"),
    ];
    const more = { entries: [returned("task:t#0")], starts: [first, second, free] };
    const answer = await session.report(run, awaiting, more);
    expect(answer).toMatchObject({ first: 1, tail: 4, released: false, inbox: 2 });
    expect(answer.entries).toMatchObject([
      { seq: 2, callSite: first.callSite, value: { type: "threw", error: { code: "REFERENCE_CONFLICT" } } },
      { seq: 3, callSite: second.callSite, value: { type: "threw", error: { code: "RUN_ID_CONFLICT" } } },
    ]);
    expect(JSON.stringify(answer.entries)).toContain(`The reference ref of child is taken by run ${holder}`);
    const { entries } = await session.read(run.id);
    expect(startsIn(entries)).toEqual({
      "child:a#0": "REFERENCE_CONFLICT",
      "child:b#0": "RUN_ID_CONFLICT",
      "child:c#0": free.spec.id,
    });
  });

  it("the entry of a conflicting child start is first if its report has no other entry", async () => {
    const session = rig().openSession();
    await session.start({ name: "child", referenceId: "ref", inputHash: "a" });
    const run = await parent(session);
    const answer = await session.report(run, go, { starts: [starts(session, "child:a#0", { referenceId: "ref" })] });
    expect(answer).toMatchObject({ first: 1, tail: 1, entries: [{ seq: 1 }] });
  });

  it("a repeated report with a conflicting child start has the same answer", async () => {
    const session = rig().openSession();
    await session.start({ name: "child", referenceId: "ref", inputHash: "a" });
    const run = await parent(session);
    const report = session.reporting(run, go, { starts: [starts(session, "child:a#0", { referenceId: "ref" })] });
    const first = only(await session.send(report));
    expect(only(await session.send(report))).toEqual(first);
    await session.report(run, go, { entries: [returned("task:a#0")], build: "b", after: 1 });
    expect(only(await session.send(report))).toMatchObject({ ok: true, first: 1, entries: [{ seq: 1 }, { seq: 2 }] });
  });

  it("a child start conflicts with a reference that another server has taken meanwhile", async () => {
    const server = rig();
    const session = server.openSession();
    const run = await parent(session);
    const otherSession = server.another().openSession();
    await otherSession.start({ name: "child", referenceId: "ref", inputHash: "a" });
    await session.report(run, go, { starts: [starts(session, "child:a#0", { referenceId: "ref" })] });
    expect(startsIn((await session.read(run.id)).entries)).toEqual({ "child:a#0": "REFERENCE_CONFLICT" });
  });

  it("if two child starts of one report have the same reference, only the first one starts a child", async () => {
    const session = rig().openSession();
    const run = await parent(session);
    const [first, second] = [1, 2].map((n) => starts(session, `child:a#${n}`, { referenceId: "ref" }));
    if (first === undefined || second === undefined) throw new Error("Two starts are needed.");
    const twin = { ...starts(session, "child:b#0"), spec: { ...first.spec, referenceId: "other" } };
    await session.report(run, go, { starts: [first, second, twin] });
    expect(startsIn((await session.read(run.id)).entries)).toEqual({
      "child:a#1": first.spec.id,
      "child:a#2": "REFERENCE_CONFLICT",
      "child:b#0": "RUN_ID_CONFLICT",
    });
    expect((await session.claim(served)).map(({ id }) => id)).toEqual([first.spec.id]);
  });

  it("if child starts of one transaction have one reference, one starts a child, and no report fails", async () => {
    const { openSession, storage } = rig();
    const session = openSession();
    const runs = [await parent(session), await parent(session), await parent(session)];
    storage.takeCounts();
    const reports = runs.map((run) =>
      session.reporting(run, go, { starts: [starts(session, "child:a#0", { referenceId: "ref" })] }),
    );
    const started = session.start({ name: "child", referenceId: "other", inputHash: "a" });
    const others = session.send(
      ...reports,
      session.reporting(runs[0] ?? only([]), go, { entries: [returned("task:t#0")] }),
    );
    await started;
    expect(codes(await others)).toEqual(["ok", "ok", "ok", "ok"]);
    const journals = await Promise.all(
      runs.map(async ({ id }) => startsIn((await session.read(id)).entries)["child:a#0"]),
    );
    expect(journals.filter((value) => value === "REFERENCE_CONFLICT")).toHaveLength(2);
    expect(storage.takeCounts().inserts).toBe(2);
  });

  it("conflicts cost one more transaction and two statements, for any number of children", async () => {
    const { openSession, storage } = rig();
    const session = openSession();
    const references = Array.from({ length: 20 }, (_, n) => `ref-${n}`);
    await Promise.all(references.map((referenceId) => session.start({ name: "child", referenceId, inputHash: "a" })));
    const run = await parent(session);
    storage.takeCounts();
    await session.report(run, go, {
      starts: references.map((referenceId) => starts(session, `child:${referenceId}#0`, { referenceId })),
    });
    expect(storage.takeCounts()).toMatchObject({ transactions: 2, lookups: 1, references: 1, entries: 20, updates: 1 });
  });

  it("child starts without a conflict cost no statement", async () => {
    const { openSession, storage } = rig();
    const session = openSession();
    const run = await parent(session);
    storage.takeCounts();
    await session.report(run, go, { starts: [starts(session, "child:a#0", { referenceId: "ref" })] });
    expect(storage.takeCounts()).toMatchObject({ transactions: 1, lookups: 0, references: 0, loads: 0, inserts: 1 });
  });
});

describe("a call of a later attempt that starts the child of an earlier one again", () => {
  const failing = { type: "finish", outcome: { status: "failed", error, retryInMs: 0 } } as const;

  async function secondAttempt(end: "none" | "completed" | "failed") {
    const { openSession, env } = rig();
    const session = openSession();
    const run = await parent(session);
    const start = starts(session, "child:a#0", { referenceId: "ref" });
    await session.report(run, go, { starts: [start] });
    if (end !== "none") {
      await session.report(only(await session.claim(served)), end === "completed" ? complete : fail);
    }
    await session.report(run, failing, { seen: end === "none" ? 0 : 1 });
    await session.signal(run.id, { type: "retry", newRunId: env.id() });
    const again = await session.claimOne();
    expect(again.attempt).toBe(2);
    return { session, again, child: start.spec.id };
  }

  it("a later attempt uses a live child of an earlier one, and the worker receives its id", async () => {
    const { session, again, child } = await secondAttempt("none");
    const answer = await session.report(again, awaiting, {
      starts: [starts(session, "child:a#0", { referenceId: "ref" })],
    });
    expect(answer).toMatchObject({ released: false, entries: [{ value: { type: "started", runId: child } }] });
    await session.report(again, awaiting, { seen: answer.inbox });
    await session.report(only(await session.claim(served)), complete);
    expect((await session.claimOne()).journal.at(-1)).toMatchObject({
      attempt: 2,
      address: "child:a#0/result",
      value: { type: "returned" },
    });
  });

  it.each([
    ["completed", "returned"],
    ["failed", "threw"],
  ] as const)("a later attempt receives at once the outcome of a child that ended: %s", async (end, type) => {
    const { session, again, child } = await secondAttempt(end);
    await session.report(again, awaiting, { starts: [starts(session, "child:a#0", { referenceId: "ref" })] });
    const entries = (await session.read(again.id)).entries.filter(({ attempt }) => attempt === 2);
    expect(entries).toMatchObject([
      { address: "child:a#0", value: { type: "started", runId: child } },
      { address: "child:a#0/result", value: { type } },
    ]);
    expect((await session.read(again.id)).run).toMatchObject({ status: "running" });
  });

  it("the end of a child is recorded once if it came before the later attempt started the child", async () => {
    const { session, again } = await secondAttempt("none");
    await session.report(only(await session.claim(served)), complete);
    await session.report(again, go, { starts: [starts(session, "child:a#0", { referenceId: "ref" })], seen: 1 });
    const entries = (await session.read(again.id)).entries.filter(({ attempt }) => attempt === 2);
    expect(kinds(entries)).toEqual(["returned", "started"]);
  });
});
