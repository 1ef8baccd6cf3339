import type { Report, ReportResult } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { event } from "../../packages/workflow/src/definition/event.ts";
import { workflow } from "../../packages/workflow/src/definition/workflow.ts";
import { createExecution } from "../../packages/workflow/src/replay/execution.ts";
import { ReplayRig } from "../../packages/workflow/test/rig.ts";
import { Timed } from "./timed.ts";

describe("an unhandled rejection", () => {
  it("an unhandled rejection fails the run with the error as its cause and advice", async () => {
    const { ownerOfCurrentCode } = await import("../../packages/workflow/src/replay/points.ts");
    const timed = new Timed(async (run) => {
      await run.step("a", () => 1);
      ownerOfCurrentCode()?.reject(new Error("out of stock"));
      await run.sleep({ hours: 1 });
    });
    timed.rig.ledger.retry = { type: "never" };
    await timed.execute({}, 100);
    expect(timed.rig.ledger.error).toMatchObject({
      code: "UNHANDLED_REJECTION",
      message: expect.stringContaining("Await the promise"),
      cause: { message: "out of stock" },
    });
  });

  it("an unhandled rejection of a suspended handler claims its run again and fails it", async () => {
    const { ownerOfCurrentCode } = await import("../../packages/workflow/src/replay/points.ts");
    const timed = new Timed(async (run, plain) => {
      void plain("floating").then(() => ownerOfCurrentCode()?.reject(new Error("later")));
      await run.sleep({ hours: 1 });
    });
    timed.rig.ledger.retry = { type: "never" };
    await timed.execute({ floating: 200 }, 1_000);
    expect(timed.rig.ledger.error).toMatchObject({ code: "UNHANDLED_REJECTION" });
  });
});

describe("a schema that was tightened under a live run", () => {
  const accepting = z.object({ size: z.number() });
  const tightened = z.object({ size: z.number().max(10) });
  const version = (schema: z.ZodType) =>
    workflow({ name: "w" }).v("1", {
      events: { sized: event({ schema }) },
      handler: async (run) => {
        const data = await run.events.sized.wait().catch((error: { code: string }) => error.code);
        await run.sleep({ seconds: 1 });
        return data;
      },
    });

  const sized = async (schema: z.ZodType): Promise<ReplayRig> => {
    const rig = new ReplayRig(version(schema));
    await rig.replay();
    rig.ledger.event("sized", { size: 99 });
    await rig.resume();
    await rig.env.advance(1_000);
    rig.ledger.tick();
    rig.kill();
    return rig;
  };

  it("a stricter schema stalls the run at an accepted event, until the schema accepts it again", async () => {
    const rig = await sized(accepting);
    rig.definition = version(tightened);
    await rig.replay();
    expect(rig.end).toMatchObject({
      type: "stalled",
      stall: { reason: "schema_mismatch", call: "event:sized#0", error: { code: "SCHEMA_MISMATCH" } },
    });
    rig.definition = version(accepting);
    await rig.replay();
    expect(rig.output).toEqual({ size: 99 });
  });

  it("a stricter schema does not affect an event that was refused before", async () => {
    const rig = await sized(tightened);
    rig.definition = version(accepting);
    await rig.replay();
    expect(rig.output).toBe("SCHEMA_MISMATCH");
  });

  it("a stricter schema of the input stalls a run that has made calls", async () => {
    const of = (schema: z.ZodType<number>) =>
      workflow({ name: "w" }).v("1", {
        schema: { input: schema },
        handler: async (run, input: number) => {
          await run.step("a", () => 1);
          await run.sleep({ seconds: 1 });
          return input;
        },
      });
    const rig = new ReplayRig(of(z.number()), 99);
    await rig.replay();
    rig.kill();
    rig.ledger.status = "queued";
    rig.definition = of(z.number().max(10));
    await rig.replay();
    expect(rig.end).toMatchObject({ stall: { reason: "schema_mismatch", call: "input" } });
  });
});

describe("a report that is refused permanently", () => {
  it("after a permanent refusal, valid entries are recorded, and the run fails with the message", async () => {
    const child = workflow({ name: "child" }).v("1", { handler: async () => 1 });
    const v = workflow({ name: "w" }).v("1", {
      handler: async (run) => {
        await run.step("paid", () => "receipt");
        await child.startAsChild(run);
      },
    });
    const rig = new ReplayRig(v);
    const reports: Array<Omit<Report, "reportId" | "runId" | "fence">> = [];
    const execution = createExecution(v, {
      env: rig.env,
      logger: rig.logger,
      report: async (draft): Promise<ReportResult> => {
        reports.push(draft);
        if (draft.starts.length > 0) return { ok: false, code: "BAD_REQUEST", message: "a child cannot have this" };
        return rig.ledger.report(draft, 1);
      },
      mayBegin: () => true,
      reclaim: () => {},
      expecting: () => {},
      listening: () => {},
    });
    const end = await execution.run(rig.ledger.claim(undefined, null));
    expect(end).toMatchObject({ type: "finished", status: "failed", error: { code: "BAD_REQUEST" } });
    expect(rig.ledger.at("step:paid#0")?.value).toEqual({ type: "returned", output: '"receipt"' });
    expect(rig.ledger.error?.message).toBe("a child cannot have this");
    expect(reports.filter(({ entries }) => entries.length > 0)).toHaveLength(2);
  });
});

describe("a moment that has passed", () => {
  it("a negative sleep or timeout is zero, with a warning", async () => {
    const warnings: string[] = [];
    const timed = new Timed(async (run) => {
      await run.sleep({ milliseconds: -5_000 });
      const result = await run.events.stop.wait({ timeout: { seconds: -1 } });
      return result.timedOut;
    });
    const keep = (message: string): void => {
      warnings.push(message);
    };
    timed.rig.logger = { debug: () => {}, info: () => {}, warn: keep, error: () => {}, child: () => timed.rig.logger };
    await timed.execute({}, 10);
    for (let round = 0; round < 2; round++) {
      timed.rig.ledger.tick();
      await timed.rig.resume();
    }
    expect(timed.rig.output).toBe(true);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain("negative");
  });

  it("sleepUntil ends at once for a time in the past, and on time for one in the future", async () => {
    const timed = new Timed(async (run) => {
      const before = run.now();
      await run.sleepUntil(0);
      await run.sleepUntil("later", new Date(before + 3_000));
      return run.now() - before;
    });
    await timed.execute({}, 10);
    timed.rig.ledger.tick();
    await timed.rig.resume();
    await timed.elapse(3_000);
    await timed.rig.resume();
    expect(timed.rig.output).toBeGreaterThanOrEqual(3_000);
  });
});

describe("several open waits for one event", () => {
  it("several open waits for one event log one warning, and none if a race withdrew the earlier ones", async () => {
    const warnings: string[] = [];
    const warn = (message: string): void => {
      warnings.push(message);
    };
    const timed = new Timed(async (run) => {
      await run.race([run.events.go.wait(), run.sleep({ seconds: 1 })]);
      await run.race([run.events.go.wait(), run.sleep({ seconds: 1 })]);
      for (let round = 0; round < 3; round++) await Promise.race([run.events.stop.wait(), run.sleep({ seconds: 1 })]);
    });
    timed.rig.logger = { debug: () => {}, info: () => {}, warn, error: () => {}, child: () => timed.rig.logger };
    await timed.execute({}, 10);
    for (let round = 0; round < 5; round++) {
      await timed.elapse(1_000);
      await timed.rig.resume();
    }
    expect(timed.rig.ledger.status).toBe("completed");
    expect(warnings).toEqual([expect.stringContaining('several open waits for event "stop"')]);
  });
});

describe("a child whose reference is taken", () => {
  it("startAsChild throws if the reference id is taken, and the handler may continue", async () => {
    const child = workflow({ name: "child" }).v("1", { handler: async () => 1 });
    const v = workflow({ name: "w" }).v("1", {
      handler: async (run) => {
        const code = await child
          .startAsChild(run, undefined, { referenceId: "taken" })
          .then(() => "started")
          .catch((error: { code: string }) => error.code);
        return [code, await run.step("after", () => "after")];
      },
    });
    const rig = new ReplayRig(v);
    rig.ledger.conflict = { name: "AikiError", code: "REFERENCE_CONFLICT", message: "taken" };
    await rig.toEnd();
    expect(rig.output).toEqual(["REFERENCE_CONFLICT", "after"]);
    rig.ledger.status = "queued";
    rig.ledger.output = undefined;
    await rig.replay();
    expect(rig.output).toEqual(["REFERENCE_CONFLICT", "after"]);
  });
});
