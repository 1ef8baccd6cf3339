import { NonRetryableError, type RetryPolicy, TaskFailedError } from "@aikirun/lib";
import { describe, expect, it } from "vitest";
import { ReplayRig } from "../../test/rig.ts";
import { workflow } from "../definition/workflow.ts";

const short: RetryPolicy = { type: "fixed", maxAttempts: 3, delayMs: 400 };
const long: RetryPolicy = { type: "fixed", maxAttempts: 3, delayMs: 60_000 };

/** A workflow of one step that fails `fails` times; its output is the step's result or error. */
function flaky(fails: number, retry: RetryPolicy, tries: number[], thrown: () => unknown = () => new Error("no")) {
  return workflow({ name: "w" }).v("1", {
    async handler(run) {
      try {
        return await run.step(
          "s",
          ({ attempt }) => {
            tries.push(attempt);
            if (attempt <= fails) throw thrown();
            return attempt;
          },
          { retry },
        );
      } catch (error) {
        if (!(error instanceof TaskFailedError) || !(error.cause instanceof Error)) throw error;
        return { code: error.code, cause: error.cause.message, name: error.cause.name };
      }
    },
  });
}

describe("a task that fails", () => {
  it("a failed task is tried again after a short delay that holds the slot", async () => {
    const tries: number[] = [];
    const rig = new ReplayRig(flaky(2, short, tries));
    await rig.replay();
    expect(tries).toEqual([1]);
    await rig.env.advance(399);
    expect(tries).toEqual([1]);
    await rig.env.advance(401);
    expect(rig.output).toBe(3);
    expect(rig.nexts).toEqual(["continue", "continue", "finish"]);
    expect(rig.ledger.entries.map(({ address, value }) => [address, value.type])).toEqual([
      ["step:s#0/1", "retrying"],
      ["step:s#0/2", "retrying"],
      ["step:s#0", "returned"],
    ]);
  });

  it("a failed task with a long delay suspends the run, which continues with the next try", async () => {
    for (const isCached of [true, false]) {
      const tries: number[] = [];
      const rig = new ReplayRig(flaky(2, long, tries));
      await rig.toEnd({ isCached });
      expect(rig.output).toBe(3);
      expect(tries).toEqual([1, 2, 3]);
      expect(rig.nexts).toEqual(["suspend", "suspend", "finish"]);
      expect(rig.reports[0]?.opens).toMatchObject([
        { address: "step:s#0/1/retry", type: "retry", name: "s", durationMs: 60_000 },
      ]);
      expect(rig.env.now() - 1_000_000).toBe(120_000);
    }
  });

  it("after a crash, a short retry delay begins again, and the tries are still counted", async () => {
    const tries: number[] = [];
    const rig = new ReplayRig(flaky(2, short, tries));
    await rig.replay();
    rig.kill();
    await rig.replay();
    await rig.env.advance(399);
    expect(tries).toEqual([1]);
    await rig.env.advance(401);
    expect(tries).toEqual([1, 2, 3]);
    expect(rig.output).toBe(3);
  });

  it("after a crash, a long retry delay is opened again without another try", async () => {
    const tries: number[] = [];
    const rig = new ReplayRig(flaky(1, long, tries));
    await rig.replay();
    rig.kill();
    rig.ledger.status = "queued";
    await rig.replay();
    expect(rig.end).toEqual({ type: "suspended" });
    expect(tries).toEqual([1]);
    expect(rig.ledger.waits).toHaveLength(1);
    await rig.env.advance(60_000);
    rig.ledger.tick();
    await rig.resume();
    expect(rig.output).toBe(2);
  });

  it("a task that fails its last try throws TaskFailedError with the last error as cause, also on replay", async () => {
    const tries: number[] = [];
    const v = flaky(
      9,
      { type: "fixed", maxAttempts: 2, delayMs: 0 },
      tries,
      () => new RangeError(`no ${tries.length}`),
    );
    const rig = new ReplayRig(v);
    await rig.replay();
    await rig.env.advance(0);
    const seen = { code: "TASK_FAILED", cause: "no 2", name: "RangeError" };
    expect(rig.output).toEqual(seen);
    const again = new ReplayRig(v);
    again.ledger.entries.push(...rig.ledger.entries);
    await again.replay();
    expect(again.output).toEqual(seen);
    expect(tries).toHaveLength(2);
  });

  it("a task is not tried again after a NonRetryableError", async () => {
    const tries: number[] = [];
    const rig = new ReplayRig(flaky(9, short, tries, () => new NonRetryableError("never")));
    await rig.replay();
    expect(tries).toEqual([1]);
    expect(rig.output).toEqual({ code: "TASK_FAILED", cause: "never", name: "NonRetryableError" });
  });

  it("a task that times out has its signal aborted, and its late result is ignored", async () => {
    const signals: AbortSignal[] = [];
    const lates: Array<(value: string) => void> = [];
    const v = workflow({ name: "w" }).v("1", {
      handler: (run) =>
        run.step(
          "s",
          ({ signal, attempt }) => {
            signals.push(signal);
            return attempt === 2 ? "second" : new Promise<string>((resolve) => lates.push(resolve));
          },
          { timeout: { seconds: 5 }, retry: short },
        ),
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    await rig.env.advance(4_999);
    expect(signals[0]?.aborted).toBe(false);
    await rig.env.advance(1);
    expect(signals[0]?.reason).toMatchObject({ name: "TaskTimeoutError", code: "TASK_TIMED_OUT" });
    lates[0]?.("late");
    await rig.env.advance(400);
    expect(rig.output).toBe("second");
    expect(rig.ledger.entries).toHaveLength(2);
  });

  it("a task has one idempotency key for all its tries and workers", async () => {
    const keys: string[] = [];
    const v = workflow({ name: "w" }).v("1", {
      handler: (run) =>
        run.step(
          "s",
          ({ idempotencyKey, fence, attempt }) => {
            keys.push(`${idempotencyKey} ${fence}`);
            if (attempt < 3) throw new Error("no");
          },
          { retry: long },
        ),
    });
    const rig = new ReplayRig(v);
    await rig.toEnd();
    const [key] = keys[0]?.split(" ") ?? [];
    expect(key).toMatch(/^01900000-0000-7000-8000-000000000001:step:s@/);
    expect(keys).toEqual([`${key} 1`, `${key} 2`, `${key} 3`]);
  });
});

describe("a run that fails", () => {
  it("a failed run gets another attempt, which reuses successes and retries failures", async () => {
    const begun: string[] = [];
    const v = workflow({ name: "w" }).v("1", {
      retry: { type: "fixed", maxAttempts: 2, delayMs: 5_000 },
      async handler(run) {
        await run.step("a", () => void begun.push(`a${run.attempt}`));
        await run.sleep({ seconds: 1 });
        await run.step("b", () => {
          begun.push(`b${run.attempt}`);
          if (run.attempt === 1) throw new Error("first");
        });
        return run.attempt;
      },
    });
    const rig = new ReplayRig(v);
    await rig.toEnd();
    expect(rig.output).toBe(2);
    expect(begun).toEqual(["a1", "b1", "b2"]);
    expect(rig.reports.find(({ next }) => next.type === "finish")?.next).toMatchObject({
      outcome: { status: "failed", retryInMs: 5_000, error: { code: "TASK_FAILED" } },
    });
  });

  it("entries of an earlier attempt cause no divergence, and task delays restart", async () => {
    const tries: string[] = [];
    const v = workflow({ name: "w" }).v("1", {
      retry: { type: "fixed", maxAttempts: 2, delayMs: 1_000 },
      async handler(run) {
        if (run.attempt === 1) await run.step("only in the first", () => 1);
        await run.step(
          "s",
          ({ attempt }) => {
            tries.push(`${run.attempt}.${attempt}`);
            if (attempt < 3 || run.attempt === 1) throw new Error("no");
          },
          { retry: long },
        );
      },
    });
    const rig = new ReplayRig(v);
    await rig.toEnd();
    expect(rig.ledger.status).toBe("completed");
    expect(tries).toEqual(["1.1", "1.2", "1.3", "2.1", "2.2", "2.3"]);
    expect(rig.env.now() - 1_000_000).toBe(240_000);
  });

  it("a paused later attempt opens no wait before the recorded values, so races keep their winners", async () => {
    const v = workflow({ name: "w" }).v("1", {
      retry: { type: "fixed", maxAttempts: 2, delayMs: 1_000 },
      async handler(run) {
        await run.step("first", () => 1);
        if (run.attempt === 2) rig.execution?.release("paused");
        await Promise.race([run.step("fast", () => 2), run.sleep({ minutes: 1 })]);
        throw new Error("once more");
      },
    });
    const rig: ReplayRig = new ReplayRig(v);
    await rig.replay();
    expect(rig.end).toMatchObject({ type: "finished", status: "retrying" });
    await rig.env.advance(1_000);
    const before = rig.reports.length;
    await rig.replay();
    const reports = rig.reports.slice(before);
    expect(reports.at(-1)?.next).toEqual({ type: "release", reason: "paused" });
    expect(reports.flatMap(({ opens }) => opens)).toEqual([]);
  });

  it("the retry policy of a start overrides that of the version", async () => {
    const v = workflow({ name: "w" }).v("1", {
      retry: { type: "fixed", maxAttempts: 5, delayMs: 5_000 },
      handler: () => {
        throw new Error("no");
      },
    });
    const rig = new ReplayRig(v);
    rig.ledger.retry = { type: "never" };
    await rig.replay();
    expect(rig.end).toMatchObject({ type: "finished", status: "failed" });
    const own = new ReplayRig(v);
    await own.replay();
    expect(own.end).toMatchObject({ type: "finished", status: "retrying" });
  });

  it("a run is not retried after a non-retryable error of its handler or a task", async () => {
    const throws = (): never => {
      throw new NonRetryableError("never");
    };
    const retry: RetryPolicy = { type: "fixed", maxAttempts: 5, delayMs: 5_000 };
    const versions = [
      workflow({ name: "w" }).v("1", { retry, handler: throws }),
      workflow({ name: "w" }).v("1", { retry, handler: (run) => run.step("s", throws) }),
      workflow({ name: "w" }).v("1", { retry, handler: () => new Date() }),
    ];
    for (const version of versions) {
      const rig = new ReplayRig(version);
      await rig.replay();
      expect(rig.end).toMatchObject({ type: "finished", status: "failed" });
    }
  });
});
