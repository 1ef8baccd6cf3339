import { describe, expect, it } from "vitest";
import { type Plain, Timed, type TimedRun } from "./timed.ts";

const addresses = (timed: Timed): string[] => timed.rig.ledger.waits.map(({ address }) => address);

describe("run.race", () => {
  const rounds = async (run: TimedRun): Promise<string[]> => {
    const seen: string[] = [];
    for (let round = 1; round <= 3; round++) {
      const winner = await run.race([run.events.stop.wait(), run.sleep({ seconds: 1 })]);
      seen.push(typeof winner === "string" ? winner : "slept");
    }
    return seen;
  };

  it("run.race withdraws the losing waits, so that an event goes to the wait of the current round", async () => {
    const timed = new Timed(rounds);
    await timed.execute({}, 100);
    await timed.elapse(1_000);
    await timed.rig.resume();
    expect(addresses(timed)).toEqual(["event:stop#1", "sleep:#1"]);
    timed.rig.ledger.event("stop", "now");
    await timed.rig.resume();
    await timed.elapse(1_000);
    await timed.rig.resume();
    expect(timed.rig.output).toEqual(["slept", "now", "slept"]);
  });

  it("run.race has the same winner on replay, and withdraws nothing twice", async () => {
    const timed = new Timed(rounds);
    await timed.execute({}, 100);
    for (let round = 1; round <= 2; round++) {
      await timed.elapse(1_000);
      await timed.again({}, 100);
    }
    timed.rig.ledger.event("stop", "late");
    await timed.again({}, 100);
    expect(timed.rig.output).toEqual(["slept", "slept", "late"]);
    const withdrawn = timed.rig.ledger.entries.filter(({ value }) => value.type === "withdrawn");
    expect(withdrawn.map(({ address }) => address)).toEqual(["event:stop#0/withdrawn", "event:stop#1/withdrawn"]);
  });

  it("an event that a loser of run.race had taken goes to the next wait", async () => {
    const timed = new Timed(async (run) => {
      const first = await run.race([run.events.stop.wait(), run.sleep({ seconds: 1 })]);
      return [typeof first === "string" ? first : "slept", await run.events.stop.wait()];
    });
    await timed.execute({}, 100);
    await timed.rig.env.advance(1_000);
    // Both happen before the worker receives either. The sleep is recorded first.
    timed.rig.ledger.tick();
    timed.rig.ledger.event("stop", "kept");
    await timed.rig.resume();
    await timed.again({}, 100);
    expect(timed.rig.output).toEqual(["slept", "kept"]);
  });

  it("run.race aborts the tasks and the signals of functions that lost", async () => {
    const aborted: string[] = [];
    const timed = new Timed(async (run) => {
      const winner = await run.race([
        run.step("slow", ({ signal }) => {
          return new Promise<string>(() => signal.addEventListener("abort", () => aborted.push("task")));
        }),
        async (signal) => {
          signal.addEventListener("abort", () => aborted.push("function"));
          await run.sleep({ seconds: 5 }, { signal });
          return "never";
        },
        run.sleep({ seconds: 1 }).then(() => "slept"),
      ]);
      await run.sleep("end", { seconds: 1 });
      return winner;
    });
    await timed.execute({}, 100);
    await timed.rig.env.advance(900);
    timed.rig.ledger.tick();
    await timed.rig.receiveEntries();
    expect(aborted.sort()).toEqual(["function", "task"]);
    expect(addresses(timed)).toEqual(["sleep:end#0"]);
  });

  it("run.race rejects with the error of the contender that rejects first", async () => {
    const timed = new Timed(async (run) => {
      const failing = run.step("failing", () => {
        throw new Error("no");
      });
      return run.race([failing, run.sleep({ seconds: 1 })]).catch((error: Error) => error.name);
    });
    await timed.execute({}, 100);
    expect(timed.rig.output).toBe("TaskFailedError");
  });
});

describe("run.any", () => {
  it("run.any resolves with the first value and withdraws the others", async () => {
    const timed = new Timed(async (run) => {
      const failing = run.step("failing", () => {
        throw new Error("no");
      });
      const good = run.step("good", () => "good");
      const winner = await run.any([failing, good, run.sleep({ hours: 1 })]);
      await run.sleep("end", { seconds: 1 });
      return winner;
    });
    await timed.execute({}, 100);
    expect(addresses(timed)).toEqual(["sleep:end#0"]);
    await timed.elapse(1_000);
    await timed.again({}, 100);
    expect(timed.rig.output).toBe("good");
  });

  it("run.any rejects with all errors if every contender rejects", async () => {
    const timed = new Timed(async (run) => {
      const fail = (name: string) =>
        run.step(name, () => {
          throw new Error(name);
        });
      return run.any([fail("a"), fail("b")]).catch((error: AggregateError) => error.errors.length);
    });
    await timed.execute({}, 100);
    expect(timed.rig.output).toBe(2);
  });
});

describe("a wait with a signal", () => {
  it("a wait whose signal aborts rejects with WAIT_WITHDRAWN and takes no event", async () => {
    const timed = new Timed(async (run) => {
      const controller = new AbortController();
      const wait = run.events.stop.wait({ signal: controller.signal }).catch((error: { code: string }) => error.code);
      await run.step("a", () => 1);
      controller.abort();
      const code = await wait;
      return [code, await run.events.stop.wait()];
    });
    await timed.execute({}, 100);
    timed.rig.ledger.event("stop", "second");
    await timed.rig.resume();
    expect(timed.rig.output).toEqual(["WAIT_WITHDRAWN", "second"]);
  });

  it("a wait whose signal has already aborted is not opened", async () => {
    const timed = new Timed((run) =>
      run.sleep({ seconds: 1 }, { signal: AbortSignal.abort() }).catch((error: { code: string }) => error.code),
    );
    await timed.execute({}, 100);
    expect(timed.rig.output).toBe("WAIT_WITHDRAWN");
    expect(timed.rig.ledger.entries).toEqual([]);
  });

  it("a signal of a wait for a child ends the wait, not the child", async () => {
    const timed = new Timed(async (run) => {
      const { workflow } = await import("../../packages/workflow/src/definition/workflow.ts");
      const child = workflow({ name: "child" }).v("1", { handler: async () => 1 });
      const handle = await child.startAsChild(run);
      const controller = new AbortController();
      const wait = handle
        .waitFor("completed", { timeout: { hours: 1 }, signal: controller.signal })
        .catch((error: { code: string }) => error.code);
      await run.sleep({ seconds: 1 });
      controller.abort();
      return wait;
    });
    await timed.execute({}, 1_000);
    await timed.elapse(1_000);
    await timed.rig.resume();
    expect(timed.rig.output).toBe("WAIT_WITHDRAWN");
  });
});

describe("a loser of a race that makes its call after non-durable work", () => {
  /** A loser sleeps after non-durable work; its cleanup follows the sleep that was withdrawn. */
  const loser = async (run: TimedRun, plain: Plain): Promise<unknown[]> => {
    const cleaned: string[] = [];
    const winner = await run.race([
      run.events.stop.wait(),
      async (signal) => {
        await plain("loser");
        await run.sleep("nap", { minutes: 1 }, { signal }).catch(() => {});
        cleaned.push(await run.step("clean up", () => "cleaned up"));
        return "slept";
      },
    ]);
    await run.sleep("end", { seconds: 30 });
    return [winner, ...cleaned];
  };

  it("a late call of a loser is found again, whether it was made before or after the end of the race", async () => {
    const timed = new Timed(loser);
    await timed.execute({ loser: 500 }, 100);
    timed.rig.ledger.event("stop", "now");
    await timed.rig.resume();
    await timed.live(1_000);
    const before = timed.rig.ledger.entries.length;
    await timed.again({ loser: 0 }, 100);
    expect(timed.rig.ledger.stall).toBeUndefined();
    expect(timed.rig.ledger.entries.slice(before)).toEqual([]);
    await timed.elapse(30_000);
    await timed.rig.resume();
    expect(timed.rig.output).toEqual(["now", "cleaned up"]);
  });

  it("a replay waits for a late call of a loser if it has made only the losing wait again", async () => {
    const timed = new Timed(async (run, plain) => {
      await run.race([
        run.events.stop.wait(),
        async (signal) => {
          await plain("winner");
          await run.sleep({ seconds: 1 }, { signal });
        },
      ]);
      return run.step("after", () => "done");
    });
    await timed.execute({ winner: 0 }, 100);
    timed.rig.mayBegin = false;
    await timed.elapse(1_000);
    await timed.rig.resume();
    await timed.live(100);
    expect(timed.rig.ledger.entries.map(({ value }) => value.type)).toEqual(["elapsed", "withdrawn"]);
    timed.rig.mayBegin = true;
    await timed.again({ winner: 2_000 }, 5_000);
    expect(timed.rig.ledger.stall).toBeUndefined();
    expect(timed.rig.output).toBe("done");
  });

  it("a late call of a loser is refused if it cannot be distinguished from a recorded call", async () => {
    const timed = new Timed(async (run, plain) => {
      const nap = (name: string) => async (signal: AbortSignal) => {
        await plain(name);
        await run.sleep({ seconds: 1 }, { signal });
        return name;
      };
      const winner = await run.race([nap("first"), nap("second")]);
      await plain("after");
      return run.step("end", () => winner);
    });
    await timed.execute({ first: 0, second: 3_000, after: 4_000 }, 500);
    await timed.elapse(1_000);
    await timed.rig.resume();
    await timed.live(10_000);
    expect(timed.rig.ledger.stall).toMatchObject({ reason: "ambiguous_call" });
  });
});
