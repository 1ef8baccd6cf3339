import { openedWaitAddress, retryAddress, tryAddress } from "@aikirun/lib/internal";
import { type OpenWait, type RenewRequest, type Why, type WhyLink, whyReasons } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { only, rig, type TestSession, workerFields } from "../../test/rig.ts";
import {
  aRun,
  awaitingAttempt,
  awaitingChild,
  awaitingEvent,
  awaitingTask,
  diverged,
  error,
  eventWait,
  now,
  paused,
  queued,
  retryWait,
  running,
  scheduled,
  sleeping,
  sleepWait,
  suspend,
} from "../../test/runs.ts";
import type { Run } from "../core/run.ts";
import { type Circumstances, linkOf } from "./why-link.ts";

function open() {
  const { env, engine, openSession } = rig();
  return { env, engine, session: openSession(), openSession };
}

async function whyOf(session: TestSession, runId: string): Promise<Why> {
  const { why } = await session.api.read({ runs: [], why: runId });
  if (why?.ok !== true) throw new Error(JSON.stringify(why));
  return why.why;
}

/** The answer of a run that waits for no child: its reason and text, and how long the reason lasts and will last. */
async function told(session: TestSession, runId: string) {
  const { at, text, links } = await whyOf(session, runId);
  const link = only(links);
  expect(text).toBe(link.text);
  return { reason: link.reason, text, ago: at - link.since, ahead: link.until === null ? null : link.until - at };
}

/** A heartbeat of the session, so that it is listed as a live worker. */
async function heartbeat(session: TestSession, more: Partial<RenewRequest> = {}): Promise<void> {
  await session.api.renew({ ...workerFields, session: session.id, runs: [], ...more });
}

const eu = { shardKeys: ["eu"] };

describe("why a queued run does not move", () => {
  it("why names the version and the shard that no live worker serves, and what is served", async () => {
    const { env, session, openSession } = open();
    const id = await session.start({ versionId: "1.2.0", shardKey: "eu" });
    await env.advance(90_000);
    const nobody = { reason: "no_worker", ago: 90_000, ahead: null };
    const start = "Queued for 90 seconds: no live worker serves order@1.2.0 in shard eu";
    expect(await told(session, id)).toEqual({
      ...nobody,
      text: `${start} (there is no live worker). Start one that does.`,
    });

    await heartbeat(session, { serves: [{ name: "mail", versionId: "1" }] });
    expect((await told(session, id)).text).toContain("(no version of order is served)");

    await heartbeat(openSession(), { serves: [{ name: "order", versionId: "1.2.0" }] });
    await heartbeat(openSession(), { ...eu, serves: [{ name: "order", versionId: "1.1.0" }] });
    expect((await told(session, id)).text).toContain("(served: order@1.1.0 in shards eu, order@1.2.0)");
  });

  it("why says how many of the slots of the workers that serve a run are free", async () => {
    const { session, openSession } = open();
    const id = await session.start();
    await heartbeat(session);
    const start = "Queued for less than a second: ready for the next free worker; ";
    expect(await told(session, id)).toEqual({
      reason: "ready",
      text: `${start}1 live worker serves order@1.`,
      ago: 0,
      ahead: null,
    });
    await heartbeat(session, { load: { slots: 10, busy: 9 } });
    await heartbeat(openSession(), { load: { slots: 10, busy: 8 } });
    expect((await told(session, id)).text).toBe(`${start}2 live workers serve order@1, 3 of 20 slots free.`);
  });

  it("why says that the workers that serve a run are at their limit", async () => {
    const { session } = open();
    const id = await session.start();
    await heartbeat(session, { load: { slots: 10, busy: 10 } });
    const { reason, text } = await told(session, id);
    expect(reason).toBe("workers_busy");
    expect(text).toContain("1 live worker serves order@1, at the limit: all of the 10 slots are busy.");
  });

  it("why counts the workers that a run has lost", async () => {
    const { env, engine, session } = open();
    await engine.start();
    const id = await session.start();
    for (let lost = 0; lost < 3; lost += 1) {
      await session.claimOne();
      await env.advance(90_001);
    }
    const { reason, text } = await told(session, id);
    expect(reason).toBe("no_worker");
    expect(text).toContain("It lost its worker 3 times since its last report.");
  });
});

describe("why a claimed run does not move", () => {
  it("why names the worker, its last heartbeat and the tasks that it executes", async () => {
    const { env, session } = open();
    const id = await session.start();
    const { fence } = await session.claimOne();
    await env.advance(3_000);
    expect((await told(session, id)).text).toBe(
      "Worker worker executes attempt 1. It claimed the run 3 seconds ago and has not sent a heartbeat yet.",
    );
    const charge = { task: "charge", address: "task:charge#0", attempt: 3, maxAttempts: 5, runningMs: 8_000 };
    await heartbeat(session, { runs: [{ runId: id, fence, tries: [charge] }] });
    await env.advance(4_000);
    expect(await told(session, id)).toEqual({
      reason: "executing",
      text:
        "Worker worker executes attempt 1. The last heartbeat or report was 4 seconds ago. " +
        "It executes charge for 12 seconds (attempt 3 of 5).",
      ago: 7_000,
      ahead: null,
    });
    await heartbeat(session, { runs: [{ runId: id, fence }] });
    expect((await told(session, id)).text).not.toContain("charge");
  });
});

describe("why a suspended run does not move", () => {
  /** A run that its worker has suspended with these waits. */
  async function suspended(session: TestSession, opens: OpenWait[], more = {}): Promise<string> {
    const id = await session.start();
    await session.report(await session.claimOne(), suspend, { opens, ...more });
    return id;
  }

  it("why says since when and until when a run waits for an event", async () => {
    const { env, session } = open();
    const wait = { address: "event:approved#0", type: "event", name: "approved" } as const;
    const id = await suspended(session, [{ ...wait, durationMs: 7_200_000 }]);
    await env.advance(600_000);
    const until = new Date(env.now() + 6_600_000).toISOString();
    expect(await told(session, id)).toEqual({
      reason: "awaiting_event",
      text: `Waits for event approved (for 10 minutes, until ${until}, for another 110 minutes).`,
      ago: 600_000,
      ahead: 6_600_000,
    });
  });

  it("a wait keeps its beginning when the run is resumed and suspended again", async () => {
    const { env, session } = open();
    const approved = { address: "event:approved#0", type: "event", name: "approved", durationMs: null } as const;
    const id = await suspended(session, [approved]);
    await env.advance(60_000);
    await session.signal(id, { type: "event", name: "approved" });
    const second = { ...approved, address: "event:approved#1" };
    const other = { ...approved, name: "paid", address: "event:paid#0" };
    await session.report(await session.claimOne(), suspend, { opens: [other, second] });
    await env.advance(30_000);
    await session.signal(id, { type: "event", name: "approved" });
    await session.report(await session.claimOne(), suspend);
    await env.advance(5_000);
    expect(await told(session, id)).toMatchObject({
      text: "Waits for event paid (for 35 seconds, without a deadline).",
      ago: 35_000,
    });
  });

  it("why quotes the error of a task that is tried again, and says when", async () => {
    const { env, session } = open();
    const task = "task:charge#0";
    const stack = "at charge (order.ts:1:1)\n".repeat(200);
    const declined = { name: "Error", message: "card declined", stack };
    const retryInMs = 40_000;
    const id = await suspended(
      session,
      [{ address: retryAddress(task, 3), type: "retry", name: "charge", durationMs: retryInMs }],
      {
        entries: [
          { address: tryAddress(task, 3), value: { type: "retrying", error: declined, retryInMs, maxAttempts: 5 } },
        ],
      },
    );
    await env.advance(10_000);
    expect(await told(session, id)).toEqual({
      reason: "awaiting_task",
      text: "Waits for attempt 4 of 5 of task charge (begins in 30 seconds; attempt 3 failed: card declined).",
      ago: 10_000,
      ahead: 30_000,
    });
  });

  it("why follows the children that a run waits for to the one that waits for something else", async () => {
    const { env, session } = open();
    const id = await session.start();
    let parent = id;
    const chain = [id];
    for (const name of ["ship", "pack"]) {
      const spec = session.spec({ name, versionId: "2" });
      const claim = chain.length === 1 ? {} : { serves: [{ name: "ship", versionId: "2" }] };
      await session.report(
        await session.claimOne(claim),
        { type: "suspend", children: 1 },
        {
          starts: [{ address: `child:${name}#0`, spec }],
          entries: [{ address: openedWaitAddress(`child:${name}#0/wait#0`), value: { type: "asked" } }],
        },
      );
      parent = spec.id;
      chain.push(parent);
    }
    await env.advance(120_000);
    const { links, text } = await whyOf(session, id);
    expect(links.map(({ runId, reason }) => [runId, reason])).toEqual([
      [chain[0], "awaiting_child"],
      [chain[1], "awaiting_child"],
      [chain[2], "no_worker"],
    ]);
    expect(text).toBe(
      `Waits for child ${chain[1]} of ship@2 (started 2 minutes ago). ` +
        `Run ${chain[1]} of ship@2: Waits for child ${chain[2]} of pack@2 (started 2 minutes ago). ` +
        `Run ${chain[2]} of pack@2: Queued for 2 minutes: no live worker serves pack@2 (there is no live worker). ` +
        "Start one that does.",
    );
  });

  it("why follows a stalled child before another one, and none that is not awaited", async () => {
    const { session } = open();
    const id = await session.start();
    const specs = ["a", "b", "c"].map(() => session.spec({ name: "ship" }));
    await session.report(
      await session.claimOne(),
      { type: "suspend", children: 2 },
      {
        starts: specs.map((spec, n) => ({ address: `child:ship#${n}`, spec })),
        entries: [1, 2].map((n) => ({
          address: openedWaitAddress(`child:ship#${n}/wait#0`),
          value: { type: "asked" },
        })),
      },
    );
    const [, second, third] = specs;
    expect((await whyOf(session, id)).links.map(({ runId }) => runId)).toEqual([id, second?.id]);
    const claimed = await session.claim({ serves: [{ name: "ship", versionId: "1" }] });
    const last = claimed.find((run) => run.id === third?.id);
    if (last === undefined) throw new Error("The third child was not claimed.");
    await session.report(last, { type: "stall", stall: diverged });
    const { links } = await whyOf(session, id);
    expect(links.map(({ runId, reason }) => [runId, reason])).toEqual([
      [id, "awaiting_child"],
      [third?.id, "diverged"],
    ]);
    expect(links[0]?.text).toContain("; 1 other child workflow.");
  });

  it("a chain of more than 20 runs ends after 20", async () => {
    const { session } = open();
    const id = await session.start();
    for (let depth = 0; depth < 25; depth += 1) {
      await session.report(
        await session.claimOne(),
        { type: "suspend", children: 1 },
        {
          starts: [{ address: "child:order#0", spec: session.spec() }],
          entries: [{ address: openedWaitAddress("child:order#0/wait#0"), value: { type: "asked" } }],
        },
      );
    }
    expect((await whyOf(session, id)).links).toHaveLength(20);
  });
});

describe("why a paused run does not move", () => {
  it("why names who paused a run and the reason, also while its worker records what is in flight", async () => {
    const { env, session } = open();
    const id = await session.start();
    const claimed = await session.claimOne();
    const pause = { type: "pause", reason: "the bank is down" } as const;
    await session.api.signal({ signals: [{ signalId: "s", runId: id, by: "ops-alice", signal: pause }] });
    expect(await told(session, id)).toMatchObject({
      reason: "pausing",
      text: expect.stringContaining("then the run pauses by ops-alice (the bank is down)."),
    });
    await session.report({ ...claimed, inbox: 1 }, { type: "release", reason: "paused" });
    await env.advance(5_000);
    expect(await told(session, id)).toEqual({
      reason: "paused",
      text: "Paused by ops-alice (the bank is down); resume continues it. It has been paused for 5 seconds.",
      ago: 5_000,
      ahead: null,
    });
    const { entries } = await session.read(id);
    expect(entries.map(({ value }) => value)).toContainEqual({
      type: "marked",
      mark: "pause_requested",
      by: "ops-alice",
      reason: "the bank is down",
    });
  });
});

describe("every status", () => {
  const known: Circumstances = { now, workers: [], failed: new Map(), child: null };
  const live = { session: "s", worker: "w", serves: [{ name: "order", versionId: "1.0.0" }], shardKeys: [] };
  const worker = { ...live, since: 0, seenAt: 0 };
  const lastError = error;
  const child = aRun(queued, { name: "ship" });
  const charge = { task: "charge", address: "a", attempt: 1, maxAttempts: 1, since: now - 2_000 };
  const cases: Array<[Run, Partial<Circumstances>, WhyLink["reason"], RegExp]> = [
    [aRun(scheduled), {}, "scheduled", /^Starts in 1 second, at 1970/],
    [aRun(queued), {}, "no_worker", /no live worker serves order@1.0.0/],
    [aRun(queued), { workers: [worker] }, "ready", /ready for the next free worker/],
    [aRun(queued), { workers: [{ ...worker, load: { slots: 1, busy: 1 } }] }, "workers_busy", /all of the 1 slot are/],
    [
      aRun(running({ tries: [charge] })),
      {},
      "executing",
      /^Worker worker-1 executes .* It executes charge for 2 seconds/,
    ],
    [aRun(running({ expecting: { call: "task:a#0", since: 5 } })), {}, "replaying", /waits since .* for task:a#0/],
    [aRun(running({ pause: {} })), {}, "pausing", /then the run pauses\./],
    [aRun(running({ leaseUntil: now - 3_000 })), {}, "worker_lost", /its lease ended 3 seconds ago/],
    [aRun(paused(queued)), {}, "paused", /^Paused; resume continues it. It has been paused for 1 second.$/],
    [aRun(sleeping, { waits: [sleepWait] }), {}, "sleeping", /^Waits for sleep \(for less than a second, until 1970/],
    [aRun(awaitingEvent, { waits: [eventWait] }), {}, "awaiting_event", /^Waits for event paid \(/],
    [
      aRun(awaitingChild),
      { child },
      "awaiting_child",
      /^Waits for child .* of ship@1.0.0 \(started 60 seconds ago\).$/,
    ],
    [aRun(awaitingTask, { waits: [retryWait] }), {}, "awaiting_task", /^Waits for the next attempt of task charge/],
    [aRun(awaitingAttempt, { attempt: 2, lastError }), {}, "awaiting_attempt", /^Attempt 2 begins in .*failed: no\.$/],
    [
      aRun({ status: "stalled", reason: "crash_loop", crashes: 3 }),
      {},
      "crash_loop",
      /^Stalled for .* 3 times in a row/,
    ],
    [
      aRun({ status: "stalled", ...diverged, alsoNew: ["task:c#0"] }),
      {},
      "diverged",
      /waits at the call task:b#0, task:c#0, but has not made these recorded calls again: task:a#0/,
    ],
    [
      aRun({ status: "stalled", reason: "ambiguous_call", call: "c", identity: "i", places: ["order.ts:3"] }),
      {},
      "ambiguous_call",
      /order.ts:3/,
    ],
    [
      aRun({ status: "stalled", reason: "schema_mismatch", call: "c", error }),
      {},
      "schema_mismatch",
      /does not fit the schema/,
    ],
    [aRun({ status: "stalled", reason: "idle", idleMs: 60_000 }), {}, "idle", /only non-durable work for 1 minute/],
    [aRun({ status: "completed" }), {}, "completed", /^Completed. It ended 1 second ago.$/],
    [aRun({ status: "failed", error }), {}, "failed", /^Failed: no. It ended/],
    [aRun({ status: "cancelled", reason: "no stock" }), {}, "cancelled", /^Cancelled: no stock/],
  ];

  it.each(cases)("a run in the state of case %# gets its reason and a text", (run, around, reason, text) => {
    expect(linkOf(run, { ...known, ...around })).toMatchObject({ reason, text: expect.stringMatching(text) });
  });

  it("each reason has a case", () => {
    expect(new Set(cases.map(([, , reason]) => reason))).toEqual(new Set(whyReasons));
  });

  it("a time limit of a run is told, and is when the run moves at the latest", () => {
    const run = aRun(queued, { timeoutAt: now + 500 });
    expect(linkOf(run, known)).toMatchObject({ until: now + 500, text: expect.stringContaining("The time limit of") });
  });
});

describe("why of a run that does not exist", () => {
  it("an unknown run, and one of another namespace, are rejected", async () => {
    const { session, openSession } = open();
    const id = await openSession("other").start();
    for (const runId of [id, "no id"]) {
      const { why } = await session.api.read({ runs: [], why: runId });
      expect(why).toMatchObject({ ok: false, code: "RUN_NOT_FOUND" });
    }
  });
});
