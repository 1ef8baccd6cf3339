import type { CallSite, ReportedStall } from "@aikirun/lib/protocol";
import { uuid } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { RunDriver } from "../../test/run-driver.ts";
import { at, childAddress, diverged, error, go, returned, suspend } from "../../test/runs.ts";
import { decide } from "./decide.ts";
import type { NewFact } from "./run.ts";

const minute = 60_000;

function callSite(madeAfter: number, identity = "call"): CallSite {
  return { madeAfter, identity };
}

function sleeps(durationMs: number, site: CallSite) {
  return { address: `sleep:#${site.identity}`, type: "sleep", durationMs, callSite: site } as const;
}

function awaits(name: string, site: CallSite) {
  return {
    address: `event:${name}#${site.identity}`,
    type: "event",
    name,
    durationMs: null,
    callSite: site,
  } as const;
}

/** The call sites of a journal, by address. */
function callSites(journal: readonly NewFact[]): Record<string, CallSite | undefined> {
  return Object.fromEntries(journal.map((entry) => [entry.address, entry.callSite]));
}

describe("the call site of a durable call", () => {
  it("a recorded entry has the call site that the worker sent", () => {
    const site = { madeAfter: 0, identity: "a", branch: "b" };
    const driver = new RunDriver().claim().record({ ...returned("task:a#0"), callSite: site });
    expect(callSites(driver.journal)).toEqual({ "task:a#0": site });
  });

  it("an entry has no call site if the worker sent none, nor do arrivals and marks", () => {
    const driver = new RunDriver().send("paid").claim().record(returned("task:a#0")).signal("pause");
    expect(driver.journal.some((entry) => "callSite" in entry)).toBe(false);
  });

  it("a call site that names an entry of its own report gets the seq of that entry", () => {
    const driver = new RunDriver().send("paid").send("paid").claim();
    const spec = { id: uuid(2), name: "ship", versionId: "1" };
    driver.report(go, {
      entries: [
        { ...returned("task:a#0"), callSite: callSite(2) },
        { ...returned("task:b#0"), callSite: callSite(-1) },
      ],
      starts: [{ address: childAddress, callSite: callSite(-2, "child"), spec }],
      opens: [sleeps(minute, callSite(-2, "s")), sleeps(0, callSite(-1, "t"))],
    });
    expect(driver.journal.slice(2).map(({ seq, callSite: site }) => [seq, site?.madeAfter])).toEqual([
      [3, 2],
      [4, 3],
      [5, 4],
      [6, 3],
    ]);
    expect(driver.run.waits).toMatchObject([{ address: "sleep:#s", callSite: { madeAfter: 4, identity: "s" } }]);
  });

  it.each([
    ["entries", { entries: [{ ...returned("task:a#0"), callSite: callSite(-2) }] }],
    ["opens", { opens: [sleeps(minute, callSite(-1))] }],
    [
      "starts",
      { starts: [{ address: childAddress, callSite: callSite(-1), spec: { id: "c", name: "c", versionId: "1" } }] },
    ],
  ])("a call site that names an entry that the report does not have is refused: %s", (_, more) => {
    const driver = new RunDriver().claim();
    expect(driver.try(driver.reporting(go, more))).toMatchObject({ ok: false, code: "BAD_REQUEST" });
  });

  it("the entry that starts a child has its call site", () => {
    const start = {
      address: childAddress,
      callSite: callSite(0, "c"),
      spec: { id: uuid(2), name: "ship", versionId: "1" },
    };
    const driver = new RunDriver().claim().report(go, { starts: [start] });
    expect(callSites(driver.journal)).toEqual({ [childAddress]: callSite(0, "c") });
  });

  describe("the call site of a wait", () => {
    const opened = () =>
      new RunDriver().claim().open(sleeps(minute, callSite(0, "s")), awaits("paid", callSite(0, "e")));

    it("the entry of a deadline that passed has the call site of its wait", () => {
      expect(callSites(opened().renew().pass(minute).journal)).toEqual({ "sleep:#s": callSite(0, "s") });
    });

    it("the entry of a sleep that was woken early has the call site of the sleep", () => {
      expect(callSites(opened().signal("wake").journal)).toMatchObject({ "sleep:#s": callSite(0, "s") });
    });

    it("the entry of a received event has the call site of its wait", () => {
      const { journal } = opened().send("paid", "1", "ref");
      expect(callSites(journal)).toEqual({ "arrival:paid:ref": undefined, "event:paid#e": callSite(0, "e") });
    });

    it("a wait that ends in the decision that opens it records its call site", () => {
      const driver = new RunDriver()
        .send("paid", "1", "ref")
        .claim()
        .open(awaits("paid", callSite(1, "e")), sleeps(0, callSite(1, "s")));
      expect(callSites(driver.journal)).toMatchObject({
        "event:paid#e": callSite(1, "e"),
        "sleep:#s": callSite(1, "s"),
      });
    });
  });

  it("the call site of a wait is fixed when the wait first opens", () => {
    const driver = new RunDriver().claim().open(sleeps(minute, callSite(0, "s")));
    const [wait] = driver.run.waits;
    driver.open({ ...sleeps(minute, callSite(7, "other")), address: "sleep:#s" });
    expect(driver.run.waits).toEqual([wait]);
  });
});

describe("facts of a handler's calls", () => {
  it("an opened wait for a child, a reused value and a withdrawal are recorded as reported", () => {
    const driver = new RunDriver()
      .claim()
      .record(
        { address: `${childAddress}/wait#0/ask`, callSite: callSite(0), value: { type: "asked" } },
        { address: "task:a#0", callSite: callSite(0), value: { type: "reused", seq: 1 } },
        { address: "sleep:#0/withdrawn", callSite: callSite(0), value: { type: "withdrawn" } },
      );
    expect(driver.entryTypes).toEqual(["asked", "reused", "withdrawn"]);
    expect(driver.at("task:a#0")).toEqual({ type: "reused", seq: 1 });
  });
});

describe("the build of a run", () => {
  it("a run has no build before the first report that names one", () => {
    const driver = new RunDriver().claim().record(returned("task:a#0"));
    expect(driver.run.build).toBeNull();
  });

  it("the build of the first report is taken as that of all recorded entries", () => {
    const driver = new RunDriver()
      .send("paid")
      .claim()
      .report(go, { build: "one", entries: [returned("task:a#0")] });
    expect(driver.run.build).toEqual({ id: "one", since: 0 });
  });

  it("the build changes with a report of other code, from the tail that its predecessor recorded", () => {
    const driver = new RunDriver().claim().report(go, { build: "one", entries: [returned("task:a#0")] });
    driver.report(go, { build: "two", entries: [returned("task:b#0")] });
    expect(driver.run.build).toEqual({ id: "two", since: 1 });
    driver.report(go, { build: "one", entries: [returned("task:c#0")] });
    expect(driver.run.build).toEqual({ id: "one", since: 2 });
  });

  it("a report of the same build or of none does not change the row", () => {
    const driver = new RunDriver().claim().report(go, { build: "one", entries: [returned("task:0#0")] });
    const { revision } = driver.run;
    driver.report(go, { build: "one", entries: [returned("task:a#0")] }).record(returned("task:b#0"));
    expect(driver.run).toMatchObject({ revision, build: { id: "one", since: 0 } });
  });

  it("the claim's build does not change the row before something else changes it", () => {
    const driver = new RunDriver().claim("s", { build: "one" });
    const { revision } = driver.run;
    driver.report(go, { build: "one", entries: [returned("task:a#0")] });
    expect(driver.run).toMatchObject({ revision, build: null });
    driver.report({ type: "release", reason: "shutdown" }, { build: "one", entries: [returned("task:b#0")] });
    expect(driver.run.build).toEqual({ id: "one", since: 0 });
    driver.claim("s", { build: "two" }).report(go, { build: "two", entries: [returned("task:c#0")] });
    driver.report({ type: "release", reason: "shutdown" }, { build: "two" });
    expect(driver.run.build).toEqual({ id: "two", since: 2 });
  });

  it("the claim's build counts if its worker crashes after recording something, and only then", () => {
    const driver = new RunDriver()
      .claim("s", { build: "one" })
      .report(go, { build: "one", entries: [returned("task:a#0")] });
    driver.pass(90_000);
    expect(driver.run).toMatchObject({ state: { status: "queued" }, build: { id: "one", since: 0 } });
    const before = driver.run.tail;
    driver.claim("s", { build: "two" }).pass(90_000);
    expect(driver.run).toMatchObject({ state: { status: "queued" }, build: { id: "one", since: 0 } });
    expect(driver.run.tail).toBeGreaterThan(before);
    driver.claim("s", { build: "two" }).report(go, { build: "two", entries: [returned("task:b#0")] });
    driver.do({ type: "leave", session: "s" });
    expect(driver.run.build).toEqual({ id: "two", since: before + 1 });
  });

  it("the build is not changed by facts from outside, nor by a worker that records nothing", () => {
    const known = { id: "one", since: 0 };
    const release = { type: "release", reason: "shutdown" } as const;
    const driver = new RunDriver().claim("s", { build: "one" });
    driver.report(release, { build: "one", entries: [returned("task:a#0")] });
    driver.claim("s", { build: "two" }).send("paid").pass(90_000);
    expect(driver.run).toMatchObject({ state: { status: "queued" }, build: known });
    driver.claim("s", { build: "two" }).send("paid").report(release, { build: "two" });
    expect(driver.run.build).toEqual(known);
    driver.claim("s", { build: "two" }).send("paid").record(returned("task:b#0")).do({ type: "leave", session: "s" });
    expect(driver.run.build).toMatchObject({ id: "two" });
  });

  it("a releasing report stores the build although its server has a stale row", () => {
    const driver = new RunDriver().claim("s", { build: "one" });
    const stale = driver.run;
    driver.report(go, { build: "one", entries: [returned("task:a#0")] });
    const command = driver.reporting({ type: "release", reason: "shutdown" });
    expect(decide(stale, command, at(stale.updatedAt))).toMatchObject({
      ok: true,
      run: { build: { id: "one", since: 0 } },
    });
  });

  it("the build of a report overrides that of its claim, also after a renew", () => {
    const driver = new RunDriver().claim("s", { build: "one" });
    driver.report(go, { build: "two", entries: [returned("task:a#0")] });
    driver.renew("s");
    expect(driver.run.build).toEqual({ id: "two", since: 0 });
  });

  it("the build of a report overrides that of its claim", () => {
    const driver = new RunDriver()
      .claim("s", { build: "one" })
      .report(go, { build: "two", entries: [returned("task:a#0")] });
    expect(driver.run.build).toEqual({ id: "two", since: 0 });
  });

  it("the build is kept over attempts, but not by the run that a retry starts", () => {
    const failing = (retryInMs: number | null) =>
      ({ type: "finish", outcome: { status: "failed", error, retryInMs } }) as const;
    const facts = { build: "one", entries: [returned("task:a#0")] };
    const driver = new RunDriver().claim().report(failing(500), facts).pass(500).claim();
    expect(driver.run).toMatchObject({ attempt: 2, build: { id: "one", since: 0 } });
    driver.report(failing(null)).retry();
    expect(driver.effects.at(-1)).toMatchObject({ type: "start", run: { build: null } });
  });
});

describe("the recorded call that a replay waits for", () => {
  const call = "step:charge#0";
  const expecting = (driver: RunDriver) => (driver.run.state.status === "running" ? driver.run.state.expecting : null);

  it("the expected call is stored with the time of the report that named it first", () => {
    const driver = new RunDriver().claim().renew().pass(1_000).report(go, { expecting: call });
    expect(expecting(driver)).toEqual({ call, since: 1_001_000 });
    const { revision } = driver.run;
    driver.pass(1_000).report(go, { expecting: call, entries: [returned("task:a#0")] });
    expect(expecting(driver)).toEqual({ call, since: 1_001_000 });
    expect(driver.run.revision).toBe(revision);
  });

  it("the expected call has a new time when the replay waits for another one", () => {
    const driver = new RunDriver().claim().renew().report(go, { expecting: call });
    expect(expecting(driver.pass(1_000).report(go, { expecting: "step:ship#0" }))).toEqual({
      call: "step:ship#0",
      since: 1_001_000,
    });
  });

  it("the expected call is removed by a report that names none, and by a release", () => {
    const driver = new RunDriver().claim().report(go, { expecting: call });
    expect(expecting(driver.renew())).toBeDefined();
    expect(expecting(driver.record(returned("task:a#0")))).toBeUndefined();
    driver.report(go, { expecting: call }).report({ type: "release", reason: "shutdown" }).claim();
    expect(expecting(driver)).toBeUndefined();
  });
});

describe("a stall that a worker reports", () => {
  const stalls: ReportedStall[] = [
    diverged,
    { reason: "ambiguous_call", call: "step:a#0", identity: "i1", places: ["flow.ts:1", "flow.ts:2"] },
    { reason: "schema_mismatch", call: "event:paid#0", error },
    { reason: "idle", idleMs: 300_000 },
  ];
  it.each(stalls)("a reported stall stops the run with its reason and records a mark: $reason", (stall) => {
    const driver = new RunDriver().claim().report({ type: "stall", stall }, { entries: [returned("task:a#0")] });
    expect(driver.run).toMatchObject({ state: { status: "stalled", ...stall }, dueAt: null });
    expect(driver.journal.at(-1)).toMatchObject({ value: { mark: "stalled", reason: stall.reason } });
    expect(driver.entryTypes).toEqual(["returned", "stalled"]);
    expect(driver.retry()).toMatchObject({ status: "queued", run: { attempt: 1 } });
  });

  it("a reported stall keeps at most a hundred of the calls or places that it names", () => {
    const many = Array.from({ length: 1_000 }, (_, index) => `task:a#${index}`);
    const kept = (driver: RunDriver) => JSON.stringify(driver.run.state).match(/task:a#/g)?.length;
    expect(kept(new RunDriver().claim().report({ type: "stall", stall: { ...diverged, unclaimed: many } }))).toBe(100);
    const ambiguous: ReportedStall = { reason: "ambiguous_call", call: "step:a#0", identity: "i1", places: many };
    expect(kept(new RunDriver().claim().report({ type: "stall", stall: ambiguous }))).toBe(100);
  });

  it("the mark of an ambiguous call names the waits that were open", () => {
    const ambiguous: ReportedStall = { reason: "ambiguous_call", call: "step:a#0", identity: "i1", places: [] };
    const mark = (driver: RunDriver) => driver.journal.at(-1)?.value;
    const stalled = new RunDriver()
      .claim()
      .open(sleeps(minute, callSite(0)))
      .report({ type: "stall", stall: ambiguous });
    expect(mark(stalled)).toMatchObject({ identity: "i1", waits: ["sleep:#call"] });
    expect(mark(new RunDriver().claim().report({ type: "stall", stall: ambiguous }))).not.toHaveProperty("waits");
  });

  it("a reported stall resets the count of crashes", () => {
    const driver = new RunDriver().claim().renew().pass(90_000).claim();
    expect(driver.run.crashes).toBe(1);
    expect(driver.report({ type: "stall", stall: diverged }).run.crashes).toBe(0);
  });

  it("a report that suspends a run does not stall it", () => {
    expect(
      new RunDriver()
        .claim()
        .open(sleeps(minute, callSite(0)))
        .report(suspend).status,
    ).toBe("sleeping");
  });
});
