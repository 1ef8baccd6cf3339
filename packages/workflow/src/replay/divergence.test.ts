import { describe, expect, it } from "vitest";
import { ReplayRig } from "../../test/rig.ts";
import type { WorkflowRun } from "../definition/run.ts";
import { workflow } from "../definition/workflow.ts";

type DivergingHandler = (run: WorkflowRun<Record<never, never>>) => Promise<unknown>;

const version = (handler: DivergingHandler) => workflow({ name: "w" }).v("1", { handler });

/** Executes `before` until its first sleep suspends the run, lets the sleep elapse, and replays the run as `after`. */
async function changed(before: DivergingHandler, after: DivergingHandler): Promise<ReplayRig> {
  const rig = new ReplayRig(version(before));
  await rig.replay();
  expect(rig.end).toEqual({ type: "suspended" });
  await rig.env.advance(10_000);
  rig.ledger.tick();
  rig.definition = version(after);
  await rig.replay();
  return rig;
}

const begun: string[] = [];
const step = (run: WorkflowRun<Record<never, never>>, name: string) =>
  run.step(name, () => {
    begun.push(name);
    return name;
  });

const original: DivergingHandler = async (run) => {
  await step(run, "a");
  await step(run, "b");
  await run.sleep("nap", { seconds: 10 });
  await step(run, "c");
};

describe("a run whose code changed", () => {
  it("a new call diverges while recorded calls are unclaimed; the stall names both, and nothing runs", async () => {
    begun.length = 0;
    const rig = await changed(original, async (run) => {
      await step(run, "a");
      await step(run, "new");
    });
    expect(rig.nexts).toEqual(["continue", "suspend"]);
    await rig.env.advance(5_000);
    expect(rig.ledger.status).toBe("running");
    await rig.env.advance(2_000);
    const stall = { reason: "diverged", call: "step:new#0", unclaimed: ["step:b#0", "sleep:nap#0"] };
    expect(rig.end).toEqual({ type: "stalled", stall });
    expect(rig.reports.at(-1)).toMatchObject({ entries: [], opens: [], next: { type: "stall" } });
    expect(rig.ledger.status).toBe("stalled");
    expect(begun).toEqual(["a", "b"]);
  });

  it("a new wait diverges too, and is not opened", async () => {
    const rig = await changed(original, (run) => run.sleep("other", { seconds: 1 }));
    await rig.env.advance(7_000);
    expect(rig.end).toMatchObject({ stall: { reason: "diverged", call: "sleep:other#0" } });
    expect(rig.ledger.waits).toEqual([]);
  });

  it("a diverged run continues with code that fits", async () => {
    const rig = await changed(original, (run) => step(run, "new"));
    await rig.env.advance(7_000);
    expect(rig.ledger.status).toBe("stalled");
    rig.definition = version(original);
    await rig.replay();
    expect(rig.ledger.status).toBe("completed");
  });

  it("the code may make finished calls in another order", async () => {
    const rig = await changed(original, async (run) => {
      await step(run, "b");
      await run.sleep("nap", { seconds: 99 });
      await step(run, "a");
      await step(run, "c");
    });
    await rig.env.advance(1_100);
    expect(rig.ledger.status).toBe("completed");
  });

  it("the code may make new calls after all recorded ones", async () => {
    const rig = await changed(original, async (run) => {
      await original(run);
      await step(run, "d");
    });
    expect(rig.ledger.status).toBe("completed");
    expect(rig.ledger.at("step:d#0")).toBeDefined();
  });

  it("the code may omit finished calls if no new call follows", async () => {
    const rig = await changed(original, async (run) => {
      await run.sleep("nap", { seconds: 10 });
      return "removed";
    });
    await rig.env.advance(1_100);
    expect(rig.output).toBe("removed");
  });

  it("a run does not diverge if slow non-durable work delays a branch", async () => {
    const handler =
      (delayMs: number): DivergingHandler =>
      async (run) => {
        const late = async (): Promise<void> => {
          await new Promise<void>((resolve) => rig.env.after(delayMs, resolve));
          await step(run, "late");
        };
        await Promise.all([late(), run.sleep("nap", { seconds: 10 })]);
        await step(run, "after");
      };
    const rig = new ReplayRig(version(handler(0)));
    await rig.replay();
    await rig.env.advance(0);
    expect(rig.reclaims).toBe(1);
    await rig.resume();
    expect(rig.ledger.at("step:late#0")).toBeDefined();
    rig.kill();
    rig.definition = version(async (run) => {
      await Promise.all([handler(900)(run), step(run, "new")]);
    });
    await rig.replay();
    await rig.env.advance(899);
    expect(rig.ledger.at("step:new#0")).toBeUndefined();
    await rig.env.advance(1);
    expect(rig.ledger.at("step:new#0")).toBeDefined();
    await rig.env.advance(10_000);
    rig.ledger.tick();
    await rig.resume();
    expect(rig.ledger.status).toBe("completed");
  });

  it("a run that waits for non-durable work during its replay is suspended, and opens no wait again", async () => {
    const plain = (delayMs: number) => new Promise<void>((resolve) => rig.env.after(delayMs, resolve));
    const handler: DivergingHandler = async (run) => {
      const late = plain(500).then(() => step(run, "late"));
      await Promise.all([late, run.sleep("nap", { seconds: 10 })]);
      await run.sleep("end", { seconds: 10 });
    };
    const rig: ReplayRig = new ReplayRig(version(handler));
    await rig.replay();
    await rig.env.advance(500);
    await rig.resume();
    rig.kill();
    rig.ledger.status = "queued";
    const reports = rig.reports.length;
    await rig.replay();
    expect(rig.end).toEqual({ type: "suspended" });
    rig.env.jump(10_000);
    rig.ledger.tick();
    await rig.resume();
    await rig.env.advance(500);
    expect(rig.reports.slice(reports).flatMap(({ opens }) => opens)).toMatchObject([{ address: "sleep:end#0" }]);
    expect(rig.ledger.at("step:late#0")?.seq).toBe(1);
  });

  it("a divergence names the children that the code no longer starts", async () => {
    const child = workflow({ name: "child" }).v("1", { handler: async (_run, input: number) => input });
    const rig = await changed(
      async (run) => {
        await child.startAsChild(run, 1);
        await run.sleep("nap", { seconds: 10 });
      },
      async (run) => {
        await run.sleep("nap", { seconds: 10 });
        await step(run, "new");
      },
    );
    await rig.env.advance(7_000);
    const unclaimed = [expect.stringMatching(/^child:child:[0-9a-f]{32}#0$/)];
    expect(rig.end).toMatchObject({ stall: { reason: "diverged", unclaimed } });
  });
});
