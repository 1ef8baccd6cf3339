/** The guarantees of every Api, for each transport and each database. */

import type { ReportedStall, RunView } from "@aikirun/lib/protocol";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { awaits, codes, only, returned, Stage, type Subject, signed, sleeps, types } from "./actors.ts";
import { replaying } from "./replaying.suite.ts";
import { telling } from "./whys.suite.ts";

export function apiSuite(title: string, open: () => Promise<Subject>): void {
  describe(title, () => {
    let subject: Subject;
    beforeAll(async () => {
      subject = await open();
    });
    afterAll(() => subject.close());
    const stage = () => new Stage(subject.api);

    describe("start", () => starting(stage));
    describe("claim", () => claiming(stage));
    describe("report", () => reporting(stage));
    describe("replay", () => replaying(stage));
    describe("leases", () => leases(stage));
    describe("signal", () => signalling(stage));
    describe("watch", () => watching(stage));
    describe("find and read", () => finding(stage));
    describe("workers", () => living(stage));
    describe("why", () => telling(stage));
    describe("a bad item", () => badItems(stage));
  });
}

type MakeStage = () => Stage;

function starting(make: MakeStage): void {
  it("start creates a run that can be read with the same payload", async () => {
    const stage = make();
    const input = '{"__proto__":{"a":1}, "n":1e21,"s":"\\u0000\\ud800"}';
    const id = await stage.start({ input, priority: 3, tags: ["a", "b"], shardKey: "eu" });
    expect(await stage.view(id)).toMatchObject({
      id,
      status: "queued",
      input,
      priority: 3,
      tags: ["a", "b"],
      shardKey: "eu",
    });
  });

  it("a start that repeats an id returns the same run, or a conflict if its content differs", async () => {
    const stage = make();
    const spec = stage.spec({ input: "1" });
    expect(await stage.tryStart(spec)).toEqual({ ok: true, id: spec.id, created: true });
    expect(await stage.tryStart(spec)).toEqual({ ok: true, id: spec.id, created: false });
    expect(await stage.tryStart({ ...spec, input: "2" })).toMatchObject({ ok: false, code: "RUN_ID_CONFLICT" });
  });

  it("a start with a taken reference id returns the same run for the same input, else as onConflict says", async () => {
    const stage = make();
    const id = await stage.start({ referenceId: "o-1", inputHash: "a", input: "1" });
    const again = (more: object) => stage.tryStart(stage.spec({ referenceId: "o-1", ...more }));
    expect(await again({ inputHash: "a", input: "1" })).toEqual({ ok: true, id, created: false });
    expect(await again({ inputHash: "b", input: "2" })).toMatchObject({ ok: false, code: "REFERENCE_CONFLICT" });
    expect(await again({ inputHash: "b", input: "2", onConflict: "return_existing" })).toEqual({
      ok: true,
      id,
      created: false,
    });
    expect(await again({ name: `${stage.name} other`, inputHash: "b" })).toMatchObject({ ok: true, created: true });
  });

  it("two starts with one reference id in one batch create one run", async () => {
    const stage = make();
    const [first, second] = [0, 1].map(() => stage.spec({ referenceId: "twice", inputHash: "a" }));
    if (first === undefined || second === undefined) throw new Error("unreachable");
    const { results } = await stage.api.start({ runs: [first, second] });
    expect(results).toEqual([
      { ok: true, id: first.id, created: true },
      { ok: true, id: first.id, created: false },
    ]);
  });

  it("concurrent starts with one reference id create one run", async () => {
    const stage = make();
    const results = await Promise.all(
      Array.from({ length: 20 }, () => stage.tryStart(stage.spec({ referenceId: "raced", inputHash: "a" }))),
    );
    expect(new Set(results.map((result) => (result.ok ? result.id : result.code))).size).toBe(1);
    expect(results.filter((result) => result.ok && result.created)).toHaveLength(1);
  });

  it("a start with a delay creates a scheduled run, which is not claimed early", async () => {
    const stage = make();
    const before = Date.now();
    const id = await stage.start({ delayMs: 1_500 });
    expect((await stage.view(id)).status).toBe("scheduled");
    expect(await stage.worker().claim()).toEqual([]);
    const run = await stage.worker().claimOne();
    expect(run.now - before).toBeGreaterThanOrEqual(1_500);
  });
}

function claiming(make: MakeStage): void {
  it("claim returns the run as it was started", async () => {
    const stage = make();
    const id = await stage.start({ input: "[1]", referenceId: "r", inputHash: "a", retry: { type: "never" } });
    expect(await stage.worker().claimOne()).toMatchObject({
      id,
      input: "[1]",
      fence: 1,
      attempt: 1,
      inbox: 0,
      referenceId: "r",
      retry: { type: "never" },
      origin: id,
      journal: [],
      isCached: false,
      lostLeases: 0,
    });
    expect(await stage.view(id)).toMatchObject({ status: "running", worker: "worker-1" });
  });

  it("a claim that is repeated after a lost reply returns the same runs under a new fence", async () => {
    const stage = make();
    await Promise.all([stage.start(), stage.start(), stage.start()]);
    const worker = stage.worker();
    const request = worker.request({ limit: 2 });
    const first = await stage.api.claim(request);
    const again = await stage.api.claim(worker.request({ limit: 2, repeats: [request.claimId] }));
    expect(first.runs).toHaveLength(2);
    expect(again.runs.map(({ id, fence }) => ({ id, fence }))).toEqual(first.runs.map(({ id }) => ({ id, fence: 2 })));
    expect(await worker.claim()).toHaveLength(1);
  });

  it("concurrent claims return each run once", async () => {
    const stage = make();
    const ids = await Promise.all(Array.from({ length: 60 }, () => stage.start()));
    const claimed = await Promise.all(Array.from({ length: 10 }, () => stage.worker().claim({ limit: 10 })));
    expect(
      claimed
        .flat()
        .map(({ id }) => id)
        .sort(),
    ).toEqual(ids.sort());
  });

  it("claim returns runs with the highest priority first, up to its limit", async () => {
    const stage = make();
    const low = await stage.start({ priority: -5 });
    const high = await stage.start({ priority: 9 });
    const middle = await stage.start();
    const worker = stage.worker();
    const order = [];
    for (let turn = 0; turn < 3; turn++) order.push(only(await worker.claim({ limit: 1 })).id);
    expect(order).toEqual([high, middle, low]);
  });

  it("claim returns no run of another workflow, version or shard", async () => {
    const stage = make();
    const plain = await stage.start();
    const sharded = await stage.start({ shardKey: "eu" });
    const other = await stage.start({ versionId: "2.0.0" });
    const ids = async (more: object) => (await stage.worker().claim(more)).map(({ id }) => id);
    expect(await ids({ serves: [{ name: `${stage.name}x`, versionId: "1.0.0" }] })).toEqual([]);
    expect(await ids({ shardKeys: ["us"] })).toEqual([]);
    expect(await ids({})).toEqual([plain]);
    expect(await ids({ shardKeys: ["us", "eu"] })).toEqual([sharded]);
    expect(await ids({ serves: [{ name: stage.name, versionId: "2.0.0" }] })).toEqual([other]);
  });

  it("claim waits until a run is started", async () => {
    const stage = make();
    const waiting = stage.worker().claimOne();
    const id = await stage.start();
    expect((await waiting).id).toBe(id);
  });

  it("an aborted claim leaves the run to others at once", async () => {
    const stage = make();
    const gone = new AbortController();
    const former = stage.worker().request({ waitMs: 30_000 });
    const given = stage.api.claim(former, { signal: gone.signal }).catch((thrown: unknown) => thrown);
    gone.abort();
    await given;
    const id = await stage.start();
    expect((await stage.worker().claimOne()).id).toBe(id);
  });
}

function reporting(make: MakeStage): void {
  it("report records entries in order without gaps, and returns their positions", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    expect(await worker.report(run, { entries: [returned("task:a#0", "1"), returned("task:b#0", "2")] })).toMatchObject(
      {
        first: 1,
        tail: 2,
        entries: [],
        released: false,
      },
    );
    expect(await worker.report(run, { after: 2, entries: [returned("task:c#0", "3")] })).toMatchObject({
      first: 3,
      tail: 3,
    });
    const entries = await stage.entries(id);
    expect(entries.map(({ seq, address, fence, worker }) => ({ seq, address, fence, worker }))).toEqual(
      ["task:a#0", "task:b#0", "task:c#0"].map((address, index) => ({
        seq: index + 1,
        address,
        fence: 1,
        worker: "worker-1",
      })),
    );
  });

  it("a report that is repeated after a lost reply records nothing twice and gets the same reply", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    const draft = worker.draft(run, { entries: [returned("task:a#0")] });
    const first = only(await worker.send(draft));
    expect(only(await worker.send(draft))).toMatchObject({ ok: true, tail: 1 });
    expect(first).toMatchObject({ ok: true, first: 1, tail: 1 });
    expect(await stage.entries(id)).toHaveLength(1);
  });

  it("a repeated report of a finish is accepted", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    const next = { type: "finish", outcome: { status: "completed", output: '"x"' } } as const;
    const draft = worker.draft(run, { entries: [returned("task:a#0")], next });
    expect(codes(await worker.send(draft))).toEqual(["ok"]);
    expect(codes(await worker.send(draft))).toEqual(["ok"]);
    expect(await stage.view(id)).toMatchObject({
      status: "completed",
      outcome: { status: "completed", output: '"x"' },
    });
    expect(codes(await worker.send(worker.draft(run)))).toEqual(["RUN_FINAL"]);
  });

  it("a report of another value at a recorded address is fenced, not ignored", async () => {
    const stage = make();
    await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    await worker.report(run, { entries: [returned("task:a#0", "1")] });
    expect(codes(await worker.send(worker.draft(run, { entries: [returned("task:a#0", "2")] })))).toEqual(["FENCED"]);
  });

  it("a refused report does not affect reports of other runs in the request", async () => {
    const stage = make();
    await Promise.all([stage.start(), stage.start()]);
    const worker = stage.worker();
    const [one, two] = await worker.claim();
    if (one === undefined || two === undefined) throw new Error("Both runs must be claimed.");
    const unknown = { ...worker.draft(one), runId: v7() };
    const stale = { ...worker.draft(one), fence: 9 };
    const results = await worker.send(unknown, stale, worker.draft(two, { entries: [returned("task:a#0")] }));
    expect(codes(results)).toEqual(["RUN_NOT_FOUND", "FENCED", "ok"]);
  });

  it("a suspended run is claimed again after its sleep, not earlier", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    expect(await worker.suspend(run, [sleeps(150)])).toMatchObject({ released: true });
    expect((await stage.view(id)).status).toBe("sleeping");
    const resumed = await stage.worker().claimOne();
    expect(resumed).toMatchObject({ id, fence: 2, isCached: false });
    expect(types(resumed.journal)).toEqual(["elapsed"]);
    expect(resumed.now - run.now).toBeGreaterThanOrEqual(150);
  });

  it("a suspended run that the same session claims again brings only new entries", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    await worker.suspend(run, [sleeps(30)], { entries: [returned("task:a#0")] });
    const resumed = await worker.claimOne();
    expect(resumed).toMatchObject({ id, isCached: true });
    expect(types(resumed.journal)).toEqual(["elapsed"]);
  });

  it("a run with unseen entries is not suspended, and the reply brings the entries", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    await worker.report(run, { opens: [awaits("go")] });
    await stage.signal(id, { type: "event", name: "go", data: "7" });
    const answer = await worker.suspend(run, []);
    expect(answer).toMatchObject({ released: false, inbox: 1 });
    expect(types(answer.entries)).toEqual(["arrived", "received"]);
  });

  it("a report that starts a child creates it, and the end of the child queues the parent", async () => {
    const stage = make();
    const id = await stage.start({ priority: 7 });
    const worker = stage.worker();
    const parent = await worker.claimOne();
    const child = stage.spec({ versionId: "child" });
    const starts = [{ address: "child:c#0", spec: child }];
    expect(await worker.report(parent, { starts, next: { type: "suspend", children: 1 } })).toMatchObject({
      released: true,
    });
    expect((await stage.view(id)).status).toBe("awaiting_child_workflow");
    const serves = [{ name: stage.name, versionId: "child" }];
    const claimed = await worker.claimOne({ serves });
    expect(claimed).toMatchObject({ id: child.id, priority: 7, parent: { id, address: "child:c#0" } });
    await worker.finish(claimed, { status: "completed", output: "42" });
    const resumed = await worker.claimOne();
    expect(only(resumed.journal)).toMatchObject({
      address: "child:c#0/result",
      value: { type: "returned", output: "42" },
    });
  });

  it("a failed attempt with a retry is followed by the next attempt after the delay", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const error = { name: "Error", message: "first try" };
    await worker.finish(await worker.claimOne(), { status: "failed", error, retryInMs: 80 });
    expect(await stage.view(id)).toMatchObject({ status: "awaiting_retry", attempt: 2, lastError: error });
    const second = await worker.claimOne();
    expect(second).toMatchObject({ attempt: 2, isCached: false });
    await worker.finish(second, { status: "failed", error, retryInMs: null });
    expect(await stage.view(id)).toMatchObject({ status: "failed", outcome: { status: "failed", error } });
  });

  it("a released run is claimed by the next worker at once", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    await worker.report(await worker.claimOne(), { next: { type: "release", reason: "shutdown" } });
    expect(await stage.worker().claimOne()).toMatchObject({ id, fence: 2, lostLeases: 0 });
  });

  it("a diverged run is stalled with both calls, and retry queues it", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const stall: ReportedStall = { reason: "diverged", call: "task:new#0", unclaimed: ["task:old#0"] };
    await worker.report(await worker.claimOne(), { next: { type: "stall", stall } });
    expect(await stage.view(id)).toMatchObject({
      status: "stalled",
      stall,
    });
    expect(await stage.signal(id, { type: "retry", newRunId: v7() })).toEqual({
      ok: true,
      runId: id,
      status: "queued",
    });
    expect((await worker.claimOne()).id).toBe(id);
  });
}

function leases(make: MakeStage): void {
  it("the leases of a session that leaves end at once and count as no crash", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    await worker.leave();
    expect(await stage.worker().claimOne()).toMatchObject({ id, fence: 2, lostLeases: 0 });
    expect(codes(await worker.send(worker.draft(run)))).toEqual(["FENCED"]);
  });

  it("only the holder renews a lease", async () => {
    const stage = make();
    await stage.start();
    const worker = stage.worker();
    const { id: runId, fence } = await worker.claimOne();
    const renew = (session: string, fence: number) =>
      stage.api.renew({
        ...signed,
        session,
        runs: [
          { runId, fence },
          { runId: v7(), fence },
        ],
      });
    expect(codes((await renew(worker.session, fence)).results)).toEqual(["ok", "RUN_NOT_FOUND"]);
    expect(codes((await renew(worker.session, fence + 1)).results)).toEqual(["FENCED", "RUN_NOT_FOUND"]);
    expect(codes((await renew(v7(), fence)).results)).toEqual(["FENCED", "RUN_NOT_FOUND"]);
  });

  it("after its lease expired, a run is claimed again, and the report of its former holder is fenced", async () => {
    const stage = make();
    const id = await stage.start();
    const former = stage.worker();
    const lost = await former.claimOne({ leaseMs: 150 });
    await former.report(lost, { entries: [returned("task:a#0")] });
    const heir = stage.worker();
    const found = await heir.claimOne();
    expect(found).toMatchObject({ id, fence: 2, lostLeases: 1 });
    expect(types(found.journal)).toEqual(["returned", "recovered"]);
    const late = former.draft(lost, {
      entries: [returned("task:b#0")],
      next: { type: "finish", outcome: { status: "completed" } },
    });
    expect(codes(await former.send(late))).toEqual(["FENCED"]);
    expect(await stage.entries(id)).toHaveLength(2);
    await heir.finish(found);
  });
}

function signalling(make: MakeStage): void {
  it("an event reaches the oldest wait for its name, once", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    await worker.suspend(await worker.claimOne(), [awaits("go", "event:go#0"), awaits("go", "event:go#1")]);
    const signalId = v7();
    const go = { type: "event", name: "go", data: "1" } as const;
    expect(codes([await stage.signal(id, go, signalId), await stage.signal(id, go, signalId)])).toEqual(["ok", "ok"]);
    const { journal } = await stage.worker().claimOne();
    expect(journal.map(({ value }) => value)).toEqual([
      { type: "arrived", name: "go", data: "1" },
      { type: "received", name: "go", nth: 0 },
    ]);
    expect(journal[1]?.address).toBe("event:go#0");
  });

  it("an event is kept until the run waits for it", async () => {
    const stage = make();
    const id = await stage.start();
    expect(codes([await stage.signal(id, { type: "event", name: "early" })])).toEqual(["ok"]);
    const worker = stage.worker();
    const run = await worker.claimOne();
    const answer = await worker.suspend(run, [awaits("early")]);
    expect(answer.released).toBe(false);
    expect(types(answer.entries)).toEqual(["received"]);
  });

  it("events with the same reference id are one event, also if different clients send them", async () => {
    const stage = make();
    const id = await stage.start();
    const go = { type: "event", name: "go", referenceId: "only" } as const;
    const results = await Promise.all([1, 2, 3].map(() => stage.signal(id, go)));
    expect(codes(results)).toEqual(["ok", "ok", "ok"]);
    expect(types(await stage.entries(id))).toEqual(["arrived"]);
  });

  it("cancel takes effect at once, also while a worker holds the run", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    expect(await stage.signal(id, { type: "cancel", reason: "enough" })).toMatchObject({
      ok: true,
      status: "cancelled",
    });
    expect(codes(await worker.send(worker.draft(run)))).toEqual(["RUN_FINAL"]);
    expect(await stage.view(id)).toMatchObject({ outcome: { status: "cancelled", reason: "enough" } });
  });

  it("cancel cancels the children too", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const child = stage.spec({ versionId: "child" });
    await worker.report(await worker.claimOne(), {
      starts: [{ address: "child:c#0", spec: child }],
      next: { type: "suspend", children: 1 },
    });
    await stage.signal(id, { type: "cancel" });
    await stage.reaches(child.id, "cancelled");
  });

  it("a paused run keeps the events that arrive, and resume continues it", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    await worker.suspend(await worker.claimOne(), [awaits("go")]);
    expect(await stage.signal(id, { type: "pause" })).toMatchObject({ ok: true, status: "paused" });
    await stage.signal(id, { type: "event", name: "go" });
    expect(await worker.claim()).toEqual([]);
    await stage.signal(id, { type: "resume" });
    expect((await worker.claimOne()).id).toBe(id);
  });

  it("a request to pause a running run reaches its worker in the replies to renew and report", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    await stage.signal(id, { type: "pause" });
    const renewed = await stage.api.renew({
      ...signed,
      session: worker.session,
      runs: [{ runId: id, fence: run.fence }],
    });
    expect(only(renewed.results)).toMatchObject({ ok: true, pause: true });
    expect(await worker.report(run, { next: { type: "release", reason: "paused" } })).toMatchObject({ released: true });
    expect((await stage.view(id)).status).toBe("paused");
  });

  it("wake ends a sleep early, and is refused if the run has no sleep", async () => {
    const stage = make();
    const id = await stage.start();
    expect(codes([await stage.signal(id, { type: "wake" })])).toEqual(["ILLEGAL_STATE"]);
    const worker = stage.worker();
    await worker.suspend(await worker.claimOne(), [sleeps(86_400_000)]);
    await stage.signal(id, { type: "wake" });
    const { journal } = await stage.worker().claimOne();
    expect(journal.at(-1)?.value).toEqual({ type: "elapsed", early: true });
  });

  it("retry of a failed run starts a new run that reuses the results", async () => {
    const stage = make();
    const id = await stage.start({ input: "5" });
    const worker = stage.worker();
    const error = { name: "Error", message: "no" };
    await worker.report(await worker.claimOne(), {
      entries: [returned("task:a#0", "1"), { address: "task:b#0", value: { type: "threw", error } }],
      next: { type: "finish", outcome: { status: "failed", error, retryInMs: null } },
    });
    const [signalId, newRunId] = [v7(), v7()];
    const retry = () => stage.signal(id, { type: "retry", newRunId }, signalId);
    expect(await retry()).toMatchObject({ ok: true, runId: newRunId });
    expect(await retry()).toMatchObject({ ok: true, runId: newRunId });
    const run = await worker.claimOne();
    expect(run).toMatchObject({ id: newRunId, input: "5", origin: id });
    expect(run.journal.map(({ address }) => address)).toEqual(["task:a#0"]);
    expect(await stage.view(newRunId)).toMatchObject({ retryOf: id });
    expect((await stage.view(id)).status).toBe("failed");
  });

  it("a signal to an unknown or ended run is refused with a code", async () => {
    const stage = make();
    expect(codes([await stage.signal(v7(), { type: "cancel" })])).toEqual(["RUN_NOT_FOUND"]);
    const id = await stage.start();
    const worker = stage.worker();
    await worker.finish(await worker.claimOne());
    expect(codes([await stage.signal(id, { type: "event", name: "late" })])).toEqual(["RUN_FINAL"]);
    expect(codes([await stage.signal(id, { type: "cancel" })])).toEqual(["RUN_FINAL"]);
  });
}

function watching(make: MakeStage): void {
  it("watch returns when a status is reached, or at once if it was reached before", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const done = stage.reaches(id, "completed");
    await worker.finish(await worker.claimOne(), { status: "completed", output: "1" });
    expect((await done).outcome).toEqual({ status: "completed", output: "1" });
    expect((await stage.reaches(id, "completed")).id).toBe(id);
  });

  it("watch returns nothing after its time", async () => {
    const stage = make();
    const id = await stage.start();
    const watched = [{ type: "status", runId: id, statuses: ["completed" as const] }] as const;
    expect(
      await stage.api.watch({
        watched: [...watched.map((item) => ({ ...item, statuses: [...item.statuses] }))],
        waitMs: 30,
      }),
    ).toEqual({ results: [] });
  });

  it("watch returns the changes of a held run: entries, pause, loss", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne();
    await worker.report(run, { opens: [awaits("go")] });
    const watch = (seen: number, after: number) =>
      stage.api.watch({ watched: [{ type: "changes", runId: id, fence: run.fence, seen, after }], waitMs: 10_000 });
    const pending = watch(0, 0);
    await stage.signal(id, { type: "event", name: "go" });
    const changes = only((await pending).results);
    expect(changes).toMatchObject({ type: "changes", inbox: 1, pause: false });
    expect(changes.type === "changes" ? types(changes.entries) : []).toEqual(["arrived", "received"]);
    const pause = watch(1, 2);
    await stage.signal(id, { type: "pause" });
    expect(only((await pause).results)).toMatchObject({ type: "changes", pause: true });
    await stage.signal(id, { type: "cancel" });
    expect(only((await watch(1, 2)).results)).toMatchObject({ type: "lost", code: "RUN_FINAL", status: "cancelled" });
  });

  it("watch returns RUN_NOT_FOUND for an unknown run", async () => {
    const stage = make();
    const watched = [v7(), "no id at all"].map((runId) => ({ type: "status" as const, runId, statuses: [] }));
    const { results } = await stage.api.watch({ watched, waitMs: 1_000 });
    expect(results).toEqual(watched.map(({ runId }) => ({ type: "lost", runId, code: "RUN_NOT_FOUND" })));
  });
}

function finding(make: MakeStage): void {
  it("find lists every run once in both orders while others are started", async () => {
    const stage = make();
    const ids: string[] = [];
    for (let count = 0; count < 7; count++) ids.push(await stage.start({ input: "1" }));
    for (const order of ["newest", "oldest"] as const) {
      const seen: RunView[] = [];
      let cursor: string | undefined;
      do {
        const page = await stage.api.find({
          name: stage.name,
          order,
          limit: 3,
          ...(cursor === undefined ? {} : { cursor }),
        });
        seen.push(...page.runs);
        expect(page.runs.every((run) => run.input === undefined)).toBe(true);
        cursor = page.cursor;
      } while (cursor !== undefined);
      expect(seen.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
      const places = seen.map(({ createdAt, id }) => `${createdAt} ${id}`);
      expect(places).toEqual(order === "oldest" ? places.toSorted() : places.toSorted().reverse());
    }
  });

  it("find combines filters by status, reference id, tags, version and shard", async () => {
    const stage = make();
    const wanted = { versionId: "2", referenceId: "r", inputHash: "a", tags: ["x", "y"], shardKey: "eu" };
    const id = await stage.start(wanted);
    await stage.start({ ...wanted, referenceId: "s", tags: ["x"] });
    const { referenceId, versionId, shardKey } = wanted;
    const found = async (filter: object) =>
      (await stage.api.find({ name: stage.name, ...filter })).runs.map((run) => run.id);
    expect(await found({ referenceId, versionId, shardKey, tags: ["y", "x"], status: ["queued"] })).toEqual([id]);
    expect(await found({ status: ["completed"] })).toEqual([]);
    expect(await found({ tags: ["x"] })).toHaveLength(2);
    expect(await found({ shardKey: "us" })).toEqual([]);
  });

  it("find refuses an invalid cursor", async () => {
    const stage = make();
    for (const text of ["made up", "1", "x 0190a000-0000-7000-8000-000000000000", "1 no-id"]) {
      for (const cursor of [text, Buffer.from(text).toString("base64url")]) {
        await expect(stage.api.find({ cursor })).rejects.toMatchObject({ code: "BAD_REQUEST" });
      }
    }
  });

  it("read returns a journal in pages", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const entries = [1, 2, 3].map((step) => returned(`task:${step}#0`));
    await worker.report(await worker.claimOne(), { entries });
    const page = async (after: number) =>
      only((await stage.api.read({ runs: [{ runId: id, entries: { after, limit: 2 } }] })).results);
    expect(await page(0)).toMatchObject({ more: true, entries: [{ seq: 1 }, { seq: 2 }] });
    expect(await page(2)).toMatchObject({ more: false, entries: [{ seq: 3 }] });
    const [known, unknown] = (await stage.api.read({ runs: [{ runId: id }, { runId: v7() }] })).results;
    expect(known).toMatchObject({ ok: true, entries: [] });
    expect(unknown).toMatchObject({ ok: false, code: "RUN_NOT_FOUND" });
  });
}

function living(make: MakeStage): void {
  const eu = { shardKeys: ["eu"] };

  it("workers lists workers that claimed, with what they serve and their load", async () => {
    const stage = make();
    const [one, silent] = [stage.worker(), stage.worker()];
    const before = Date.now() - 1_000;
    await one.claim({ ...eu, worker: "worker-7", load: { slots: 20, busy: 3 } });
    await silent.claim();
    const serves = [{ name: stage.name, versionId: "1.0.0" }];
    const listed = await one.listed();
    expect(listed).toEqual({
      session: one.session,
      worker: "worker-7",
      serves,
      shardKeys: ["eu"],
      load: { slots: 20, busy: 3 },
      since: expect.any(Number),
      seenAt: expect.any(Number),
    });
    expect(listed?.since).toBeGreaterThan(before);
    expect(listed?.seenAt).toBeGreaterThanOrEqual(listed?.since ?? Number.POSITIVE_INFINITY);
    expect(await silent.listed()).not.toHaveProperty("load");
    expect(await stage.api.read({ runs: [] })).toEqual({ results: [] });
  });

  it("workers are listed by id and then by session", async () => {
    const stage = make();
    const id = await stage.start();
    for (const worker of ["b", "a", "b"]) await stage.worker().claim({ worker, shardKeys: ["nowhere"] });
    const { results, workers = [] } = await stage.api.read({ runs: [{ runId: id }, { runId: v7() }], workers: true });
    expect(codes(results)).toEqual(["ok", "RUN_NOT_FOUND"]);
    const keys = workers.map(({ worker, session }) => [worker, session]);
    expect(keys).toEqual(keys.toSorted(([a = "", b = ""], [c = "", d = ""]) => (a < c || (a === c && b < d) ? -1 : 1)));
    const mine = workers.filter(({ serves }) => serves[0]?.name === stage.name);
    expect(mine.map(({ worker }) => worker)).toEqual(["a", "b", "b"]);
  });

  it("the load of a worker is that of its last heartbeat", async () => {
    const stage = make();
    const worker = stage.worker();
    await worker.claim({ load: { slots: 5, busy: 0 } });
    await stage.api.renew({
      ...signed,
      session: worker.session,
      leaseMs: 30_000,
      runs: [],
      load: { slots: 5, busy: 5 },
    });
    expect((await worker.listed())?.load).toEqual({ slots: 5, busy: 5 });
  });

  it("a worker that leaves is removed, even if the same request has an invalid item", async () => {
    const stage = make();
    const worker = stage.worker();
    await worker.claim();
    const runs = [{ runId: v7(), fence: 1 }];
    const { results } = await stage.api.renew({
      ...signed,
      session: worker.session,
      leaseMs: 30_000,
      runs,
      leaving: true,
    });
    expect(codes(results)).toEqual(["RUN_NOT_FOUND"]);
    expect(await worker.listed()).toBeUndefined();
  });

  it("a queued run explains whether a worker serves its version and shard", async () => {
    const stage = make();
    const id = await stage.start({ versionId: "1.2.0", shardKey: "eu" });
    const explanation = async () => {
      const [found] = (await stage.api.find({ name: stage.name })).runs;
      const view = await stage.view(id);
      expect(found?.explanation).toBe(view.explanation);
      return view.explanation;
    };
    const unserved = `Queued: no worker serves ${stage.name}@1.2.0 in shard eu.`;
    const serves = [{ name: stage.name, versionId: "1.2.0" }];
    expect(await explanation()).toBe(unserved);
    await stage.worker().claim(eu);
    await stage.worker().claim({ serves });
    expect(await explanation()).toBe(unserved);
    const worker = stage.worker();
    const run = await worker.claimOne({ ...eu, serves });
    await worker.report(run, { next: { type: "release", reason: "shutdown" } });
    expect(await explanation()).toBe("Queued: ready for the next free worker.");
    await worker.leave();
    expect(await explanation()).toBe(unserved);
  });
}

function badItems(make: MakeStage): void {
  it("start refuses an invalid item at its position and starts the others", async () => {
    const stage = make();
    const good = stage.spec();
    const bad = [
      { id: "no uuid" },
      { name: "" },
      { name: "a\0b" },
      { priority: 1.5 },
      { delayMs: -1 },
      { referenceId: "x" },
      { delayMs: 1, at: 1 },
    ];
    const { results } = await stage.api.start({ runs: [...bad.map((more) => stage.spec(more)), good] });
    expect(codes(results)).toEqual([...bad.map(() => "BAD_REQUEST"), "ok"]);
    expect((await stage.view(good.id)).id).toBe(good.id);
  });

  it("signal refuses an invalid item at its position", async () => {
    const stage = make();
    const id = await stage.start();
    const { results } = await stage.api.signal({
      signals: [
        { signalId: "", runId: id, signal: { type: "pause" } },
        { signalId: v7(), runId: id, signal: { type: "event", name: "x".repeat(256) } },
        { signalId: v7(), runId: id, signal: { type: "pause" } },
      ],
    });
    expect(codes(results)).toEqual(["BAD_REQUEST", "BAD_REQUEST", "ok"]);
  });

  it("report refuses an item with invalid user data at its position", async () => {
    const stage = make();
    await Promise.all([stage.start(), stage.start()]);
    const worker = stage.worker();
    const [one, two] = await worker.claim();
    if (one === undefined || two === undefined) throw new Error("Both runs must be claimed.");
    const bad = worker.draft(one, { opens: [awaits("a\0b")] });
    expect(codes(await worker.send(bad, worker.draft(two)))).toEqual(["BAD_REQUEST", "ok"]);
  });
}
