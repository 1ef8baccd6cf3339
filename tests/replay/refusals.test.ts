import { describe, expect, it } from "vitest";
import { type Plain, Timed, type TimedRun } from "./timed.ts";

type PlainHandler = (run: TimedRun, plain: Plain) => Promise<unknown>;

/** A run in which the second of two alike late calls was refused after 2 seconds. */
async function refused(handler: PlainHandler): Promise<Timed> {
  const timed = new Timed(handler);
  await timed.execute({ ann: 10, bob: 2_000 });
  expect(timed.rig.ledger.stall).toMatchObject({ reason: "ambiguous_call" });
  return timed;
}

/** Executes the run from its journal with other code. */
async function executeFixed(timed: Timed, handler: PlainHandler, ms = 10_000): Promise<void> {
  const delays: Record<string, number> = { ann: 10, bob: 2_010 };
  const plain: Plain = (name) => new Promise((resolve) => timed.rig.env.after(delays[name] ?? 0, resolve));
  const other = new Timed((run) => handler(run, plain));
  timed.rig.kill();
  timed.rig.definition = other.rig.definition;
  timed.rig.ledger.status = "queued";
  await timed.rig.replay();
  await timed.live(ms);
}

const names = ["ann", "bob"];
const saving: PlainHandler = (run, plain) =>
  Promise.all(
    names.map(async (name) => {
      await plain(name);
      return run.step("save", () => name);
    }),
  );

describe("a run that is refused a second time", () => {
  it("a run that is refused twice keeps the entries of the fixed code in between", async () => {
    const began: string[] = [];
    const timed = await refused(saving);
    const stage =
      (isKeyed: boolean): PlainHandler =>
      async (run, plain) => {
        await Promise.all(names.map((name) => run.step("save", () => began.push(`save ${name}`))));
        await run.step("told", () => began.push("told"));
        await Promise.all(
          names.map(async (name) => {
            await plain(name);
            await run.step("mail", () => name, isKeyed ? { key: name } : {});
          }),
        );
        return "done";
      };
    await executeFixed(timed, stage(false));
    expect(timed.rig.ledger.stall).toMatchObject({
      reason: "ambiguous_call",
      call: expect.stringMatching(/^step:mail#/),
    });
    await executeFixed(timed, stage(true));
    expect(timed.rig.output).toBe("done");
    expect(began).toEqual(["save ann", "save bob", "told"]);
  });

  it("a run that is refused twice keeps the deadline of a sleep of the fixed code in between", async () => {
    const timed = await refused(saving);
    const stage =
      (isKeyed: boolean): PlainHandler =>
      async (run, plain) => {
        const rested = run.step("save", () => "ann").then(() => run.sleep("rest", { days: 1 }));
        for (const name of names) {
          await plain(name);
          await run.step("mail", () => name, isKeyed ? { key: name } : {});
        }
        return rested;
      };
    const deadlines = (): unknown[] => timed.rig.ledger.waits.map(({ until }) => until);
    const mails: PlainHandler = async (run, plain) => {
      const rested = run.step("save", () => "ann").then(() => run.sleep("rest", { days: 1 }));
      await Promise.all(
        names.map(async (name) => {
          await plain(name);
          await run.step("mail", () => name);
        }),
      );
      return rested;
    };
    await executeFixed(timed, mails);
    expect(timed.rig.ledger.stall).toMatchObject({ reason: "ambiguous_call" });
    const before = deadlines();
    await timed.rig.env.advance(43_200_000);
    await executeFixed(timed, stage(true));
    expect(before).toHaveLength(1);
    expect(deadlines()).toEqual(before);
  });
});

describe("entries after a refused call", () => {
  it("waits after each of several refused alike calls are withdrawn", async () => {
    const handler =
      (isKeyed: boolean): PlainHandler =>
      (run, plain) =>
        Promise.all(
          names.map(async (name) => {
            await plain(name);
            const saved = run.step("save", () => name, isKeyed ? { key: name } : {});
            const rests = [1, 2].map(async (n) => {
              await saved;
              await run.step("rest", () => n);
              await run.sleep({ minutes: 10 });
            });
            await Promise.all(rests);
            return name;
          }),
        );
    const timed = await refused(handler(false));
    await executeFixed(timed, handler(true));
    await timed.rig.env.advance(700_000);
    timed.rig.ledger.tick();
    await executeFixed(timed, handler(true));
    expect(timed.rig.output).toEqual(names);
  });

  it("entries after a refused call are not reused by the next attempt", async () => {
    const timed = await refused((run, plain) =>
      Promise.all(
        names.map(async (name) => {
          await plain(name);
          await run.step("save", () => name);
          await run.sleep({ days: 1 });
        }),
      ),
    );
    await timed.rig.env.advance(86_400_000);
    timed.rig.ledger.tick();
    let isFailing = true;
    const handler: PlainHandler = async (run, plain) => {
      for (const name of names) {
        await plain(name);
        await run.step("save", () => name, { key: name });
      }
      await run.step("check", () => {
        if (isFailing) throw new Error("no");
      });
      await run.sleep({ days: 1 });
    };
    await executeFixed(timed, handler);
    isFailing = false;
    await executeFixed(timed, handler);
    expect(timed.rig.ledger.attempt).toBe(2);
    expect(timed.rig.ledger.waits).toHaveLength(1);
  });

  it("waits after a refused call are found in seconds among the maximum of open waits", async () => {
    const timed = await refused(async (run, plain) => {
      await Promise.all(
        names.map(async (name) => {
          await plain(name);
          await run.step("save", () => name);
          if (name === "ann")
            await Promise.all(Array.from({ length: 3_000 }, (_, n) => run.sleep(`s${n}`, { days: 1 })));
        }),
      );
    });
    expect(timed.rig.ledger.waits).toHaveLength(3_000);
    const before = process.cpuUsage();
    await executeFixed(timed, async (run) => run.step("other", () => "done"), 100);
    expect(process.cpuUsage(before).user).toBeLessThan(20_000_000);
    expect(timed.rig.output).toBe("done");
  });
});
