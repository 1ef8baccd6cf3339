import { relationTo } from "@aikirun/lib/internal";
import { type ClaimedRun, type Entry, limits, type Next, type RunStatus } from "@aikirun/lib/protocol";
import { settled } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { only, rig, type TestSession } from "../../test/rig.ts";
import { complete, error, go, returned } from "../../test/runs.ts";

const bytes = 1_900_000;
const large = JSON.stringify("x".repeat(bytes));
/** The number of large payloads that fill a reply; the last one exceeds the budget. */
const full = Math.ceil(limits.replyBytes / bytes);

describe("a claim", () => {
  it("a claim takes only runs whose inputs fit into a reply; others stay queued", async () => {
    const { openSession } = rig();
    const [session, other] = [openSession(), openSession()];
    for (let n = 0; n < full + 3; n++) {
      await session.start({ input: large });
    }
    const first = await session.claim({ limit: 300 });
    expect(first.map(({ input }) => input === large)).toEqual(Array.from({ length: full }, () => true));
    expect(await other.claim({ limit: 300 })).toHaveLength(3);
    expect(await session.claim({ limit: 300 })).toEqual([]);
  });

  it("a claim is repeated at once if the reply of its transaction was full", async () => {
    const { openSession, env } = rig();
    const [session, other] = [openSession(), openSession()];
    for (let n = 0; n < full + 1; n++) {
      await session.start({ input: large });
    }
    const claims = [session, other].map((each) => each.claim({ limit: 300, waitMs: 5_000 }));
    const begun = env.elapsed();
    await settled();
    const counts = (await Promise.all(claims)).map(({ length }) => length);
    expect(counts.sort()).toEqual([1, full]);
    expect(env.elapsed()).toBe(begun);
  });

  it("a claim that repeats a lost one brings no more inputs than fit into a reply", async () => {
    const { openSession } = rig();
    const sessions = [openSession(), openSession(), openSession()];
    for (const [n, session] of sessions.entries()) {
      for (let count = 0; count < full; count++) {
        await session.start({ input: large });
      }
      expect(await session.claim({ claimId: `c-${n}`, limit: 300 })).toHaveLength(full);
    }
    const again = await Promise.all(sessions.map((session, n) => session.claim({ limit: 300, repeats: [`c-${n}`] })));
    expect(again.map(({ length }) => length)).toEqual([full, full, full]);
    expect(again.flat().filter(({ input }) => input === large)).toHaveLength(full);
  });

  it("a repeated claim omits inputs beyond the limit of the reply, and says so", async () => {
    const { openSession } = rig();
    const session = openSession();
    const claimIds = ["c-1", "c-2"];
    for (let n = 0; n < 2 * full; n++) {
      await session.start({ input: large });
    }
    for (const claimId of claimIds) {
      expect(await session.claim({ claimId, limit: 300 })).toHaveLength(full);
    }
    const again = await session.claim({ limit: 300, repeats: claimIds });
    expect(again).toHaveLength(2 * full);
    expect(again.filter(({ input }) => input === large)).toHaveLength(full);
    expect(again.filter(({ inputLeftOut }) => inputLeftOut === true)).toHaveLength(full);
  });
});

describe("the answer to a report", () => {
  /** A claimed run for which `events` large events have arrived. */
  async function withEvents(events: number): Promise<{ session: TestSession; claimed: ClaimedRun }> {
    const session = rig().openSession();
    const id = await session.start();
    const claimed = await session.claimOne();
    for (let n = 0; n < events; n++) {
      await session.signal(id, { type: "event", name: "paid", data: large });
    }
    return { session, claimed };
  }

  it("the answer to a report has the new entries that fit and says where it is cut, also on a repeat", async () => {
    const { session, claimed } = await withEvents(full + 4);
    const report = session.reporting(claimed, go, { entries: [returned("task:a#0"), returned("task:b#0")] });
    const answer = only(await session.send(report));
    expect(answer).toMatchObject({ ok: true, first: full + 5, tail: full + 6, inbox: full + 4 });
    if (!answer.ok) throw new Error(answer.message);
    expect(answer.entries.length).toBeLessThanOrEqual(full);
    expect(answer.entriesCutAt).toBe(answer.entries.at(-1)?.seq);
    expect(only(await session.send(report))).toEqual(answer);
  });

  it("a repeat of a report that ended its attempt gets the same seq", async () => {
    const { session, claimed } = await withEvents(full + 4);
    const failed: Next = { type: "finish", outcome: { status: "failed", error, retryInMs: 10 } };
    const report = session.reporting(claimed, failed, { entries: [returned("task:a#0")] });
    const [answer] = await session.send(report);
    expect(answer).toMatchObject({ ok: true, first: full + 5 });
    expect(await session.send(report)).toMatchObject([{ ok: true, first: full + 5 }]);
  });

  it("an answer that was cut, read on, has all entries, also results of children that were reused", async () => {
    const newEntries = async (data: string) => {
      const { openSession, env, api } = rig();
      const session = openSession();
      const parent = await session.start();
      const starts = [0, 1].map((n) => ({ address: `child:child#${n}`, spec: session.spec({ name: "child" }) }));
      const first = await session.claimOne();
      await session.report(first, go, { starts });
      for (const child of await session.claim({ serves: [{ name: "child", versionId: "1" }] })) {
        await session.report(child, complete);
      }
      const failed: Next = { type: "finish", outcome: { status: "failed", error, retryInMs: 10 } };
      await session.report(first, failed, { seen: 2, after: 4 });
      await env.advance(1_000);
      const claimed = await session.claimOne();
      for (let n = 0; n < full + 3; n++) {
        await session.signal(parent, { type: "event", name: "paid", data });
      }
      const report = session.reporting(claimed, go, { starts });
      const [answer] = await session.send(report);
      if (answer?.ok !== true) throw new Error("The report was refused.");
      const { entries, entriesCutAt = answer.tail } = answer;
      const rest: Entry[] = [];
      for (let after = entriesCutAt; after < answer.tail; after = rest.at(-1)?.seq ?? after) {
        const [page] = (await api.read({ runs: [{ runId: parent, entries: { after, limit: 100 } }] })).results;
        rest.push(...(page?.ok === true ? page.entries : []));
      }
      const relation = relationTo(report);
      const all = [...entries, ...rest.filter((entry) => relation(entry) !== "asItSays")];
      return { isCut: entriesCutAt < answer.tail, all: all.map(({ seq, address }) => `${seq} ${address}`) };
    };
    const [whole, cut] = [await newEntries("1"), await newEntries(large)];
    expect([whole.isCut, cut.isCut]).toEqual([false, true]);
    expect(cut.all).toEqual(whole.all);
    expect(cut.all).toHaveLength(full + 3 + 2);
  });

  it("the answer to a report is complete if the new entries fit", async () => {
    const { openSession } = rig();
    const session = openSession();
    const id = await session.start();
    const claimed = await session.claimOne();
    await session.signal(id, { type: "event", name: "paid", data: large });
    const answer = await session.report(claimed, go);
    expect([answer.entries.length, answer.entriesCutAt]).toEqual([1, undefined]);
  });
});

describe("a payload that stays in storage", () => {
  it("a retry of an ended run has its large input", async () => {
    const { openSession } = rig();
    const session = openSession();
    const id = await session.start({ input: large });
    await session.report(await session.claimOne(), {
      type: "finish",
      outcome: { status: "failed", error, retryInMs: null },
    });
    const newRunId = "0190a000-0000-7000-8000-000000000999";
    expect(await session.signal(id, { type: "retry", newRunId })).toMatchObject({ ok: true, runId: newRunId });
    expect((await session.claimOne()).input).toBe(large);
  });

  it("a large input distinguishes a repeated start from another start with the same id", async () => {
    const { openSession } = rig();
    const session = openSession();
    const spec = session.spec({ input: large });
    await session.tryStart(spec);
    expect(await session.tryStart(spec)).toMatchObject({ ok: true, created: false });
    const other = { ...spec, input: large.replace("x", "y") };
    expect(await session.tryStart(other)).toMatchObject({ code: "RUN_ID_CONFLICT" });
    expect(await session.tryStart({ ...spec, input: "1" })).toMatchObject({ code: "RUN_ID_CONFLICT" });
  });

  it("a large output is sent to a watcher of the run, and to the next attempt of its parent", async () => {
    const { openSession, api, env } = rig();
    const session = openSession();
    const parent = await session.start();
    const serves = [{ name: "child", versionId: "1" }];
    const start = { address: "child:child#0", spec: session.spec({ name: "child", referenceId: "r" }) };
    const first = await session.claimOne();
    await session.report(first, go, { starts: [start] });
    await session.report(await session.claimOne({ serves }), {
      type: "finish",
      outcome: { status: "completed", output: large },
    });
    const watched = [{ type: "status" as const, runId: start.spec.id, statuses: [] }];
    expect(only((await api.watch({ watched, waitMs: 0 })).results)).toMatchObject({
      run: { outcome: { output: large } },
    });
    const failed: Next = { type: "finish", outcome: { status: "failed", error, retryInMs: 10 } };
    await session.report(first, failed, { seen: 1, after: 2 });
    await env.advance(1_000);
    const second = await session.claimOne();
    await session.report(second, go, {
      starts: [{ ...start, spec: session.spec({ name: "child", referenceId: "r" }) }],
    });
    const { entries } = await session.read(parent);
    const received = entries.filter(({ attempt }) => attempt === second.attempt).map(({ value }) => value);
    expect(received).toEqual([
      { type: "started", runId: start.spec.id },
      { type: "returned", output: large },
    ]);
  });
});

describe("recorded values", () => {
  it("a report does not load recorded values of ended children or other reports", async () => {
    const { openSession, storage } = rig();
    const session = openSession();
    await session.start();
    const starts = [0, 1, 2].map((n) => ({ address: `child:child#${n}`, spec: session.spec({ name: "child" }) }));
    const claimed = await session.claimOne();
    await session.report(claimed, go, { starts });
    for (const child of await session.claim({ serves: [{ name: "child", versionId: "1" }] })) {
      await session.report(child, { type: "finish", outcome: { status: "completed", output: large } });
    }
    storage.takeCounts();
    const opens = starts.map(
      ({ address }) => ({ address: `${address}/wait#0`, type: "child", durationMs: null }) as const,
    );
    await session.report(claimed, go, { opens, seen: 3, after: 6, entries: [returned("task:a#0", large)] });
    const other = { entries: [returned("task:a#0", "1")], seen: 3, after: 7 };
    expect(only(await session.send(session.reporting(claimed, go, other)))).toMatchObject({ code: "FENCED" });
    expect(storage.takeCounts().characters).toBeLessThan(10_000);
  });

  it("a repeated report is compared with the large values that are recorded", async () => {
    const { openSession } = rig();
    const session = openSession();
    await session.start();
    const claimed = await session.claimOne();
    const failure = { ...error, message: "m".repeat(60_000) };
    const entriesWith = (output: string, message: string) => [
      returned("task:a#0", output),
      { address: "task:b#0", value: { type: "threw", error: { ...failure, message } } } as const,
      { address: "task:c#0/1", value: { type: "retrying", error: failure, retryInMs: 5 } } as const,
    ];
    const entries = entriesWith(large, failure.message);
    const first = await session.report(claimed, go, { entries });
    expect(await session.report(claimed, go, { entries })).toEqual(first);
    const others = [
      entriesWith(large.replace("x", "y"), failure.message),
      entriesWith(large, `n${failure.message.slice(1)}`),
    ];
    for (const changed of others) {
      const [answer] = await session.send(session.reporting(claimed, go, { entries: changed }));
      expect(answer).toMatchObject({ code: "FENCED" });
    }
  });
});

describe("a read", () => {
  it("a read answers the runs that fit, in order, and says that there are more", async () => {
    const { openSession, api } = rig();
    const session = openSession();
    const ids: string[] = [];
    for (let n = 0; n < full + 2; n++) {
      ids.push(await session.start({ input: large }));
    }
    const { results, more } = await api.read({ runs: ids.map((runId) => ({ runId })) });
    expect(results.map((result) => (result.ok ? result.run.id : result.code))).toEqual(ids.slice(0, full));
    expect(more).toBe(true);
    const rest = await api.read({ runs: ids.slice(full).map((runId) => ({ runId })) });
    expect([rest.results.length, rest.more]).toEqual([2, undefined]);
  });
});

describe("a list, a read and a watch", () => {
  it("lists, reads and watches count the errors of runs, and continue where the reply was full", async () => {
    const { openSession, api } = rig();
    const session = openSession();
    const failure = { ...error, message: "m".repeat(60_000) };
    const ids = new Set<string>();
    for (let n = 0; n < 100; n++) {
      ids.add(await session.start());
    }
    for (const run of await session.claim({ limit: 100 })) {
      await session.report(run, { type: "finish", outcome: { status: "failed", error: failure, retryInMs: null } });
    }
    const runs = Array.from(ids, (runId) => ({ runId }));
    const first = await api.read({ runs });
    expect([first.results.length < 100, first.more]).toEqual([true, true]);
    const watched = runs.map(({ runId }) => ({ type: "status" as const, runId, statuses: [] }));
    expect((await api.watch({ watched, waitMs: 0 })).results.length).toBeLessThan(100);
    const listed: string[] = [];
    let pages = 0;
    for (let cursor: string | undefined, isLast = false; !isLast; isLast = cursor === undefined) {
      const page = await api.find({ limit: 200, ...(cursor !== undefined && { cursor }) });
      listed.push(...page.runs.map(({ id }) => id));
      cursor = page.cursor;
      pages += 1;
    }
    expect(pages).toBeGreaterThan(1);
    expect(listed.toSorted()).toEqual([...ids].toSorted());
  });

  it("a watch of ten thousand items for one run takes little processor time", async () => {
    const { openSession, api } = rig();
    const runId = await openSession().start();
    const statuses: RunStatus[] = ["paused", "sleeping", "stalled", "awaiting_event", "awaiting_retry", "scheduled"];
    const watched = Array.from({ length: limits.watchedItems }, () => ({ type: "status" as const, runId, statuses }));
    const before = process.cpuUsage();
    expect((await api.watch({ watched, waitMs: 0 })).results).toEqual([]);
    const { user } = process.cpuUsage(before);
    expect(user).toBeLessThan(5_000_000);
  });
});
