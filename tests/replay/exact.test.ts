import { describe, expect, it } from "vitest";
import { z } from "zod";
import { NonRetryableError } from "../../packages/lib/src/index.ts";
import { type Plain, Timed, type TimedRun } from "./timed.ts";

describe("alike calls of parallel branches", () => {
  const handler = async (run: TimedRun, plain: Plain): Promise<unknown> => {
    const out = await Promise.all(
      ["ann", "bob"].map(async (name) => {
        await run.step("price", () => plain(`price ${name}`));
        if (name === "ann") await plain("ann");
        return `${name} -> ${await run.step("charge", () => `receipt of ${name}`)}`;
      }),
    );
    await run.sleep({ seconds: 30 });
    return out;
  };

  it("alike calls get their own results if non-durable work takes a different time on replay", async () => {
    const timed = new Timed(handler);
    await timed.execute({ "price ann": 5, "price bob": 400, ann: 100 });
    expect(timed.rig.ledger.status).toBe("suspended");
    await timed.elapse(30_000);
    await timed.again({ ann: 900 });
    expect(timed.rig.output).toEqual(["ann -> receipt of ann", "bob -> receipt of bob"]);
  });

  it("alike calls get their own results in any order", async () => {
    for (const first of [0, 50, 700]) {
      for (const second of [0, 50, 700]) {
        const timed = new Timed(handler);
        await timed.execute({ "price ann": 20, "price bob": 30, ann: first });
        await timed.elapse(30_000);
        await timed.again({ ann: second });
        expect(timed.rig.output).toEqual(["ann -> receipt of ann", "bob -> receipt of bob"]);
      }
    }
  });

  it("a long sleep is not ended by the deadline of an alike short sleep", async () => {
    const timed = new Timed(async (run, plain) => {
      const began = run.now();
      return Promise.all(
        [6, 1].map(async (seconds) => {
          await run.step(`before ${seconds}`, () => seconds);
          await plain(`plain ${seconds}`);
          await run.sleep({ seconds });
          return [seconds, run.now() - began];
        }),
      );
    });
    await timed.execute({ "plain 6": 100, "plain 1": 400 }, 500);
    await timed.elapse(1_000);
    await timed.again({ "plain 6": 400, "plain 1": 10 }, 500);
    await timed.elapse(6_000);
    await timed.again({ "plain 6": 10, "plain 1": 400 }, 1_000);
    const slept: Record<string, number> = Object.fromEntries(
      z.array(z.tuple([z.number(), z.number()])).parse(timed.rig.output),
    );
    expect(slept[6]).toBeGreaterThanOrEqual(6_000);
    expect(slept[1]).toBeLessThan(6_000);
  });

  it("a decided race keeps its winner if the loser's branch is ready first on replay", async () => {
    const winners: string[] = [];
    const timed = new Timed(async (run, plain) => {
      const winner = await Promise.race(
        ["a", "b"].map(async (name) => {
          await run.step(`begin ${name}`, () => name);
          await plain(name);
          await run.step("finish", () => name);
          return name;
        }),
      );
      await run.step(`tell ${winner}`, () => winners.push(winner));
      await run.sleep({ seconds: 10 });
      return winner;
    });
    await timed.execute({ a: 10, b: 300 });
    await timed.elapse(10_000);
    await timed.again({ a: 300, b: 10 });
    expect(timed.rig.output).toBe("a");
    expect(winners).toEqual(["a"]);
  });

  it("alike calls get their own results in the next attempt if some of them failed", async () => {
    const failing = new Set(["ann"]);
    const timed = new Timed(async (run) => {
      const out: string[] = [];
      for (const name of ["ann", "bob", "cyd"]) {
        try {
          out.push(
            await run.step("charge", () => {
              if (failing.has(name)) throw new Error(`no money: ${name}`);
              return `receipt of ${name}`;
            }),
          );
        } catch {
          out.push(`${name} failed`);
        }
      }
      if (run.attempt === 1) throw new Error("again");
      return out;
    });
    await timed.execute({});
    failing.clear();
    await timed.rig.env.advance(100);
    await timed.rig.replay();
    expect(timed.rig.output).toEqual(["receipt of ann", "receipt of bob", "receipt of cyd"]);
  });
});

describe("a replay that waits for non-durable work", () => {
  it("a replay does not diverge if non-durable work is slow", async () => {
    const began: string[] = [];
    const timed = new Timed(async (run, plain) => {
      const rested = (async () => {
        await plain("import");
        return run.step("rested", () => "rested");
      })();
      await run.step("first", () => 1);
      await run.sleep({ seconds: 1 });
      await run.step("new", () => began.push("new"));
      return rested;
    });
    await timed.execute({ import: 20 });
    await timed.elapse(1_000);
    await timed.again({ import: 2_000 }, 1_900);
    expect(began).toEqual([]);
    expect(timed.rig.expecting).toEqual(["step:rested#0"]);
    await timed.live(200);
    expect(timed.rig.output).toBe("rested");
    expect(timed.rig.expecting).toEqual(["step:rested#0", null]);
  });

  it("a replay reports for which call it waits, and when it no longer waits", async () => {
    const timed = new Timed(async (run, plain) => {
      await plain("import");
      await run.step("late", () => 1);
      await run.sleep({ seconds: 1 });
    });
    await timed.execute({ import: 20 });
    await timed.elapse(1_000);
    const before = timed.rig.reports.length;
    await timed.again({ import: 30_000 }, 20_000);
    expect(timed.rig.reports.slice(before)).toEqual([]);
    await timed.rig.env.advance(20_000);
    expect(timed.rig.ledger.status).toBe("completed");
  });
});

describe("two alike calls after non-durable work", () => {
  const handler = async (run: TimedRun, plain: Plain): Promise<unknown> =>
    Promise.all(
      ["ann", "bob"].map(async (name) => {
        await plain(name);
        return run.step("save", () => name);
      }),
    );

  it("two alike calls after non-durable work are refused at once, and the stall names both places", async () => {
    const timed = new Timed(handler);
    await timed.execute({ ann: 10, bob: 10 });
    expect(timed.rig.end).toMatchObject({ type: "stalled", stall: { reason: "ambiguous_call", call: "step:save#0" } });
    const { stall } = timed.rig.ledger;
    expect(stall).toMatchObject({
      places: [expect.stringContaining("exact.test.ts"), expect.stringContaining("exact.test.ts")],
    });
  });

  it("keys distinguish two alike calls after non-durable work, also when a refused run is retried", async () => {
    const timed = new Timed(handler);
    await timed.execute({ ann: 10, bob: 2_000 });
    expect(timed.rig.end).toMatchObject({ type: "stalled" });
    const fixed = new Timed(async (run, plain) =>
      Promise.all(
        ["ann", "bob"].map(async (name) => {
          await plain(name);
          return run.step("save", () => name, { key: name });
        }),
      ),
    );
    timed.rig.definition = fixed.rig.definition;
    timed.rig.ledger.status = "queued";
    await timed.rig.replay();
    await timed.rig.env.advance(10_000);
    await fixed.rig.env.advance(10_000);
    await timed.rig.env.advance(10_000);
    expect(timed.rig.output).toEqual(["ann", "bob"]);
  });

  describe("with a wait after one of them", () => {
    const save = async (run: TimedRun, plain: Plain, name: string, key?: string): Promise<string> => {
      await plain(name);
      await run.step("save", () => name, key === undefined ? {} : { key });
      await run.step(`after ${name}`, () => name);
      const winner = await run.race([run.events.go.wait(), run.sleep({ days: 1 })]);
      return `${name} ${winner}`;
    };
    const refused = async (): Promise<Timed> => {
      const timed = new Timed((run, plain) => Promise.all(["ann", "bob"].map((name) => save(run, plain, name))));
      await timed.execute({ ann: 10, bob: 2_000 });
      expect(timed.rig.ledger.stall).toMatchObject({ reason: "ambiguous_call" });
      expect(timed.rig.ledger.waits.map(({ address }) => address)).toEqual(["event:go#0", "sleep:#0"]);
      return timed;
    };
    const againWithFix = async (timed: Timed, delays: Record<string, number>): Promise<void> => {
      const fixed = new Timed((run) => {
        const plain: Plain = (name) => new Promise((resolve) => timed.rig.env.after(delays[name] ?? 0, resolve));
        return Promise.all(["ann", "bob"].map((name) => save(run, plain, name, name)));
      });
      timed.rig.kill();
      timed.rig.definition = fixed.rig.definition;
      timed.rig.ledger.status = "queued";
      await timed.rig.replay();
      await timed.live(5_000);
    };
    const waits = (timed: Timed): string[] => timed.rig.ledger.waits.map(({ address }) => address);

    it("a refused run continues with keys and leaves no wait open that takes an event", async () => {
      const timed = await refused();
      await againWithFix(timed, { ann: 10, bob: 20 });
      expect(waits(timed)).toEqual(["event:go#1", "sleep:#1", "event:go#2", "sleep:#2"]);
      timed.rig.ledger.event("go", "1");
      await againWithFix(timed, { ann: 10, bob: 20 });
      timed.rig.ledger.event("go", "2");
      await againWithFix(timed, { ann: 30, bob: 20 });
      expect(timed.rig.output).toEqual(["ann 1", "bob 2"]);
    });

    it("an event that arrived while a run was refused is given to the next wait", async () => {
      const timed = await refused();
      timed.rig.ledger.event("go", "1");
      expect(waits(timed)).toEqual(["sleep:#0"]);
      await againWithFix(timed, { ann: 10, bob: 20 });
      timed.rig.ledger.event("go", "2");
      await againWithFix(timed, { ann: 10, bob: 20 });
      await againWithFix(timed, { ann: 30, bob: 20 });
      expect(timed.rig.output).toEqual(["ann 1", "bob 2"]);
    });

    it("a refused run keeps its entries if it continues without keys and without non-durable work", async () => {
      const timed = await refused();
      const began: string[] = [];
      const prompt = new Timed(async (run) => {
        const names = await Promise.all(["ann", "bob"].map((name) => run.step("save", () => began.push(name) && name)));
        await run.step("told", () => began.push("told"));
        await run.sleep({ days: 2 });
        return names;
      });
      timed.rig.definition = prompt.rig.definition;
      for (let time = 0; time < 3; time++) {
        timed.rig.kill();
        timed.rig.ledger.status = "queued";
        await timed.rig.replay();
        await timed.live(1_000);
      }
      await timed.rig.env.advance(200_000_000);
      timed.rig.ledger.tick();
      await timed.rig.resume();
      expect(began).toEqual(["ann", "bob", "told"]);
      expect(timed.rig.output).toEqual(["ann", "bob"]);
    });
  });

  it("the branches of run.map distinguish two alike calls after non-durable work", async () => {
    const timed = new Timed(async (run, plain) => {
      const out = await run.map(["ann", "bob", "cyd"], async (name) => {
        await plain(name);
        return run.step("save", () => name);
      });
      await run.sleep({ seconds: 1 });
      return out;
    });
    await timed.execute({ ann: 30, bob: 20, cyd: 10 });
    await timed.elapse(1_000);
    await timed.again({ ann: 10, bob: 20, cyd: 30 });
    expect(timed.rig.output).toEqual(["ann", "bob", "cyd"]);
  });

  it("a run whose non-durable work was cached when it was recorded is replayed exactly", async () => {
    let isCold = false;
    const timed = new Timed(async (run, plain) => {
      if (isCold) await plain("config");
      const value = await run.step("use", () => "used");
      await run.sleep({ seconds: 1 });
      return value;
    });
    await timed.execute({});
    await timed.elapse(1_000);
    isCold = true;
    await timed.again({ config: 100 });
    expect(timed.rig.output).toBe("used");
    expect(timed.rig.reports.filter(({ entries }) => entries.length > 0)).toHaveLength(1);
  });
});

describe("a key", () => {
  it("a call of an unfinished run to which a key was added is found in its entry without the key", async () => {
    let key: string | undefined;
    let runs = 0;
    const timed = new Timed(async (run, plain) => {
      const options = key === undefined ? {} : { key };
      await plain("before");
      const value = await run.step("save", () => ++runs, options);
      await run.sleep({ seconds: 1 });
      return [value, await run.step("after", () => "after")];
    });
    await timed.execute({ before: 10 });
    await timed.elapse(1_000);
    key = "k";
    await timed.again({ before: 30 });
    expect(timed.rig.output).toEqual([1, "after"]);
    expect(runs).toBe(1);
  });
});

describe("random numbers and UUIDs", () => {
  it("random numbers and UUIDs depend on the branch", async () => {
    const seen: string[][] = [];
    const timed = new Timed(async (run, plain) => {
      const ids = await Promise.all(
        ["a", "b"].map(async (name) => {
          await run.step(`begin ${name}`, () => name);
          await plain(name);
          return `${name} ${run.uuid()} ${run.random()}`;
        }),
      );
      seen.push(ids);
      await run.sleep({ seconds: 1 });
      return ids;
    });
    await timed.execute({ a: 10, b: 90 });
    await timed.elapse(1_000);
    await timed.again({ a: 90, b: 10 });
    expect(seen[1]).toEqual(seen[0]);
    expect(new Set(seen[0]).size).toBe(2);
  });
});

describe("a durable call inside a step", () => {
  it("a durable call inside a step is refused at once, and the error says where to put it", async () => {
    const timed = new Timed(async (run) => {
      const inner = (): Promise<unknown> => run.step("inner", () => 1);
      const uuid = (): string => run.uuid();
      const first = await run.step("outer", inner).catch((error: Error) => error.cause);
      const second = await run.step("other", async () => uuid()).catch((error: Error) => error.cause);
      return [first, second].map((cause) => (cause instanceof Error && "code" in cause ? cause.code : cause));
    });
    await timed.execute({});
    expect(timed.rig.output).toEqual(["NESTED_CALL", "NESTED_CALL"]);
  });
});

describe("an idempotency key", () => {
  it("an idempotency key is the same for any order of branches and for every attempt", async () => {
    const keysOf = async (delays: Record<string, number>): Promise<Map<string, string>> => {
      const keys = new Map<string, string>();
      const timed = new Timed(async (run, plain) =>
        Promise.all(
          ["ann", "bob"].map(async (name) => {
            await run.step(`begin ${name}`, () => name);
            await plain(name);
            return run.step("charge", ({ idempotencyKey }) => {
              keys.set(name, idempotencyKey);
              return name;
            });
          }),
        ),
      );
      await timed.execute(delays);
      expect(timed.rig.ledger.status).toBe("completed");
      return keys;
    };
    const keys = await keysOf({ ann: 10, bob: 90 });
    expect(await keysOf({ ann: 90, bob: 10 })).toEqual(keys);
    expect(new Set(keys.values()).size).toBe(2);
  });
});

describe("a long replay", () => {
  it("a long replay lets timers and I/O run between deliveries", async () => {
    let clock = 0;
    const timed = new Timed(async (run) => {
      for (let n = 0; n < 200; n++) await run.step("s", () => n);
    });
    await timed.execute({}, 10);
    timed.rig.ledger.status = "queued";
    // Every read of the clock takes a millisecond, so twenty deliveries take twenty milliseconds.
    timed.rig.env.elapsed = () => ++clock;
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    await timed.rig.replay();
    isOver = true;
    expect(timed.rig.ledger.status).toBe("completed");
    expect(turns).toBeGreaterThan(5);
  });
});

describe("code of another build", () => {
  const charges = async (run: TimedRun, plain: Plain): Promise<string[]> =>
    Promise.all(
      ["a", "b"].map(async (customer) => {
        await run.step("price", () => 1);
        await plain(customer);
        return run.step("charge", () => customer);
      }),
    );

  const items = (run: TimedRun, plain: Plain): Promise<string[]> =>
    run.map(["a", "b"], async (customer) => {
      await plain(customer);
      return run.step("charge", () => customer);
    });

  it.each([
    ["after its own call", charges],
    ["in its own item", items],
  ])("another build gives no value to an alike call of another branch that is made first, %s", async (_, code) => {
    const timed = new Timed(code);
    await timed.execute({ a: 20, b: 10_000 }, 100);
    expect(timed.rig.ledger.at("step:charge#0")?.value).toMatchObject({ output: '"a"' });
    const deployed = new Timed(code, "b2", timed.rig.ledger);
    await deployed.again({ a: 3_000, b: 10 }, 10_000);
    expect(deployed.rig.output).toEqual(["a", "b"]);
  });
});

describe("a later attempt", () => {
  it("a later attempt gives no recorded value to an alike call of a parallel branch that failed before", async () => {
    const timed = new Timed(async (run, plain) => {
      const charge = async (customer: string): Promise<string> => {
        await run.step("price", () => {
          if (customer === "a" && run.attempt === 1) throw new NonRetryableError("no price");
        });
        await plain(customer);
        return run.step("charge", () => customer);
      };
      const charged = await Promise.allSettled(["a", "b"].map(charge));
      if (run.attempt === 1) throw new Error("once more");
      return charged.map((end) => (end.status === "fulfilled" ? end.value : "failed"));
    });
    await timed.execute({ b: 10 }, 100);
    await timed.again({ a: 10, b: 2_000 }, 10_000);
    expect(timed.rig.output).toEqual(["a", "b"]);
  });
});
