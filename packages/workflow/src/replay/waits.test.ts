import { describe, expect, it } from "vitest";
import type { RunLedger } from "../../test/ledger.ts";
import { gate, ReplayRig } from "../../test/rig.ts";
import { event } from "../definition/event.ts";
import { workflow } from "../definition/workflow.ts";

const events = { approved: event<{ by: string }>(), constructor: event<number>(), ["__proto__"]: event<number>() };

describe("a wait that ends before it is opened again", () => {
  const ends: Array<[string, (ledger: RunLedger) => void]> = [
    ["its deadline passes", (ledger) => ledger.tick()],
    ["its child ends", (ledger) => ledger.childEnds([...ledger.started.keys()].join(), { type: "returned" })],
  ];

  it.each(ends)("a wait that ended because %s is not opened again", async (_, happen) => {
    const child = workflow({ name: "child" }).v("1", { handler: async () => {} });
    const late = gate();
    let isAgain = false;
    const v = workflow({ name: "w" }).v("1", {
      events: { go: event(), end: event() },
      async handler(run) {
        const handle = await child.startAsChild(run);
        const waited = async () => {
          if (isAgain) await late.promise;
          return handle.waitFor("completed", { timeout: { seconds: 10 } });
        };
        await Promise.all([waited(), run.events.go.wait().then(() => run.step("a", () => 1))]);
        await run.events.end.wait();
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.reports.at(-1)?.opens).toHaveLength(2);
    rig.kill();
    isAgain = true;
    rig.ledger.event("go");
    await rig.env.advance(10_000);
    const before = rig.reports.length;
    await rig.replay();
    late.open();
    await rig.env.settle();
    happen(rig.ledger);
    await rig.resume();
    expect(rig.reports.slice(before).flatMap(({ opens }) => opens)).toMatchObject([{ address: "event:end#0" }]);
    expect(rig.end).toEqual({ type: "suspended" });
  });
});

describe("sleep", () => {
  it("the report that suspends a sleeping run has the value before the sleep", async () => {
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        await run.step("a", () => 1);
        return run.sleep("nap", { seconds: 90 });
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.reports).toMatchObject([
      {
        entries: [{ address: "step:a#0" }],
        opens: [{ address: "sleep:nap#0", type: "sleep", name: "nap", durationMs: 90_000 }],
        next: { type: "suspend", children: 0 },
      },
    ]);
    expect(rig.end).toEqual({ type: "suspended" });
    await rig.env.advance(90_000);
    rig.ledger.tick();
    await rig.resume();
    expect(rig.output).toEqual({ wokenEarly: false });
  });

  it("wokenEarly is the same on the first run and on replay", async () => {
    const seen: boolean[] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        seen.push((await run.sleep({ days: 1 })).wokenEarly);
        await run.sleep({ days: 1 });
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    rig.ledger.wake();
    await rig.resume();
    await rig.replay();
    expect(seen).toEqual([true, true]);
  });

  it("a sleep keeps its deadline when it is opened again", async () => {
    const v = workflow({ name: "w" }).v("1", { handler: (run) => run.sleep({ seconds: 10 }) });
    const rig = new ReplayRig(v);
    await rig.replay();
    await rig.env.advance(6_000);
    rig.kill();
    rig.ledger.status = "queued";
    await rig.replay();
    expect(rig.ledger.nextDeadline()).toBe(1_010_000);
  });

  it("a sleep with an invalid duration rejects, and the handler may catch it", async () => {
    const v = workflow({ name: "w" }).v("1", {
      handler: (run) => run.sleep({ seconds: Number.NaN }).catch((error: { code: string }) => error.code),
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.output).toBe("INVALID_DURATION");
    expect(rig.ledger.entries).toEqual([]);
  });
});

describe("an event", () => {
  it("a wait for an event rejects unknown or invalid options", async () => {
    const v = workflow({ name: "w" }).v("1", {
      events: { e: event<number>() },
      async handler(run) {
        const codes: string[] = [];
        for (const options of [{ timeoutMs: 5 }, { timeout: 5 }, { timeout: { second: 5 } }, null]) {
          const wait: Promise<unknown> = Reflect.apply(run.events.e.wait, null, [options]);
          await wait.catch((error: { code: string }) => codes.push(error.code));
        }
        return codes;
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.output).toEqual(["INVALID_OPTION", "INVALID_OPTION", "INVALID_DURATION", "INVALID_OPTION"]);
    expect(rig.ledger.entries).toEqual([]);
  });

  const waiting = workflow({ name: "w" }).v("1", {
    events,
    async handler(run) {
      const first = await run.events.approved.wait({ timeout: { hours: 1 } });
      const second = await run.events.approved.wait();
      return [first, second];
    },
  });

  it("events that were sent before their waits are received in order", async () => {
    const rig = new ReplayRig(waiting);
    rig.ledger.event("approved", { by: "ada" });
    rig.ledger.event("approved", { by: "bob" });
    await rig.replay();
    expect(rig.output).toEqual([{ timedOut: false, data: { by: "ada" } }, { by: "bob" }]);
    expect(rig.nexts).toEqual(["suspend", "suspend", "finish"]);
  });

  it("an event that arrives too late times out its wait and is received by the next", async () => {
    for (const isCached of [true, false]) {
      const rig = new ReplayRig(waiting);
      await rig.replay();
      await rig.env.advance(3_600_000);
      rig.ledger.tick();
      rig.ledger.event("approved", { by: "late" });
      if (isCached) await rig.resume();
      else await rig.replay();
      expect(rig.output).toEqual([{ timedOut: true }, { by: "late" }]);
    }
  });

  it("an event that arrives while a task runs reaches the handler through the run watch", async () => {
    const v = workflow({ name: "w" }).v("1", {
      events,
      handler: (run) => Promise.race([run.events.approved.wait(), run.step("s", () => new Promise<never>(() => {}))]),
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.listening).toEqual([true]);
    rig.ledger.event("approved", { by: "ada" });
    await rig.receiveEntries();
    expect(rig.output).toEqual({ by: "ada" });
    expect(rig.listening).toEqual([true, false]);
  });

  it("an event may have any name, and no data", async () => {
    const v = workflow({ name: "w" }).v("1", {
      events: { ...events, ["__proto__"]: event(), nothing: event() },
      async handler(run) {
        const { ["__proto__"]: proto, constructor: built, nothing } = run.events;
        const timed = await proto.wait({ timeout: { days: 1 } });
        return [await built.wait(), timed.timedOut, (await nothing.wait()) ?? null];
      },
    });
    const rig = new ReplayRig(v);
    rig.ledger.event("nothing");
    rig.ledger.event("constructor", 7);
    rig.ledger.event("__proto__", 8);
    await rig.replay();
    expect(rig.output).toEqual([7, false, null]);
    expect(rig.ledger.entries.map(({ address }) => address)).toContain("event:__proto__#0");
  });

  it("an event that does not fit its schema rejects the wait, and still counts as received", async () => {
    const schema = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) => (typeof value === "number" ? { value } : { issues: [{ message: "no number" }] }),
      },
    } as const;
    const v = workflow({ name: "w" }).v("1", {
      events: { count: event({ schema }) },
      async handler(run) {
        const first = await run.events.count.wait().catch((error: { code: string }) => error.code);
        return [first, await run.events.count.wait()];
      },
    });
    const rig = new ReplayRig(v);
    rig.ledger.event("count", "one");
    rig.ledger.event("count", 2);
    await rig.replay();
    expect(rig.output).toEqual(["SCHEMA_MISMATCH", 2]);
  });

  it("events and ten concurrent waits are matched in call order", async () => {
    const v = workflow({ name: "w" }).v("1", {
      events,
      handler: (run) => Promise.all(Array.from({ length: 10 }, () => run.events.constructor.wait())),
    });
    const rig = new ReplayRig(v);
    for (let n = 0; n < 4; n++) rig.ledger.event("constructor", n);
    await rig.replay();
    for (let n = 4; n < 10; n++) rig.ledger.event("constructor", n);
    await rig.replay();
    expect(rig.output).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });
});

describe("more waits than a run may have", () => {
  it("more waits than the limit fail the run with the reason", async () => {
    const v = workflow({ name: "w" }).v("1", {
      handler: (run) => Promise.all(Array.from({ length: 3_000 }, () => run.sleep({ days: 1 }))),
    });
    const rig = new ReplayRig(v);
    const { ledger } = rig;
    const report = ledger.report.bind(ledger);
    ledger.report = (draft, fence) => {
      const isOver = ledger.waits.length + draft.opens.length > 1_000;
      return isOver ? { ok: false, code: "LIMIT_EXCEEDED", message: "Too many waits." } : report(draft, fence);
    };
    await rig.replay();
    expect(rig.end).toMatchObject({ type: "finished", status: "failed" });
    expect(ledger.error).toMatchObject({ code: "LIMIT_EXCEEDED", message: "Too many waits." });
  });
});
