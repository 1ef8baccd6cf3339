import { describe, expect, it } from "vitest";
import { type Gate, gate, ReplayRig } from "../../test/rig.ts";
import { event } from "../definition/event.ts";
import { workflow } from "../definition/workflow.ts";

/** A running step that the test ends, and the signals of its tries. */
interface RunningStep {
  end: Gate<string>;
  signals: AbortSignal[];
}

const runningStep = (): RunningStep => ({ end: gate<string>(), signals: [] });

const oneStep = ({ end, signals }: RunningStep) =>
  workflow({ name: "w" }).v("1", {
    async handler(run) {
      const seen = await run.step("s", ({ signal }) => {
        signals.push(signal);
        return end.promise;
      });
      await run.step("next", () => 1);
      return seen;
    },
  });

describe("a suspended execution", () => {
  it("a suspended execution is resumed with the same handler, from the new entries alone", async () => {
    let calls = 0;
    const v = workflow({ name: "w" }).v("1", {
      events: { go: event<number>() },
      async handler(run) {
        calls += 1;
        let sum = 0;
        for (let n = 0; n < 3; n++) sum += await run.events.go.wait();
        return sum;
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    for (let n = 1; n <= 3; n++) {
      rig.ledger.event("go", n);
      await rig.resume();
    }
    expect(rig.output).toBe(6);
    expect(calls).toBe(1);
    expect(rig.ends.map(({ type }) => type)).toEqual(["suspended", "suspended", "suspended", "finished"]);
  });

  it("a resumed execution without new entries is suspended again, and opens no wait twice", async () => {
    const v = workflow({ name: "w" }).v("1", { handler: (run) => run.sleep({ days: 1 }) });
    const rig = new ReplayRig(v);
    await rig.replay();
    await rig.resume();
    expect(rig.ends).toEqual([{ type: "suspended" }, { type: "suspended" }]);
    expect(rig.reports[1]).toMatchObject({ opens: [], next: { type: "suspend" } });
  });

  it("a suspended execution that continues by itself begins nothing until it is claimed again", async () => {
    const plain = gate<string>();
    const begun: string[] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const won = await Promise.race([run.sleep({ days: 1 }), plain.promise]);
        await run.step("after", () => void begun.push("after"));
        await run.step("more", () => void begun.push("more"));
        return won;
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.reclaims).toBe(0);
    plain.open("plain");
    await rig.env.settle();
    expect(rig.reclaims).toBe(1);
    expect(begun).toEqual([]);
    await rig.resume();
    expect(begun).toEqual(["after", "more"]);
    expect(rig.output).toBe("plain");
    expect(rig.reclaims).toBe(1);
  });

  it("an execution that continued during its suspension is claimed again at once", async () => {
    const plain = gate();
    const begun: string[] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        await Promise.race([run.sleep({ days: 1 }), plain.promise]);
        await run.step("after", () => void begun.push("after"));
      },
    });
    const rig = new ReplayRig(v);
    rig.held = [];
    await rig.replay();
    plain.open();
    await rig.env.settle();
    expect(begun).toEqual([]);
    rig.held.shift()?.();
    rig.held = null;
    await rig.env.settle();
    expect(rig.end).toEqual({ type: "suspended" });
    expect({ begun, reclaims: rig.reclaims }).toEqual({ begun: [], reclaims: 1 });
    await rig.resume();
    expect(rig.ledger.status).toBe("completed");
  });

  it("a suspended execution whose handler returns is claimed again, to finish it", async () => {
    const plain = gate();
    const v = workflow({ name: "w" }).v("1", {
      handler: (run) => Promise.race([run.sleep({ days: 1 }), plain.promise.then(() => "plain")]),
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    plain.open();
    await rig.env.settle();
    expect(rig.reclaims).toBe(1);
    await rig.resume();
    expect(rig.output).toBe("plain");
  });

  it("an execution is resumed by a claim that arrives before the answer to the suspending report", async () => {
    const v = workflow({ name: "w" }).v("1", {
      events: { go: event<number>() },
      handler: async (run) => [await run.events.go.wait(), await run.events.go.wait()],
    });
    const rig = new ReplayRig(v);
    const answers: Array<() => void> = [];
    rig.held = answers;
    await rig.replay();
    rig.ledger.event("go", 1);
    rig.held = null;
    await rig.resume();
    expect(rig.ends).toEqual([{ type: "suspended" }, { type: "suspended" }]);
    for (const answer of answers) answer();
    rig.ledger.event("go", 2);
    await rig.resume();
    expect(rig.output).toEqual([1, 2]);
  });

  it("an execution cannot be resumed after it was abandoned", async () => {
    const v = workflow({ name: "w" }).v("1", { handler: (run) => run.sleep({ days: 1 }) });
    const rig = new ReplayRig(v);
    await rig.replay();
    rig.execution?.abandon("EVICTED");
    await rig.resume();
    expect(rig.end).toEqual({ type: "lost", code: "NOT_RESUMABLE" });
  });
});

describe("entries from the run watch", () => {
  it("watched entries that arrive while a report is in flight are delivered in recorded order", async () => {
    const order: string[] = [];
    const ends = { a: gate<string>(), b: gate<string>() };
    const v = workflow({ name: "w" }).v("1", {
      events: { go: event<string>() },
      async handler(run) {
        const note = (text: string): void => void order.push(text);
        await Promise.all([
          run.step("a", () => ends.a.promise).then(note),
          run.events.go.wait().then(note),
          run.step("b", () => ends.b.promise),
        ]);
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    rig.held = [];
    ends.a.open("a");
    await rig.env.settle();
    rig.ledger.event("go", "event");
    await rig.receiveEntries();
    expect(order).toEqual([]);
    await rig.answer();
    expect(order).toEqual(["a", "event"]);
  });

  it("watched entries after a gap are ignored, and received again with an answer", async () => {
    const end = gate<string>();
    const v = workflow({ name: "w" }).v("1", {
      events: { go: event<number>() },
      handler: (run) => Promise.all([run.events.go.wait(), run.events.go.wait(), run.step("s", () => end.promise)]),
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    rig.ledger.event("go", 1);
    rig.ledger.event("go", 2);
    rig.execution?.receive(rig.ledger.entries.slice(2), 2);
    expect(rig.execution?.position).toEqual({ seen: 0, after: 0 });
    end.open("s");
    await rig.env.settle();
    expect(rig.output).toEqual([1, 2, "s"]);
  });
});

describe("release", () => {
  it("release records the results of running tasks, begins nothing more, and releases the run", async () => {
    for (const reason of ["shutdown", "paused"] as const) {
      const step = runningStep();
      const rig = new ReplayRig(oneStep(step));
      await rig.replay();
      rig.execution?.release(reason);
      await rig.env.settle();
      expect(rig.nexts).toEqual([]);
      expect(step.signals[0]?.aborted).toBe(false);
      step.end.open("done");
      await rig.env.settle();
      expect(rig.reports).toMatchObject([{ entries: [{ address: "step:s#0" }], next: { type: "release", reason } }]);
      expect(rig.end).toEqual({ type: "released", next: "release" });
      await rig.replay();
      expect(rig.output).toBe("done");
      expect(step.signals).toHaveLength(1);
    }
  });

  it("release lets a handler finish that begins nothing more", async () => {
    const end = gate<string>();
    const v = workflow({ name: "w" }).v("1", { handler: (run) => run.step("s", () => end.promise) });
    const rig = new ReplayRig(v);
    await rig.replay();
    rig.execution?.release("shutdown");
    end.open("done");
    await rig.env.settle();
    expect(rig.output).toBe("done");
  });

  it("release does not wait for a retry delay or for non-durable work", async () => {
    const versions = [
      workflow({ name: "w" }).v("1", {
        handler: (run) =>
          run.step("s", () => Promise.reject(new Error("no")), {
            retry: { type: "fixed", maxAttempts: 9, delayMs: 900 },
          }),
      }),
      workflow({ name: "w" }).v("1", { handler: () => new Promise<never>(() => {}) }),
    ];
    for (const version of versions) {
      const rig = new ReplayRig(version);
      await rig.replay();
      rig.execution?.release("shutdown");
      await rig.env.settle();
      expect(rig.reports.at(-1)?.next).toEqual({ type: "release", reason: "shutdown" });
    }
  });

  it("an answer with a pause request releases the run", async () => {
    const step = runningStep();
    const rig = new ReplayRig(oneStep(step));
    await rig.replay();
    rig.ledger.pause = true;
    step.end.open("done");
    await rig.env.settle();
    expect(rig.nexts).toEqual(["continue", "release"]);
    expect(rig.ledger.status).toBe("paused");
  });

  it("release of a run that waits suspends it on shutdown, and releases it to be paused", async () => {
    for (const [reason, next] of [
      ["shutdown", "suspend"],
      ["paused", "release"],
    ] as const) {
      const end = gate<string>();
      const v = workflow({ name: "w" }).v("1", {
        handler: (run) => Promise.all([run.sleep({ days: 1 }), run.step("s", () => end.promise)]),
      });
      const rig = new ReplayRig(v);
      await rig.replay();
      rig.execution?.release(reason);
      end.open("done");
      await rig.env.settle();
      expect(rig.reports.at(-1)?.next.type).toBe(next);
    }
  });
});

describe("a run that is lost", () => {
  it("a lost run has its signals aborted with the code, and sends no more reports", async () => {
    const step = runningStep();
    const rig = new ReplayRig(oneStep(step));
    await rig.replay();
    rig.execution?.abandon("LEASE_LOST");
    step.end.open("late");
    await rig.env.settle();
    expect(rig.end).toEqual({ type: "lost", code: "LEASE_LOST" });
    expect(step.signals[0]?.reason).toMatchObject({ code: "LEASE_LOST" });
    expect(rig.nexts).toEqual([]);
    expect(rig.env.timers).toBe(0);
  });

  it("a lost run retries no task, and leaves no timer", async () => {
    let tries = 0;
    const v = workflow({ name: "w" }).v("1", {
      handler: (run) =>
        run.step(
          "s",
          () => {
            tries += 1;
            throw new Error("no");
          },
          { retry: { type: "fixed", maxAttempts: 9, delayMs: 900 } },
        ),
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.env.timers).toBe(1);
    rig.execution?.abandon("LEASE_LOST");
    expect(rig.env.timers).toBe(0);
    await rig.env.advance(1_000);
    expect(tries).toBe(1);
  });

  it("a run whose report is refused ends with the code of the refusal, and begins nothing more", async () => {
    const step = runningStep();
    const rig = new ReplayRig(oneStep(step));
    await rig.replay();
    rig.ledger.fence += 1;
    step.end.open("late");
    await rig.env.settle();
    expect(rig.end).toEqual({ type: "lost", code: "FENCED" });
    expect(rig.ledger.entries).toEqual([]);
  });

  it("failed calls that the handler does not await cause no unhandled rejection", async () => {
    const rejections: unknown[] = [];
    const listener = (reason: unknown): void => void rejections.push(reason);
    process.on("unhandledRejection", listener);
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        void run.step("fails", () => Promise.reject(new Error("no")));
        void run.sleep({ seconds: Number.NaN });
        await run.step("other", () => 1);
        await run.step("last", () => 1);
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    await rig.env.settle();
    process.off("unhandledRejection", listener);
    expect(rig.ledger.status).toBe("completed");
    expect(rejections).toEqual([]);
  });
});

describe("non-durable work", () => {
  it("a run that awaits non-durable work records its last value, and stalls after the idle limit", async () => {
    const plain = [gate(), gate()];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        await run.step("a", () => 1);
        await plain[0]?.promise;
        await run.step("b", () => 1);
        await plain[1]?.promise;
      },
    });
    const rig = new ReplayRig(v, undefined, { idleMs: 10_000 });
    await rig.replay();
    expect(rig.reports.map(({ entries }) => entries.length)).toEqual([1]);
    await rig.env.advance(9_999);
    plain[0]?.open();
    await rig.env.settle();
    await rig.env.advance(9_999);
    expect(rig.nexts).toEqual(["continue", "continue"]);
    await rig.env.advance(1);
    expect(rig.reports.at(-1)?.next).toEqual({ type: "stall", stall: { reason: "idle", idleMs: 10_000 } });
  });
});

describe("a handler that continues just before its run would stall", () => {
  it("a handler that continues just before the idle limit does not stall its run", async () => {
    const plain = gate();
    const end = gate<string>();
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        await plain.promise;
        return run.step("s", () => end.promise);
      },
    });
    const rig = new ReplayRig(v, undefined, { idleMs: 10_000 });
    await rig.replay();
    rig.env.after(9_999, () => plain.open());
    await rig.env.advance(9_999);
    end.open("done");
    await rig.env.settle();
    expect(rig.nexts).toEqual(["finish"]);
  });
});

describe("while no effect may begin", () => {
  it("a run waits while no effect may begin, and then continues", async () => {
    const rig = new ReplayRig(workflow({ name: "w" }).v("1", { handler: (run) => run.step("s", () => 1) }));
    rig.mayBegin = false;
    await rig.replay();
    await rig.env.advance(5_000);
    expect(rig.nexts).toEqual([]);
    rig.mayBegin = true;
    await rig.env.advance(250);
    expect(rig.output).toBe(1);
  });
});
