import type { OpenWait } from "@aikirun/lib/protocol";
import { uuid } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { RunDriver } from "../../test/run-driver.ts";
import { awaitsChild, childAddress, childEnded, diverged, error, returned, settings } from "../../test/runs.ts";

const minute = 60_000;

function awaits(name: string, ordinal = 0, durationMs: number | null = null): OpenWait {
  return { address: `event:${name}#${ordinal}`, type: "event", name, durationMs };
}

function sleeps(durationMs: number, ordinal = 0): OpenWait {
  return { address: `sleep:#${ordinal}`, type: "sleep", durationMs };
}

function retries(durationMs: number): OpenWait {
  return { address: "task:t#0/1/retry", type: "retry", durationMs };
}

describe("an event", () => {
  it("the oldest open wait of an event's name takes the oldest event", () => {
    const driver = new RunDriver().claim().open(awaits("paid", 0), awaits("paid", 1));
    driver.send("paid", '"first"').send("paid", '"second"');
    expect(driver.at("event:paid#0")).toEqual({ type: "received", name: "paid", nth: 0 });
    expect(driver.at("event:paid#1")).toEqual({ type: "received", name: "paid", nth: 1 });
    const arrived = driver.journal.flatMap(({ value }) => (value.type === "arrived" ? [value.data] : []));
    expect(arrived).toEqual(['"first"', '"second"']);
  });

  it("an event that arrives before its wait is taken in the decision that opens the wait", () => {
    const driver = new RunDriver().send("paid", "1").send("paid", "2").claim();
    const tail = driver.run.tail;
    driver.suspend(awaits("paid", 0));
    expect(driver.journal.slice(tail)).toMatchObject([{ value: { type: "received", nth: 0 } }]);
    expect(driver.status).toBe("running");
    driver.suspend(awaits("paid", 1));
    expect(driver.at("event:paid#1")).toMatchObject({ nth: 1 });
  });

  it("events with one reference id are one event over all attempts", () => {
    const failing = { type: "finish", outcome: { status: "failed", error, retryInMs: 500 } } as const;
    const driver = new RunDriver().send("paid", "1", "ref").claim().report(failing).send("paid", "1", "ref");
    expect(driver.run.events.get("paid")).toEqual({ arrived: 1, taken: 0 });
  });

  it("an event of another name neither ends the wait nor queues the run", () => {
    const driver = new RunDriver().claim().suspend(awaits("paid"));
    expect(driver.send("refused").status).toBe("awaiting_event");
    expect(driver.run.waits).toHaveLength(1);
  });

  it("events with one reference id are one event, and without reference id each is its own", () => {
    const driver = new RunDriver().send("paid", "1", "ref").send("paid", "1", "ref").send("paid").send("paid");
    expect(driver.run.events.get("paid")).toEqual({ arrived: 3, taken: 0 });
  });

  it("an event that arrives after its wait timed out waits for the next wait for its name", () => {
    const driver = new RunDriver()
      .claim()
      .suspend(awaits("paid", 0, minute))
      .pass(minute);
    expect(driver.at("event:paid#0")).toEqual({ type: "elapsed" });
    driver.send("paid").claim().suspend(awaits("paid", 1));
    expect(driver.at("event:paid#1")).toMatchObject({ type: "received", nth: 0 });
  });

  it("a wait whose deadline passes receives an unbound event if there is one", () => {
    const driver = new RunDriver().claim().suspend(awaits("paid", 0, minute));
    driver.run = { ...driver.run, events: new Map([["paid", { arrived: 1, taken: 0 }]]) };
    driver.pass(minute);
    expect(driver.at("event:paid#0")).toMatchObject({ type: "received", nth: 0 });
    expect(driver.run.events.get("paid")).toEqual({ arrived: 1, taken: 1 });
  });

  it("an event is never taken by a wait of an attempt that failed", () => {
    const failing = { type: "finish", outcome: { status: "failed", error, retryInMs: 500 } } as const;
    const driver = new RunDriver().claim().open(awaits("paid", 0)).report(failing).send("paid");
    expect(driver.entryTypes).not.toContain("received");
    driver.pass(500).claim().open(awaits("paid", 0));
    expect(driver.at("event:paid#0")).toMatchObject({ type: "received", nth: 0 });
  });

  it("an event may have the name of a property of Object.prototype", () => {
    const driver = new RunDriver().send("__proto__").send("constructor").claim().open(awaits("__proto__"));
    expect(driver.at("event:__proto__#0")).toMatchObject({ type: "received", nth: 0 });
  });
});

describe("a deadline", () => {
  it("a deadline is fixed when the wait is first reported", () => {
    const driver = new RunDriver().claim().renew().open(sleeps(minute)).pass(20_000).open(sleeps(minute));
    expect(driver.run.waits).toHaveLength(1);
    expect(driver.pass(40_000).at("sleep:#0")).toEqual({ type: "elapsed" });
  });

  it("a deadline does not change in a crash", () => {
    const driver = new RunDriver()
      .claim()
      .open(sleeps(3 * minute))
      .pass(2 * minute);
    expect(driver.entryTypes).toContain("recovered");
    driver.claim("session-2").suspend(sleeps(3 * minute));
    expect(driver.dueAt).toBe(3 * minute);
  });

  it("a deadline that passes during a pause takes effect after resume", () => {
    const driver = new RunDriver()
      .claim()
      .suspend(sleeps(minute))
      .signal("pause")
      .pass(2 * minute);
    expect(driver).toMatchObject({ status: "paused", dueAt: null });
    driver.signal("resume").pass(0);
    expect(driver.status).toBe("queued");
    expect(driver.at("sleep:#0")).toEqual({ type: "elapsed" });
  });

  it("a deadline does not change when another wait receives its event", () => {
    const driver = new RunDriver().claim().suspend(sleeps(minute), awaits("paid")).pass(10_000).send("paid");
    expect(driver.status).toBe("queued");
    expect(driver.claim().suspend(sleeps(minute)).dueAt).toBe(minute);
  });

  it("a deadline of a running run records an entry, and the run stays with its worker", () => {
    const driver = new RunDriver().claim().renew().open(sleeps(5_000)).pass(5_000);
    expect(driver).toMatchObject({ status: "running", entryTypes: ["elapsed"] });
    expect(driver.run).toMatchObject({ inbox: 1, fence: 1 });
  });

  it("a deadline does not take effect early", () => {
    const driver = new RunDriver()
      .claim()
      .suspend(sleeps(minute))
      .pass(minute - 1);
    expect(driver.try({ type: "tick" })).toMatchObject({ ok: false, code: "NOT_DUE" });
    expect(driver.status).toBe("sleeping");
  });

  it("a deadline of 0 ms has passed when its wait opens", () => {
    const driver = new RunDriver().claim().suspend(sleeps(0));
    expect(driver).toMatchObject({ status: "running", entryTypes: ["elapsed"] });
  });

  it("a tick ends all waits whose deadlines have passed, in order, and leaves the others open", () => {
    const driver = new RunDriver().claim().suspend(sleeps(300, 0), sleeps(100, 1), sleeps(minute, 2));
    driver.clock += 300;
    driver.do({ type: "tick" });
    expect(driver.journal.map(({ address }) => address)).toEqual(["sleep:#1", "sleep:#0"]);
    expect(driver.run.waits.map(({ address }) => address)).toEqual(["sleep:#2"]);
  });
});

describe("a suspended run", () => {
  it.each([
    [
      "an event before all else",
      [sleeps(1_000), awaitsChild(1_000), retries(1_000), awaits("paid")],
      1,
      "awaiting_event",
    ],
    ["a child before a sleep", [sleeps(1_000), retries(1_000)], 1, "awaiting_child_workflow"],
    ["a child's deadline before a sleep", [sleeps(1_000), awaitsChild(1_000)], 0, "awaiting_child_workflow"],
    ["a sleep before a retry", [retries(1_000), sleeps(1_000)], 0, "sleeping"],
    ["a task's retry when there is nothing else", [retries(1_000)], 0, "awaiting_retry"],
  ])("the status of a suspended run names %s", (_, opens, children, status) => {
    const driver = new RunDriver().claim().report({ type: "suspend", children }, { opens });
    expect(driver.status).toBe(status);
  });

  it("the session that suspended a run may resume it without a replay", () => {
    const driver = new RunDriver().claim().suspend(awaits("paid")).send("paid").claim();
    expect(driver.run.state).toMatchObject({ resumable: { session: "session-1", fence: 1, tail: 0 } });
    expect(driver.run.fence).toBe(2);
  });

  it("a suspended run is replayed after another session has held it", () => {
    const driver = new RunDriver().claim().suspend(awaits("paid")).send("paid").claim("session-2").pass(10_000).claim();
    expect(driver.run.state).toMatchObject({ session: "session-1", resumable: null });
  });

  it("a suspended run that its own worker reclaims keeps its waits", () => {
    const driver = new RunDriver().claim().suspend(sleeps(minute));
    const claim = { claimId: "c", session: "session-1", worker: "w", leaseMs: 90_000, reclaim: 1 };
    driver.do({ type: "claim", claim });
    expect(driver).toMatchObject({ status: "running", run: { fence: 2, waits: [{ address: "sleep:#0" }] } });
  });
});

describe("a suspended run that may be busy", () => {
  const suspended = (...opens: OpenWait[]) =>
    new RunDriver().claim().report({ type: "suspend", children: 0, mayBeBusyMs: 300_000 }, { opens });
  const settles = 300_000 + settings.aliveMs;

  it("a suspended run that may be busy is queued for replay if its worker is gone", () => {
    const driver = suspended(awaits("paid"));
    expect(driver).toMatchObject({ status: "awaiting_event", dueAt: settles });
    driver.clock = settles;
    expect(driver.do({ type: "tick", isHolderAlive: false }).run.state).toMatchObject({
      status: "queued",
      resumable: null,
    });
    expect(driver.run).toMatchObject({ crashes: 0, waits: [{ name: "paid" }] });
  });

  it("a suspended run that may be busy stays suspended while its worker lives, checked ever less often", () => {
    const driver = suspended(awaits("paid"));
    let every = 10 * settings.aliveMs;
    for (let checks = 0; checks < 3; checks++, every *= 2) {
      driver.clock = driver.dueAt ?? 0;
      driver.do({ type: "tick", isHolderAlive: true });
      expect(driver).toMatchObject({ status: "awaiting_event", dueAt: driver.clock + every });
    }
    expect(driver.send("paid").claim().run.state).toMatchObject({ resumable: { session: "session-1" } });
  });

  it("a suspended run that may be busy is queued at the next check after its worker left", () => {
    const driver = suspended(awaits("paid"));
    driver.clock = settles;
    driver.do({ type: "tick", isHolderAlive: true });
    const { dueAt } = driver;
    driver.do({ type: "leave", session: "session-1" });
    expect(driver).toMatchObject({ status: "awaiting_event", dueAt });
    driver.clock = dueAt ?? 0;
    expect(driver.do({ type: "tick" }).run.state).toMatchObject({ status: "queued", resumable: null });
  });

  it("a suspended run that may be busy is checked after its worker's lease if that is longer", () => {
    const claim = { claimId: "c", session: "session-1", worker: "w", leaseMs: 600_000 };
    const driver = new RunDriver().do({ type: "claim", claim });
    driver.report({ type: "suspend", children: 0, mayBeBusyMs: 1_000 }, { opens: [awaits("paid")] });
    expect(driver.dueAt).toBe(601_000);
  });

  it.each([
    ["a sleep", sleeps(1_000)],
    ["the retry of a task", retries(1_000)],
  ])("a suspended run that may be busy is queued as usual when %s ends before the check", (_, open) => {
    expect(suspended(open).pass(1_000).run.state).toMatchObject({
      status: "queued",
      resumable: { session: "session-1" },
    });
  });

  it("a suspended run that may be busy is replayed soon after a pause: its worker may have reclaimed it", () => {
    const driver = suspended(awaits("paid")).signal("pause").pass(1_000).signal("resume");
    expect(driver).toMatchObject({ status: "awaiting_event", dueAt: 1_000 + settings.aliveMs });
    expect(driver.pass(settings.aliveMs).run.state).toMatchObject({ status: "queued", resumable: null });
  });

  it("a server checks no suspended run before it may have received a heartbeat since its start", () => {
    const bootAt = 1_000_000 + settles - 1_000;
    const driver = new RunDriver({}, { bootAt }).claim();
    driver.report({ type: "suspend", children: 0, mayBeBusyMs: 300_000 }, { opens: [awaits("paid")] });
    driver.clock = settles;
    driver.do({ type: "tick", isHolderAlive: false });
    expect(driver).toMatchObject({ status: "awaiting_event", dueAt: settles - 1_000 + settings.aliveMs });
  });

  it("a suspended run that may be busy is due at once when its session leaves", () => {
    const driver = suspended(awaits("paid")).do({ type: "leave", session: "session-1" });
    expect(driver).toMatchObject({ status: "awaiting_event", dueAt: 0 });
    expect(driver.pass(1).run.state).toMatchObject({ status: "queued", resumable: null });
  });
});

describe("pause", () => {
  it("pause lets a running run record running tasks, and pauses it when its worker releases it", () => {
    const driver = new RunDriver().claim().signal("pause").record(returned("task:a#0"));
    expect(driver.status).toBe("running");
    driver.report({ type: "release", reason: "paused" });
    expect(driver.run.state).toMatchObject({ status: "paused", interrupted: { status: "queued" } });
    expect(driver.signal("resume").status).toBe("queued");
  });

  it("a run that suspends after a pause request is paused with its suspended status", () => {
    const driver = new RunDriver().claim().signal("pause").suspend(sleeps(minute));
    expect(driver.run.state).toMatchObject({ status: "paused", interrupted: { status: "sleeping" } });
    expect(driver.signal("resume")).toMatchObject({ status: "sleeping", dueAt: minute });
  });

  it("a run whose worker crashes after a pause request is paused", () => {
    const driver = new RunDriver().claim().signal("pause").pass(10_000);
    expect(driver.run.state).toMatchObject({ status: "paused", interrupted: { status: "queued" } });
  });

  it("a run that finishes after a pause request is completed", () => {
    const driver = new RunDriver()
      .claim()
      .signal("pause")
      .report({ type: "finish", outcome: { status: "completed" } });
    expect(driver.status).toBe("completed");
  });

  it("resume withdraws a pause request while the worker still holds the run", () => {
    const driver = new RunDriver()
      .claim()
      .signal("pause")
      .signal("resume")
      .report({ type: "release", reason: "paused" });
    expect(driver.status).toBe("queued");
  });

  it("a paused run keeps events that arrive, and is queued on resume", () => {
    const driver = new RunDriver().claim().suspend(awaits("paid")).signal("pause").send("paid");
    expect(driver.status).toBe("paused");
    expect(driver.signal("resume").status).toBe("queued");
  });

  it("a run paused between two attempts keeps its retry delay, even if events arrive", () => {
    const failing = { type: "finish", outcome: { status: "failed", error, retryInMs: minute } } as const;
    const driver = new RunDriver().claim().report(failing).signal("pause").send("paid").signal("resume");
    expect(driver).toMatchObject({ status: "awaiting_retry", dueAt: minute });
  });

  it("resume returns a queued run to its queue with a new wake-up", () => {
    const driver = new RunDriver().signal("pause").signal("resume");
    expect(driver).toMatchObject({ status: "queued", dueAt: settings.redeliverMs });
    expect(driver.effects.map(({ type }) => type)).toEqual(["deliver"]);
  });

  it("a paused scheduled run keeps its start time, even one that has passed", () => {
    const driver = new RunDriver({ delayMs: minute }).signal("pause").pass(2 * minute);
    expect(driver.status).toBe("paused");
    expect(driver.signal("resume").status).toBe("scheduled");
    expect(driver.pass(0).status).toBe("queued");
  });

  it("repeated pause signals pause a run once", () => {
    const driver = new RunDriver().signal("pause", "s").signal("pause", "s").signal("pause", "other");
    expect(driver.entryTypes).toEqual(["pause_requested", "paused"]);
  });
});

describe("wake", () => {
  it("wake ends every open sleep early, and nothing else", () => {
    const driver = new RunDriver()
      .claim()
      .suspend(sleeps(minute, 0), sleeps(2 * minute, 1), awaits("paid"))
      .signal("wake");
    expect(driver.status).toBe("queued");
    expect([driver.at("sleep:#0"), driver.at("sleep:#1")]).toEqual(Array(2).fill({ type: "elapsed", early: true }));
    expect(driver.run.waits).toMatchObject([{ type: "event" }]);
  });

  it("wake ends the sleep of a running run, and its worker keeps the run", () => {
    const driver = new RunDriver().claim().open(sleeps(minute)).signal("wake");
    expect(driver).toMatchObject({ status: "running", run: { inbox: 1, waits: [] } });
  });

  it("wake records no mark if it is refused", () => {
    const driver = new RunDriver().claim().suspend(awaits("paid"));
    expect(driver.try({ type: "wake", signalId: "s", known: [] })).toMatchObject({ code: "ILLEGAL_STATE" });
    expect(driver.entryTypes).toEqual([]);
  });

  it("a repeated wake signal wakes once", () => {
    const driver = new RunDriver({ delayMs: minute }).signal("wake", "s").claim().signal("wake", "s");
    expect(driver).toMatchObject({ status: "running", entryTypes: ["woken"] });
  });
});

describe("retry", () => {
  const fail = { type: "finish", outcome: { status: "failed", error, retryInMs: null } } as const;

  it("retry of a failed run starts a new run, which keeps the event counts, and leaves the old one", () => {
    const driver = new RunDriver({ tags: ["vip"], timeoutMs: minute, shardKey: "eu", priority: 3, input: '"in"' });
    driver.send("paid").send("paid").claim().open(awaits("paid")).report(fail);
    const { revision } = driver.run;
    const tail = driver.run.tail;
    driver.retry();
    expect(driver.run).toMatchObject({ revision, tail });
    expect(driver.effects.at(-1)).toMatchObject({
      type: "start",
      reuse: uuid(1),
      run: {
        id: uuid(5),
        state: { status: "queued" },
        attempt: 1,
        shardKey: "eu",
        priority: 3,
        input: '"in"',
        referenceId: null,
        options: { tags: ["vip"], retryOf: uuid(1), origin: uuid(1) },
        events: new Map([["paid", { arrived: 2, taken: 1 }]]),
      },
    });
  });

  it("retry of a stalled run queues the same run and resets its crash counts", () => {
    const driver = new RunDriver().claim().report({ type: "stall", stall: diverged }).retry();
    expect(driver).toMatchObject({ status: "queued", run: { id: uuid(1), crashes: 0, lostLeases: 0, attempt: 1 } });
  });

  it("retry of a run between attempts begins the next attempt at once, with a replay", () => {
    const failing = { type: "finish", outcome: { status: "failed", error, retryInMs: minute } } as const;
    const driver = new RunDriver().claim().report(failing).retry();
    expect(driver.run).toMatchObject({ attempt: 2, state: { status: "queued", resumable: null } });
  });

  it("retry of a run between the tries of a task ends that delay", () => {
    const driver = new RunDriver().claim().suspend(retries(minute)).retry();
    expect(driver.status).toBe("queued");
    expect(driver.at("task:t#0/1/retry")).toEqual({ type: "elapsed", early: true });
  });
});

describe("a failed try of a task", () => {
  it("a failed try of a task records the moment of the next one, by the server's clock", () => {
    const driver = new RunDriver().claim().pass(1_000);
    driver.record({ address: "task:t#0/1", value: { type: "retrying", error, retryInMs: 5_000 } });
    expect(driver.at("task:t#0/1")).toEqual({ type: "retrying", error, retryAt: 1_006_000 });
  });
});

describe("a child", () => {
  const start = (driver: RunDriver, onParentEnd?: "abandon") =>
    driver.report(
      { type: "continue" },
      {
        starts: [
          {
            address: childAddress,
            spec: { id: uuid(2), name: "ship", versionId: "1", ...(onParentEnd === undefined ? {} : { onParentEnd }) },
          },
        ],
      },
    );

  it("a child inherits shard and priority, unless its start says otherwise", () => {
    const driver = start(new RunDriver({ shardKey: "eu", priority: 7 }).claim());
    const [effect] = driver.effects;
    expect(effect).toMatchObject({ type: "start", run: { shardKey: "eu", priority: 7, parent: { id: uuid(1) } } });
  });

  it("the end of a child queues its waiting parent and records the result", () => {
    const driver = start(new RunDriver().claim()).report({ type: "suspend", children: 1 }).do(childEnded());
    expect(driver.status).toBe("queued");
    expect(driver.at(`${childAddress}/result`)).toEqual({ type: "returned", output: '"shipped"' });
    expect(driver.run.children).toBe(0);
  });

  it("the end of a child leaves a parent suspended that waits for something else", () => {
    const driver = start(new RunDriver().claim()).suspend(awaits("paid")).do(childEnded());
    expect(driver.status).toBe("awaiting_event");
  });

  it("the end of a child ends the waits for it", () => {
    const driver = start(new RunDriver().claim()).suspend(awaitsChild(minute)).do(childEnded());
    expect(driver).toMatchObject({ status: "queued", run: { waits: [] } });
  });

  it("a wait for a child that has ended is not opened, even if the worker has not seen the end", () => {
    const driver = start(new RunDriver().claim()).do(childEnded());
    const behind = { opens: [awaitsChild(minute)], seen: 0 };
    expect(driver.report({ type: "suspend", children: 0 }, behind)).toMatchObject({ status: "running" });
    expect(driver.run.waits).toEqual([]);
  });

  it("an abandoned child is not counted, neither when it starts nor when it ends", () => {
    const driver = start(new RunDriver().claim(), "abandon");
    expect(driver.run.children).toBe(0);
    driver.run = { ...driver.run, children: 1 };
    expect(driver.do(childEnded(false)).run.children).toBe(1);
  });

  it("a child continues if its parent completes, and is cancelled if the parent fails or is cancelled", () => {
    const ends = (end: (driver: RunDriver) => RunDriver) =>
      end(start(new RunDriver().claim())).effects.some(({ type }) => type === "cancelChildren");
    const fail = { type: "finish", outcome: { status: "failed", error, retryInMs: null } } as const;
    expect(ends((driver) => driver.report({ type: "finish", outcome: { status: "completed" } }))).toBe(false);
    expect(ends((driver) => driver.report(fail))).toBe(true);
    expect(ends((driver) => driver.signal("cancel"))).toBe(true);
  });

  it("a failed parent stays due until none of its children is left", () => {
    const driver = start(new RunDriver().claim()).signal("cancel");
    expect(driver.dueAt).toBe(0);
    expect(driver.do({ type: "childless" }).dueAt).toBeNull();
  });

  it("a child of a failed attempt continues, and its result is recorded under the next attempt", () => {
    const failing = { type: "finish", outcome: { status: "failed", error, retryInMs: 500 } } as const;
    const driver = start(new RunDriver().claim()).report(failing).do(childEnded());
    expect(driver.status).toBe("awaiting_retry");
    expect(driver.journal.at(-1)).toMatchObject({ attempt: 2, address: `${childAddress}/result` });
  });
});

describe("cancel", () => {
  it("cancel ends the run at once and only once, even if a worker holds it", () => {
    const driver = new RunDriver().claim().open(sleeps(minute)).signal("cancel", "a").signal("cancel", "a");
    expect(driver.signal("cancel", "b")).toMatchObject({ status: "cancelled", entryTypes: ["cancelled"], dueAt: null });
    expect(driver.run.waits).toEqual([]);
    expect(driver.try(driver.reporting({ type: "continue" }))).toMatchObject({ code: "RUN_FINAL" });
  });
});

describe("the timeout of a run", () => {
  it("a run's timeout counts from the time when the run is first queued", () => {
    const driver = new RunDriver({ delayMs: minute, timeoutMs: minute });
    expect(driver.run.timeoutAt).toBeNull();
    driver
      .pass(minute)
      .claim()
      .suspend(awaits("paid"))
      .pass(minute - 1);
    expect(driver.status).toBe("awaiting_event");
    expect(driver.pass(1)).toMatchObject({ status: "failed", run: { state: { error: { code: "RUN_TIMED_OUT" } } } });
  });

  it("a run's timeout counts over all attempts, and through pauses", () => {
    const failing = { type: "finish", outcome: { status: "failed", error, retryInMs: 30_000 } } as const;
    const driver = new RunDriver({ timeoutMs: minute })
      .claim()
      .report(failing)
      .pass(40_000)
      .signal("pause")
      .pass(20_000);
    expect(driver.status).toBe("failed");
  });

  it("a run's timeout ends a stalled run too", () => {
    const driver = new RunDriver({ timeoutMs: minute }).claim().report({ type: "stall", stall: diverged });
    expect(driver.pass(minute).status).toBe("failed");
  });
});

describe("a lease", () => {
  it("an unconfirmed lease is short; its end is no crash, but the next holder's lostLeases includes it", () => {
    const driver = new RunDriver().claim();
    expect(driver.dueAt).toBe(settings.unconfirmedLeaseMs);
    driver.pass(settings.unconfirmedLeaseMs);
    expect(driver.run).toMatchObject({ crashes: 0, lostLeases: 1 });
    expect(driver.journal).toMatchObject([{ value: { mark: "recovered", confirmed: false } }]);
  });

  it("a lease is confirmed by a renew, and by a report that writes the row", () => {
    expect(new RunDriver().claim().renew()).toMatchObject({ dueAt: 90_000 });
    const reported = new RunDriver().claim().open(awaits("paid"));
    expect(reported).toMatchObject({ dueAt: 90_000, run: { state: { confirmed: true } } });
  });

  it("a server ends no lease before it has run for the length of the lease", () => {
    const driver = new RunDriver({}, { bootAt: 1_000_000 + minute }).claim();
    driver.clock = minute;
    driver.do({ type: "tick" });
    expect(driver).toMatchObject({ status: "running", dueAt: minute + 90_000 });
    driver.clock = minute + 90_000;
    expect(driver.do({ type: "tick" }).status).toBe("queued");
  });
});

describe("a queued run that no worker claims", () => {
  it("a queued run that no worker claims gets further wake-ups, ever less often up to a limit", () => {
    const driver = new RunDriver();
    const gaps: number[] = [];
    for (let wakeUps = 0; wakeUps < 9; wakeUps++) {
      const before = driver.dueAt ?? 0;
      driver.clock = before;
      driver.do({ type: "tick" });
      gaps.push((driver.dueAt ?? 0) - before);
    }
    expect(gaps).toEqual([10, 20, 40, 80, 160, 300, 300, 300, 300].map((seconds) => seconds * 1_000));
    expect(driver.effects).toHaveLength(9);
  });
});

describe("a repeated report", () => {
  it("a repeated report that moved the run is accepted and changes nothing, even after the run has ended", () => {
    const driver = new RunDriver().claim();
    const finishing = driver.reporting({ type: "finish", outcome: { status: "completed" } });
    const { revision, tail } = driver.do(finishing).run;
    expect(driver.do(finishing).run).toMatchObject({ revision, tail });
  });

  it("a repeated report under a later fence is refused", () => {
    const driver = new RunDriver().claim();
    const suspending = driver.reporting({ type: "suspend", children: 0 }, { opens: [awaits("paid")] });
    driver.do(suspending).send("paid").claim("session-2").open(sleeps(minute));
    expect(driver.try(suspending)).toMatchObject({ code: "FENCED" });
  });
});

describe("too many waits", () => {
  it("too many waits end the run as failed: a refused report would only be repeated", () => {
    const opens = Array.from({ length: settings.maxOpenWaits + 1 }, (_, ordinal) => sleeps(minute, ordinal));
    const driver = new RunDriver().claim().suspend(...opens);
    expect(driver.run.state).toMatchObject({ status: "failed", error: { code: "TOO_MANY_WAITS" } });
  });
});

describe("fences below the fence floor", () => {
  it("a holder below the fence floor may neither report nor renew, and the next claim is above it", () => {
    const driver = new RunDriver().claim();
    const reporting = driver.reporting({ type: "continue" }, { entries: [returned("task:a#0")] });
    driver.fenceFloor = 7;
    expect(driver.try(reporting)).toMatchObject({ code: "FENCED" });
    expect(() => driver.renew()).toThrow("FENCED");
    expect(driver.pass(minute).claim("session-2").run.fence).toBe(8);
    expect(driver.try(reporting)).toMatchObject({ code: "FENCED" });
    expect(driver.report({ type: "continue" }, { entries: [returned("task:a#0")] }).run.tail).toBe(
      driver.journal.length,
    );
  });

  it("a lease below the fence floor counts neither as a crash nor as lost", () => {
    const driver = new RunDriver().claim().renew();
    driver.fenceFloor = 7;
    expect(driver.pass(2 * minute)).toMatchObject({ status: "queued", run: { crashes: 0, lostLeases: 0 } });
  });

  it("a report after lost entries is fenced, because it would leave a gap", () => {
    const driver = new RunDriver().claim();
    const reporting = driver.reporting({ type: "continue" }, { entries: [returned("task:b#0")], after: 1 });
    expect(driver.try(reporting)).toEqual({ ok: false, code: "FENCED", message: expect.stringContaining("ends at 0") });
    const after = Number.MAX_SAFE_INTEGER;
    expect(driver.do(driver.reporting({ type: "release", reason: "shutdown" }, { after })).status).toBe("queued");
  });
});
