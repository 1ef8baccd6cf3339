import type { LogFields, Logger } from "@aikirun/lib";
import { describe, expect, it } from "vitest";
import { type Gate, gate, ReplayRig } from "../../test/rig.ts";
import { workflow } from "../definition/workflow.ts";

/** Steps that the test ends. */
function gates(): {
  of: (name: string) => Gate<string>;
  begun: string[];
  work: (name: string) => () => Promise<string>;
} {
  const all = new Map<string, Gate<string>>();
  const begun: string[] = [];
  const of = (name: string): Gate<string> => {
    const known = all.get(name) ?? gate<string>();
    all.set(name, known);
    return known;
  };
  return {
    of,
    begun,
    work: (name) => () => {
      begun.push(name);
      return of(name).promise;
    },
  };
}

/** A logger that keeps its lines. */
function keeper(lines: string[]): Logger {
  const line = (message: string, _fields?: LogFields): void => {
    lines.push(message);
  };
  return { debug: line, info: line, warn: line, error: line, child: () => keeper(lines) };
}

describe("a sequential workflow", () => {
  it("five sequential steps send five reports, the last value together with the finish", async () => {
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        let sum = 0;
        for (let n = 1; n <= 5; n++) sum += await run.step(`s${n}`, async () => n);
        return sum;
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.output).toBe(15);
    expect(rig.end).toEqual({ type: "finished", status: "completed" });
    expect(rig.nexts).toEqual(["continue", "continue", "continue", "continue", "finish"]);
    expect(rig.reports.map(({ entries }) => entries.map(({ address }) => address))).toEqual([
      ["step:s1#0"],
      ["step:s2#0"],
      ["step:s3#0"],
      ["step:s4#0"],
      ["step:s5#0"],
    ]);
  });

  it("a step begins after the value of the step before it is recorded", async () => {
    const steps = gates();
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        await run.step("a", steps.work("a"));
        await run.step("b", steps.work("b"));
      },
    });
    const rig = new ReplayRig(v);
    rig.held = [];
    await rig.replay();
    steps.of("a").open("x");
    await rig.env.settle();
    expect(rig.nexts).toEqual(["continue"]);
    expect(steps.begun).toEqual(["a"]);
    await rig.answer();
    expect(steps.begun).toEqual(["a", "b"]);
  });

  it("a step begins after the value of now() is recorded, which is the same on replay", async () => {
    const steps = gates();
    const seen: number[] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        seen.push(run.now());
        return run.step("a", steps.work("a"));
      },
    });
    const rig = new ReplayRig(v);
    rig.held = [];
    await rig.replay();
    expect(rig.reports[0]).toMatchObject({ entries: [{ address: "now:#0", value: { type: "observed" } }] });
    expect(steps.begun).toEqual([]);
    await rig.answer();
    expect(steps.begun).toEqual(["a"]);
    rig.kill();
    rig.held = null;
    rig.env.jump(5_000);
    await rig.replay();
    steps.of("a").open("x");
    await rig.env.settle();
    expect(seen).toEqual([1_000_000, 1_000_000]);
    expect(rig.output).toBe("x");
  });

  it("the replay of ten times as many entries takes about ten times the processor time", async () => {
    const recordedWith = async (steps: number): Promise<() => Promise<number>> => {
      const v = workflow({ name: "w" }).v("1", {
        async handler(run) {
          for (let n = 0; n < steps; n++) await run.step("s", () => n);
          return "done";
        },
      });
      const first = new ReplayRig(v);
      await first.replay();
      return async () => {
        const rig = new ReplayRig(v);
        rig.ledger.entries.push(...first.ledger.entries);
        const before = process.cpuUsage();
        await rig.replay();
        const { user, system } = process.cpuUsage(before);
        expect([rig.output, rig.nexts]).toEqual(["done", ["finish"]]);
        return user + system;
      };
    };
    // The fastest of several rounds: others include compilation or garbage collection.
    const [few, many] = [await recordedWith(300), await recordedWith(3_000)];
    let [fewest, most] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let round = 0; round < 8; round++) {
      fewest = Math.min(fewest, await few());
      most = Math.min(most, await many());
    }
    expect(most / fewest).toBeLessThan(30);
  });
});

describe("parallel calls", () => {
  it("parallel values are delivered in recorded order, on the first run and on replay", async () => {
    const steps = gates();
    const order: string[][] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const seen: string[] = [];
        order.push(seen);
        const part = async (name: string): Promise<void> => {
          seen.push(await run.step(name, steps.work(name)));
        };
        await Promise.all([part("a"), part("b"), part("c")]);
        await run.sleep({ days: 1 });
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(steps.begun).toEqual(["a", "b", "c"]);
    for (const name of ["c", "a", "b"]) {
      steps.of(name).open(name);
      await rig.env.settle();
    }
    expect(rig.end).toEqual({ type: "suspended" });
    expect(rig.nexts).toEqual(["continue", "continue", "suspend"]);
    rig.kill();
    await rig.replay();
    expect(order).toEqual([
      ["c", "a", "b"],
      ["c", "a", "b"],
    ]);
    expect(steps.begun).toHaveLength(3);
  });

  it("a value is not delivered before it is recorded while another call is open", async () => {
    const steps = gates();
    const seen: string[] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const part = async (name: string): Promise<void> => {
          seen.push(await run.step(name, steps.work(name)));
        };
        await Promise.all([part("a"), part("b")]);
      },
    });
    const rig = new ReplayRig(v);
    rig.held = [];
    await rig.replay();
    steps.of("a").open("a");
    await rig.env.settle();
    expect(seen).toEqual([]);
    await rig.answer();
    expect(seen).toEqual(["a"]);
  });

  it("one report is in flight at a time, and later facts are sent together in the next", async () => {
    const steps = gates();
    const names = ["a", "b", "c", "d"];
    const v = workflow({ name: "w" }).v("1", {
      handler: (run) => Promise.all(names.map((name) => run.step(name, steps.work(name)))),
    });
    const rig = new ReplayRig(v);
    rig.held = [];
    await rig.replay();
    for (const name of names) {
      steps.of(name).open(name);
      await rig.env.settle();
    }
    expect(rig.reports.map(({ entries }) => entries.length)).toEqual([1]);
    rig.held.shift()?.();
    rig.held = null;
    await rig.env.settle();
    expect(rig.reports.map(({ entries }) => entries.length)).toEqual([1, 3, 0]);
    expect(rig.output).toEqual(names);
  });

  it("a call that lost a race is aborted when the run ends", async () => {
    const reasons: unknown[] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const slow = run.step("slow", ({ signal }) => {
          signal.addEventListener("abort", () => reasons.push(signal.reason));
          return new Promise<string>(() => {});
        });
        return Promise.race([slow, run.step("quick", async () => "quick")]);
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.output).toBe("quick");
    expect(reasons).toMatchObject([{ code: "RUN_ENDED" }]);
    expect(rig.env.timers).toBe(0);
  });

  it("the report that ends the run opens no wait", async () => {
    const plain = gate();
    const ended = gate();
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        void plain.promise.then(() => run.sleep({ days: 1 }));
        void run.step("a", () => 1);
        await ended.promise;
      },
    });
    const rig = new ReplayRig(v);
    rig.held = [];
    await rig.replay();
    plain.open();
    await rig.env.settle();
    ended.open();
    await rig.env.settle();
    expect(rig.nexts).toEqual(["continue"]);
    await rig.answer();
    expect(rig.reports[1]).toMatchObject({ opens: [], next: { type: "finish" } });
  });

  it("values that do not fit into one report are split into several", async () => {
    const big = "x".repeat(700_000);
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const all = await Promise.all([1, 2, 3].map(() => run.step("s", async () => big)));
        return all.map((text) => text.length);
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.output).toEqual([700_000, 700_000, 700_000]);
    expect(rig.reports.map(({ entries }) => entries.length)).toEqual([1, 1, 1, 0]);
  });

  it("calls with one name are numbered in call order", async () => {
    const v = workflow({ name: "w" }).v("1", {
      handler: (run) =>
        Promise.all([
          run.step("s", () => 1),
          run.step("s", () => 2, { key: "k" }),
          run.step("s", () => 3),
          run.step("s", () => 4, { key: "k" }),
        ]),
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.output).toEqual([1, 2, 3, 4]);
    expect(rig.ledger.entries.map(({ address }) => address).sort()).toEqual([
      "step:s#0",
      "step:s#1",
      "step:s:k#0",
      "step:s:k#1",
    ]);
  });
});

describe("a race between a task and a sleep", () => {
  function racer(steps: ReturnType<typeof gates>, winners: string[]) {
    return workflow({ name: "w" }).v("1", {
      async handler(run) {
        const won = await Promise.race([
          run.step("task", steps.work("task")),
          run.sleep("limit", { seconds: 10 }).then(() => "slept"),
        ]);
        winners.push(won);
        await run.sleep("after", { days: 1 });
        return won;
      },
    });
  }

  it("a race won by a sleep keeps its winner, even if the task's value is recorded later", async () => {
    const steps = gates();
    const winners: string[] = [];
    const rig = new ReplayRig(racer(steps, winners));
    await rig.replay();
    await rig.env.advance(10_000);
    rig.ledger.tick();
    steps.of("task").open("late");
    await rig.env.settle();
    expect(rig.ledger.entries.map(({ address }) => address)).toEqual(["sleep:limit#0", "step:task#0"]);
    rig.kill();
    await rig.replay();
    expect(winners).toEqual(["slept", "slept"]);
  });

  it("a race won by a task keeps its winner, even if the sleep elapses before a crash", async () => {
    const steps = gates();
    const winners: string[] = [];
    const rig = new ReplayRig(racer(steps, winners));
    await rig.replay();
    expect(rig.listening).toEqual([true]);
    steps.of("task").open("first");
    await rig.env.settle();
    rig.env.jump(10_000);
    rig.ledger.tick();
    await rig.replay();
    expect(winners).toEqual(["first", "first"]);
    await rig.env.advance(86_400_000);
    rig.ledger.tick();
    await rig.replay();
    expect(rig.output).toBe("first");
  });
});

describe("the handler's run", () => {
  it("random numbers and UUIDs are the same on every replay and in every attempt", async () => {
    const seen: unknown[] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        seen.push([run.random(), run.random(), run.uuid(), run.uuid()]);
        await run.sleep({ seconds: 1 });
      },
    });
    const rig = new ReplayRig(v);
    await rig.toEnd();
    expect(seen).toHaveLength(2);
    expect(seen[0]).toEqual(seen[1]);
    expect(new Set(JSON.parse(JSON.stringify(seen[0]))).size).toBe(4);
  });

  it("run.logger writes no line again during a replay", async () => {
    const lines: string[] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        run.logger.info("begins");
        await run.step("a", () => 1);
        run.logger.child({ more: true }).warn("after a");
        await run.sleep({ seconds: 1 });
        run.logger.info("slept");
      },
    });
    const rig = new ReplayRig(v);
    rig.logger = keeper(lines);
    await rig.toEnd();
    expect(rig.ledger.fence).toBe(2);
    expect(lines).toEqual(["begins", "after a", "slept"]);
  });

  it("the run fails with what the handler threw, synchronously or not", async () => {
    for (const handler of [
      () => {
        throw new RangeError("no");
      },
      async () => Promise.reject(new RangeError("no")),
    ]) {
      const rig = new ReplayRig(workflow({ name: "w" }).v("1", { handler }));
      await rig.replay();
      expect(rig.end).toMatchObject({ type: "finished", status: "failed" });
      expect(rig.ledger.error).toMatchObject({ name: "RangeError", message: "no" });
    }
  });

  it("invalid steps are refused when they are called", async () => {
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const codes: string[] = [];
        const note = (error: { code: string }): void => void codes.push(error.code);
        await run.step("", () => 1).catch(note);
        await run.step("s", () => 1, { timeout: { seconds: 0 } }).catch(note);
        await run.step("s", () => 1, { retry: { type: "fixed", maxAttempts: 0, delayMs: 1 } }).catch(note);
        await run.step("s", () => 1, { key: "k".repeat(256) }).catch(note);
        await Reflect.apply(run.step, run, ["s", () => 1, { retries: 5 }]).catch(note);
        return codes;
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.output).toEqual([
      "INVALID_NAME",
      "INVALID_CONFIG",
      "INVALID_RETRY_POLICY",
      "INVALID_KEY",
      "INVALID_CONFIG",
    ]);
    expect(rig.ledger.entries).toEqual([]);
  });

  it("calls after the handler has returned have no effect", async () => {
    const begun: string[] = [];
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        void Promise.resolve().then(async () => {
          await null;
          await null;
          await null;
          await run.step("late", () => begun.push("late"));
        });
        return "returned";
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.output).toBe("returned");
    expect(begun).toEqual([]);
    expect(rig.ledger.entries).toEqual([]);
  });
});
