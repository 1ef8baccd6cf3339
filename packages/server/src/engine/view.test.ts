import { childWaitAddress, openedWaitAddress, withdrawnAddress } from "@aikirun/lib/internal";
import type { NewEntry, ReportedStall, RunView } from "@aikirun/lib/protocol";
import { uuid } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { codes, rig, type TestSession } from "../../test/rig.ts";
import { aRun, awaitingChild, awaits, diverged, error, go, sleeping, sleepWait, suspend } from "../../test/runs.ts";
import type { Run } from "../core/run.ts";
import { wholeRun } from "../core/unread.ts";
import type { Surroundings } from "./explanation.ts";
import * as view from "./view.ts";

function viewOf(run: Run, around: Surroundings): RunView {
  return view.viewOf(wholeRun(run), around);
}

const around = { isServed: () => true };
const childWait = { address: "child:ship#0/wait#0", type: "child", openedAt: 0, until: 1 } as const;

async function stalled(session: TestSession, stall: ReportedStall): Promise<string> {
  const id = await session.start();
  const run = await session.claimOne();
  await session.report(run, { type: "stall", stall });
  const { run: view } = await session.read(id);
  expect(view).toMatchObject({ status: "stalled", stall });
  return view.explanation;
}

describe("the explanation of a stalled run", () => {
  const explanations: Array<[ReportedStall, string]> = [
    [
      diverged,
      "Stalled: the code waits at the call task:b#0, but has not made these recorded calls again: task:a#0. " +
        "Deploy code that fits, then retry the run; or cancel it.",
    ],
    [
      {
        reason: "ambiguous_call",
        call: "step:save:ab#0",
        identity: "i1",
        places: ["at a (flow.ts:3:1)", "at b (flow.ts:9:1)"],
      },
      "Stalled: alike calls of step:save:ab#0 cannot be distinguished; the code makes them at at a (flow.ts:3:1), " +
        "at b " +
        "(flow.ts:9:1). Give each of them a key (a sleep: a name), or make them in run.map with a key. Deploy that, " +
        "then retry the run.",
    ],
    [
      { reason: "schema_mismatch", call: "event:paid#0", error: { ...error, message: "amount: must be positive." } },
      "Stalled: what is recorded at event:paid#0 does not fit the schema of the code: amount: must be positive. " +
        "Deploy a schema that accepts it, then retry the run.",
    ],
    [
      { reason: "idle", idleMs: 300_000 },
      "Stalled: the handler awaited only non-durable work for 5 minutes. Make it a step, or raise " +
        "workflowRun.idleTimeoutMs of the worker, then retry the run.",
    ],
  ];

  const cases = explanations.map(([stall, explanation]) => ({ reason: stall.reason, stall, explanation }));
  it.each(cases)(
    "the explanation of a stalled run has the cause and the remedy: $reason",
    async ({ stall, explanation }) => {
      expect(await stalled(rig().openSession(), stall)).toBe(explanation);
    },
  );

  it("the explanation names three of many recorded calls that the code did not make again", async () => {
    const unclaimed = Array.from({ length: 50 }, (_, index) => `task:a#${index}`);
    const explanation = await stalled(rig().openSession(), { ...diverged, unclaimed });
    expect(explanation).toContain("again: task:a#0, task:a#1, task:a#2 and 47 more.");
  });

  it("the explanation of a crash loop says that leases ended without a report", () => {
    const run = aRun({ status: "stalled", reason: "crash_loop", crashes: 6 });
    expect(viewOf(run, around).explanation).toMatch(/^Stalled: worker leases ended without a report 6 times/);
  });

  it("the explanation of a run that awaits nothing durable says so", async () => {
    const session = rig().openSession();
    const id = await session.start();
    await session.report(await session.claimOne(), suspend);
    const { run } = await session.read(id);
    expect(run).toMatchObject({ status: "stalled", stall: { reason: "idle", idleMs: 0 } });
    expect(run.explanation).toContain("no sleep, event, child or retry is open");
  });

  it.each([
    [1, "1 millisecond"],
    [1_500, "1500 milliseconds"],
    [90_000, "90 seconds"],
    [3_600_000, "1 hour"],
  ])("the explanation writes %i ms as %s", async (idleMs, text) => {
    expect(await stalled(rig().openSession(), { reason: "idle", idleMs })).toContain(`non-durable work for ${text}.`);
  });
});

describe("a stalled run", () => {
  it("a stalled run continues after retry", async () => {
    const session = rig().openSession();
    const id = await session.start();
    await session.report(await session.claimOne(), { type: "stall", stall: diverged });
    expect(codes([await session.signal(id, { type: "retry", newRunId: uuid(999) })])).toEqual(["ok"]);
    expect(await session.claimOne()).toMatchObject({ id, fence: 2 });
  });
});

describe("the explanation of a running run", () => {
  it("the explanation names the recorded call that a replay waits for, and since when", async () => {
    const { openSession, env } = rig();
    const session = openSession();
    const id = await session.start();
    const run = await session.claimOne();
    const since = new Date(env.now()).toISOString();
    await session.report(run, go, { expecting: "step:charge#0" });
    await env.advance(5_000);
    await session.report(run, go, { expecting: "step:charge#0" });
    expect((await session.read(id)).run.explanation).toBe(
      `Worker worker replays attempt 1 and waits since ${since} for step:charge#0, which the code made before. If ` +
        "this lasts, deploy code that fits, or cancel the run and retry it.",
    );
    await session.report(run, go);
    expect((await session.read(id)).run.explanation).toBe("Worker worker executes attempt 1.");
  });
});

describe("events that no wait has taken", () => {
  it("unbound events are listed by name, and the explanation of a waiting run names them", async () => {
    const session = rig().openSession();
    const id = await session.start();
    await session.report(await session.claimOne(), suspend, { opens: [awaits("approved")] });
    await session.signal(id, { type: "event", name: "aproved" });
    const { run } = await session.read(id);
    expect(run.unboundEvents).toEqual([{ name: "aproved", count: 1 }]);
    expect(run.explanation).toBe(
      'Waits for event approved. 1 event "aproved" arrived that the run has not waited for.',
    );
    await session.signal(id, { type: "event", name: "aproved" });
    await session.signal(id, { type: "event", name: "other" });
    expect((await session.read(id)).run.explanation).toContain(
      '2 events "aproved" and 1 event "other" arrived that the run has not waited for.',
    );
  });

  it("unbound events include those that withdrawn waits gave back, and not those that were taken", () => {
    const events = new Map([
      ["given back", { arrived: 3, taken: 3, returned: [0, 2] }],
      ["taken", { arrived: 3, taken: 3 }],
      ["both", { arrived: 5, taken: 3, returned: [1] }],
    ]);
    expect(viewOf(aRun(sleeping, { events }), around).unboundEvents).toEqual([
      { name: "given back", count: 2 },
      { name: "both", count: 3 },
    ]);
  });

  it("at most a hundred unbound events are listed, and three are in the explanation", () => {
    const names = Array.from({ length: 200 }, (_, n) => [`e${n}`, { arrived: 1, taken: 0 }] as const);
    const view = viewOf(aRun(sleeping, { waits: [sleepWait], events: new Map(names) }), around);
    expect(view.unboundEvents).toHaveLength(100);
    expect(view.explanation).toMatch(/1 event "e2" and events of other names arrived/);
  });

  it("the explanation of a run that waits for nothing names no unbound events", () => {
    const events = new Map([["e", { arrived: 1, taken: 0 }]]);
    expect(viewOf(aRun({ status: "completed" }, { events }), around)).toMatchObject({
      explanation: "Completed.",
      unboundEvents: [{ name: "e", count: 1 }],
    });
  });
});

describe("the explanation of a run that waits for children", () => {
  const opened = { address: openedWaitAddress(childWaitAddress("child:ship#0", 0)), value: { type: "asked" } } as const;
  const idle: ReportedStall = { reason: "idle", idleMs: 60_000 };
  const cause = "the handler awaited only non-durable work for 1 minute.";

  /** A parent that awaits `count` children; the first one has stalled. */
  async function parentOf(count: number, entries: NewEntry[]) {
    const session = rig().openSession();
    const id = await session.start();
    const specs = Array.from({ length: count }, () => session.spec({ name: "ship" }));
    const starts = specs.map((spec, n) => ({ address: `child:ship#${n}`, spec }));
    await session.report(await session.claimOne(), { type: "suspend", children: count }, { starts, entries });
    const child = await session.claimOne({ serves: [{ name: "ship", versionId: "1" }], limit: 1 });
    await session.report(child, { type: "stall", stall: idle });
    return { session, id, child: child.id };
  }

  it("the explanation names an awaited child that has stalled, with the cause", async () => {
    const { session, id, child } = await parentOf(1, [opened]);
    const { run } = await session.read(id);
    expect(run.explanation).toContain(`Waits for child ${child} of ship, which is stalled: ${cause}`);
    await session.signal(child, { type: "cancel" });
    expect((await session.read(id)).run.explanation).not.toContain("stalled");
  });

  it("the explanation counts several children, and names one that has stalled", async () => {
    const { session, id, child } = await parentOf(3, [opened]);
    const { run } = await session.read(id);
    expect(run.explanation).toContain(`Waits for 3 child workflows. Child ${child} of ship is stalled: ${cause}`);
  });

  const withdrawn: NewEntry = {
    address: withdrawnAddress(childWaitAddress("child:ship#0", 0)),
    value: { type: "withdrawn" },
  };
  const others: Array<{ how: string; entries: NewEntry[] }> = [
    { how: "never awaited", entries: [] },
    { how: "no longer awaits", entries: [opened, withdrawn] },
  ];
  it.each(others)("the explanation does not say that a run awaits a child that it $how", async ({ entries }) => {
    const { session, id, child } = await parentOf(1, entries);
    expect((await session.read(id)).run.explanation).toMatch(
      new RegExp(`^Waits for 1 child workflow. Child ${child} `),
    );
  });

  it("the explanation of a run that awaits no child names none, and counts waits with a deadline", async () => {
    const { session, id } = await parentOf(1, [opened]);
    expect(viewOf(aRun(awaitingChild, { waits: [childWait] }), around).explanation).toBe("Waits for 1 child workflow.");
    await session.signal(id, { type: "pause" });
    expect((await session.read(id)).run.explanation).toBe("Paused; resume continues it.");
  });
});

describe("a view", () => {
  it("a view has the waits of a run without their call sites", () => {
    const wait = { address: "sleep:#0", type: "sleep", openedAt: 0, until: 1 } as const;
    const run = aRun(
      { status: "sleeping", resumable: null, children: 0 },
      { waits: [{ ...wait, callSite: { madeAfter: 1, identity: "a" } }] },
    );
    expect(viewOf(run, around).waits).toEqual([wait]);
  });
});
