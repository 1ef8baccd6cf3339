import pLimit from "p-limit";
import { describe, expect, it } from "vitest";
import { type Plain, Timed, type TimedRun } from "./timed.ts";

const outcome = ({ rig }: Timed): unknown[] => [rig.ledger.status, rig.output];

describe("alike calls of parallel branches", () => {
  const pages = async (run: TimedRun, plain: Plain): Promise<unknown> => {
    const first = async (): Promise<string[]> => {
      const one = await run.step("page", () => "first, 1");
      await plain("unzip");
      return [one, await run.step("page", () => "first, 2")];
    };
    const second = (): Promise<string> => run.step("page", () => plain("slow").then(() => "second"));
    return Promise.all([first(), second()]);
  };

  it("alike calls of parallel branches do not exchange values after non-durable work", async () => {
    const timed = new Timed(pages);
    await timed.execute({ unzip: 10, slow: 1_000 }, 500);
    await timed.again({ unzip: 10, slow: 10 }, 2_000);
    expect(outcome(timed)).toEqual(["completed", [["first, 1", "first, 2"], "second"]]);
  });

  it("alike calls of parallel branches do not exchange values in the next attempt", async () => {
    const timed = new Timed(async (run, plain) => {
      const second = (): Promise<string> => run.step("page", () => plain("slow").then(() => "second"));
      const first = async (): Promise<string> => {
        await run.step("page", () => "first, 1");
        const value = await run.step("page", () => "first, 2");
        if (run.attempt === 1) throw new Error("again");
        return value;
      };
      return Promise.all([first(), second()]);
    });
    await timed.execute({ slow: 1_000 }, 500);
    await timed.rig.replay();
    await timed.live(2_000);
    expect(outcome(timed)).toEqual(["completed", ["first, 2", "second"]]);
  });

  it("a call is found whether the parallel branch has a recorded call or not, after any last delivery", async () => {
    let started = 0;
    const timed = new Timed(async (run, plain) => {
      await Promise.all([plain("fetch"), run.step("look", () => plain("look"))]);
      return Promise.all([run.step("slow", () => plain("slow").then(() => 1)), run.step("fast", () => ++started)]);
    });
    await timed.execute({ fetch: 10, look: 100, slow: 5_000 }, 1_000);
    await timed.again({ fetch: 200, slow: 10 }, 2_000);
    expect(outcome(timed)).toEqual(["completed", [1, 1]]);
  });
});

describe("a call after a race that left a wait open", () => {
  let sent = 0;
  /** Sends while the losing wait is open, or after it has ended, depending on the duration of the work. */
  const sending = async (end: (run: TimedRun) => Promise<unknown>): Promise<Timed> => {
    sent = 0;
    const timed = new Timed(async (run, plain) => {
      await Promise.race([run.sleep({ seconds: 1 }), run.events.stop.wait()]);
      if ((timed.delays.load ?? 0) > 0) await plain("load");
      const number = await run.step("send", () => ++sent);
      await end(run);
      return number;
    });
    await timed.execute({ load: 1_000 }, 100);
    await timed.elapse(1_000);
    await timed.rig.resume();
    timed.rig.ledger.event("stop", "now");
    await timed.rig.resume();
    timed.delays = {};
    await timed.live(2_000);
    return timed;
  };

  it("a call after a race is found although a warm cache makes the replay faster than the losing wait", async () => {
    const timed = await sending((run) => run.sleep({ minutes: 1 }));
    await timed.again({}, 2_000);
    await timed.elapse(60_000);
    await timed.rig.resume();
    expect([...outcome(timed), sent]).toEqual(["completed", 1, 1]);
  });

  it("a call after a race is found in the next attempt, too", async () => {
    const timed = await sending(async (run) => {
      if (run.attempt === 1) throw new Error("again");
    });
    await timed.rig.replay();
    await timed.live(2_000);
    expect([...outcome(timed), sent]).toEqual(["completed", 1, 1]);
  });
});

describe("a late call whose value an alike prompt call received", () => {
  it("a late call is refused if an alike prompt call has received its value", async () => {
    let cold = true;
    const timed = new Timed(async (run, plain) => {
      const go = async (): Promise<string> => {
        await run.step("a", () => 1);
        await plain("work");
        return run.step("save", () => "go");
      };
      const going = go();
      if (cold) await plain("import");
      const own = await run.step("save", () => "own");
      return [await going, own];
    });
    await timed.execute({ work: 10, import: 1_000 }, 500);
    cold = false;
    await timed.again({ work: 10 }, 2_000);
    expect(timed.rig.end).toMatchObject({ type: "stalled", stall: { reason: "ambiguous_call" } });
  });
});

describe("items of run.map", () => {
  it("a failed item of run.map ends its own lane, so that timing does not decide which items begin", async () => {
    const timed = new Timed(async (run, plain) => {
      const work = async (item: number): Promise<number> => {
        await plain(`item ${item}`);
        if (item === 2) throw new Error("no");
        return run.step("save", () => item);
      };
      const end = await run.map([1, 2, 3], work, { concurrency: 2 }).catch(() => "failed");
      await run.sleep({ seconds: 1 });
      await run.step("after", () => 1);
      return end;
    });
    await timed.execute({ "item 1": 10, "item 2": 50, "item 3": 100 }, 500);
    await timed.elapse(1_000);
    await timed.again({ "item 1": 100, "item 2": 10, "item 3": 10 }, 5_000);
    expect(outcome(timed)).toEqual(["completed", "failed"]);
  });
});

describe("a race of an earlier attempt", () => {
  it("a race has the same winner in the next attempt if non-durable work takes a different time", async () => {
    const winners: string[] = [];
    const timed = new Timed(async (run, plain) => {
      const contender = async (name: string): Promise<string> => {
        await run.step(`begin ${name}`, () => name);
        await plain(name);
        await run.step(`finish ${name}`, () => name);
        return name;
      };
      const winner = await Promise.race(["a", "b"].map(contender));
      await run.step(`tell ${winner}`, () => winners.push(winner));
      await plain("rest");
      if (run.attempt === 1) throw new Error("again");
      return winner;
    });
    await timed.execute({ a: 300, b: 10, rest: 1_000 }, 3_000);
    timed.delays = { a: 10, b: 300 };
    await timed.rig.replay();
    await timed.live(3_000);
    expect([...outcome(timed), winners]).toEqual(["completed", "b", ["b"]]);
  });
});

describe("a withdrawn call", () => {
  const race = async (run: TimedRun, losers: readonly PromiseLike<unknown>[]): Promise<string> => {
    await run.race([...losers, run.sleep("winner", { seconds: 1 })]);
    await run.sleep("end", { seconds: 5 });
    await run.step("new", () => 1);
    return "done";
  };
  const losers: Array<[string, (run: TimedRun) => PromiseLike<unknown>]> = [
    ["a wait whose end is recorded too", (run) => run.sleep("loser", { seconds: 1 })],
    [
      "a step that waits for its next attempt",
      (run) => {
        const fail = (): never => {
          throw new Error("no");
        };
        return run.step("bad", fail, { retry: { type: "fixed", maxAttempts: 5, delayMs: 60_000 } });
      },
    ],
    ["a wait that takes no event", (run) => run.events.stop.wait({ timeout: { hours: 1 } })],
  ];

  it.each(losers)("a replay does not wait for a withdrawn call: %s", async (_, loser) => {
    const timed = new Timed((run) => race(run, [loser(run)]));
    await timed.execute({}, 100);
    await timed.elapse(1_000);
    await timed.rig.resume();
    await timed.elapse(5_000);
    await timed.again({}, 5_000);
    expect(outcome(timed)).toEqual(["completed", "done"]);
  });

  it("a withdrawn sleep lets a suspended run continue", async () => {
    const timed = new Timed(async (run, plain) => {
      const given = new AbortController();
      void plain("abort").then(() => given.abort());
      const end = await run.sleep({ hours: 1 }, { signal: given.signal }).catch(() => "withdrawn");
      await run.step("new", () => 1);
      return end;
    });
    await timed.execute({ abort: 500 }, 2_000);
    expect(outcome(timed)).toEqual(["completed", "withdrawn"]);
  });

  it("a call that a replay withdraws earlier keeps its recorded value", async () => {
    const timed = new Timed(async (run, plain) => {
      const slow = plain("import").then(() => run.sleep("other", { seconds: 1 }));
      const given = new AbortController();
      void plain("timeout").then(() => given.abort());
      const work = (): Promise<string> => plain("work").then(() => "done");
      const end = await run.step("work", work, { signal: given.signal }).catch(() => "timed out");
      await slow;
      await run.sleep("end", { seconds: 2 });
      return end;
    });
    await timed.execute({ import: 10, timeout: 1_000, work: 200 });
    await timed.elapse(1_000);
    await timed.again({ import: 2_000, timeout: 1_000, work: 200 });
    await timed.elapse(3_000);
    await timed.again({ import: 2_000, timeout: 1_000, work: 200 });
    expect(outcome(timed)).toEqual(["completed", "done"]);
  });
});

describe("a derived value", () => {
  it.each(["uuid", "random", "now"] as const)(
    "two alike derived values that cannot be distinguished stall the run: %s",
    async (kind) => {
      const branch = (run: TimedRun, plain: Plain) => async (name: string) => plain(name).then(() => run[kind]());
      const timed = new Timed((run, plain) => Promise.all(["a", "b"].map(branch(run, plain))));
      await timed.execute({ a: 10, b: 20 });
      expect(timed.rig.ledger.stall?.reason).toBe("ambiguous_call");
    },
  );
});

describe("a report that is refused permanently", () => {
  it("values that are produced while a report is refused permanently are not lost", async () => {
    const timed = new Timed((run, plain) =>
      Promise.all(["a", "b"].map((name) => run.step(name, () => plain(name).then(() => name)))),
    );
    const { ledger } = timed.rig;
    const report = ledger.report.bind(ledger);
    let refusals = 1;
    ledger.report = (draft, fence) =>
      refusals-- > 0 ? { ok: false, code: "BAD_REQUEST", message: "no" } : report(draft, fence);
    timed.rig.held = [];
    await timed.execute({ a: 10, b: 20 }, 100);
    for (let answers = 0; answers < 20; answers++) await timed.rig.answer();
    expect(ledger.entries.map(({ address }) => address)).toEqual(["step:a#0", "step:b#0"]);
    expect(ledger.status).toBe("failed");
  });
});

describe("two alike calls of one branch", () => {
  it("two alike calls of one branch keep their values in a later attempt if non-durable work delays one", async () => {
    let isDelayed = { first: false, second: true };
    let made = 0;
    const timed = new Timed(async (run, plain) => {
      const visit = () => run.step("visit", () => ++made);
      const helper = async () => {
        await run.step("begin", () => 0);
        if (isDelayed.first) await plain("first");
        return visit();
      };
      const first = await helper();
      if (isDelayed.second) await plain("second");
      const second = await visit();
      if (run.attempt === 1) throw new Error("once more");
      return [first, second];
    });
    await timed.execute({ second: 10 }, 15);
    expect(timed.rig.ledger.status).toBe("retrying");
    isDelayed = { first: true, second: false };
    await timed.again({ first: 10 }, 3_000);
    expect(timed.rig.output).toEqual([1, 2]);
  });
});

describe("two alike calls after parallel branches that take a lock", () => {
  it("two alike calls are found again if earlier branches take a lock in another order", async () => {
    const timed = new Timed(async (run, plain) => {
      let lock: Promise<unknown> = Promise.resolve();
      const locked = async (name: string): Promise<void> => {
        await plain(name);
        const own = lock.then(() => run.step(name, () => name));
        lock = own;
        await own;
      };
      await Promise.all([locked("a"), locked("b")]);
      const saved = await Promise.all([run.step("save", () => 1), run.step("save", () => 2)]);
      await run.sleep({ days: 1 });
      return saved;
    });
    await timed.execute({ a: 10, b: 0 }, 100);
    await timed.again({ a: 0, b: 10 }, 130_000);
    expect(timed.rig.ledger.stall).toBeUndefined();
    await timed.rig.env.advance(86_400_000);
    timed.rig.ledger.tick();
    await timed.rig.resume();
    expect(timed.rig.output).toEqual([1, 2]);
  });
});

describe("the time that a handler reads after parallel branches that take a lock", () => {
  it("the recorded time is read again if earlier branches take a lock in another order", async () => {
    const timed = new Timed(async (run, plain) => {
      let lock: Promise<unknown> = Promise.resolve();
      const locked = async (name: string): Promise<void> => {
        await plain(name);
        const own = lock.then(() => run.step(name, () => name));
        lock = own;
        await own;
      };
      await Promise.all([locked("a"), locked("b")]);
      const time = run.now();
      await run.step(`save at ${time}`, () => "saved");
      await run.events.go.wait();
      return time;
    });
    await timed.execute({ a: 10, b: 0 }, 100);
    const recorded = timed.rig.ledger.entries.find(({ value }) => value.type === "observed");
    await timed.again({ a: 0, b: 10 }, 130_000);
    expect(timed.rig.ledger.stall).toBeUndefined();
    timed.rig.ledger.event("go", "on");
    await timed.again({ a: 0, b: 10 }, 130_000);
    expect(recorded?.value).toEqual({ type: "observed", data: String(timed.rig.output) });
    expect(timed.rig.ledger.entries.filter(({ value }) => value.type === "observed")).toEqual([recorded]);
  });
});

describe("a later attempt whose server answers slowly", () => {
  it("steps behind a limiter are not executed again, however long the answers to reports take", async () => {
    let executed = 0;
    const items = ["a", "b", "c", "d", "e"];
    const timed = new Timed(async (run, plain) => {
      const limit = pLimit(2);
      const save = async (item: string) => {
        executed += 1;
        await plain(item);
        return item;
      };
      const saved = await Promise.all(items.map((item) => limit(() => run.step("save", () => save(item)))));
      if (run.attempt === 1) throw new Error("once more");
      return saved;
    });
    await timed.execute({ a: 100, b: 10, c: 10, d: 10, e: 10 }, 500);
    timed.rig.kill();
    timed.rig.ledger.status = "queued";
    timed.rig.held = [];
    await timed.rig.replay();
    for (let answers = 0; answers < 20; answers++) {
      await timed.live(2_000);
      await timed.rig.answer();
    }
    expect(timed.rig.output).toEqual(items);
    expect(executed).toBe(items.length);
  });
});

describe("two alike calls that got keys before a later attempt", () => {
  it("two alike calls that got keys before a later attempt keep their values in its replay", async () => {
    let made = 0;
    const visits =
      (keys: readonly string[], isDelayed: boolean) =>
      async (run: TimedRun, plain: Plain): Promise<number[]> => {
        const visit = (key: string | undefined) => run.step("visit", () => ++made, key === undefined ? {} : { key });
        const helper = async (): Promise<number> => {
          await run.step("begin", () => 0);
          if (isDelayed) await plain("first");
          return visit(keys[0]);
        };
        const first = await helper();
        await plain("second");
        const second = await visit(keys[1]);
        if (run.attempt === 1) throw new Error("once more");
        await run.events.go.wait();
        return [first, second];
      };
    const timed = new Timed(visits([], false));
    await timed.execute({ second: 10 }, 15);
    const keyed = new Timed(visits(["a", "b"], true), "b2", timed.rig.ledger);
    await keyed.again({ first: 10, second: 10 }, 5_000);
    await keyed.again({ first: 10, second: 10 }, 5_000);
    expect(keyed.rig.ledger.stall).toBeUndefined();
    keyed.rig.ledger.event("go", "on");
    await keyed.again({ first: 10, second: 10 }, 5_000);
    expect(keyed.rig.output).toEqual([1, 2]);
  });
});
