import { describe, expect, it } from "vitest";
import { ReplayRig } from "../../test/rig.ts";
import { workflow } from "../definition/workflow.ts";

const child = workflow({ name: "child" }).v("2.0.0", {
  timeout: { hours: 1 },
  async handler(_run, input: { n: number }) {
    return { doubled: input.n * 2 };
  },
});

const parent = workflow({ name: "w" }).v("1", {
  async handler(run) {
    const handle = await child.startAsChild(run, { n: 2 });
    return handle.result();
  },
});

function only<Item>(items: Iterable<Item>): Item {
  const [first, ...others] = items;
  if (first === undefined || others.length > 0) throw new Error("not exactly one");
  return first;
}

describe("a child", () => {
  it("the start of a child is recorded before it resolves, and the child's end wakes its parent", async () => {
    const rig = new ReplayRig(parent);
    rig.held = [];
    await rig.replay();
    const [report] = rig.reports;
    expect(report).toMatchObject({
      next: { type: "continue" },
      starts: [{ spec: { name: "child", versionId: "2.0.0" } }],
    });
    expect(report?.starts[0]?.spec).toEqual({
      id: expect.stringMatching(/^01900000-0000-7/),
      name: "child",
      versionId: "2.0.0",
      input: '{"n":2}',
      timeoutMs: 3_600_000,
    });
    expect(rig.nexts).toHaveLength(1);
    await rig.answer();
    expect(rig.nexts).toEqual(["continue", "suspend"]);
    expect(rig.reports[1]?.next).toMatchObject({ type: "suspend", children: 1 });
    rig.held = null;
    rig.ledger.childEnds(only(rig.ledger.started.keys()), { type: "returned", output: '{"doubled":4}' });
    await rig.replay();
    expect(rig.output).toEqual({ doubled: 4 });
  });

  it("result throws the error and status of a child that failed or was cancelled, each time", async () => {
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const handle = await child.startAsChild(run, { n: 2 });
        const seen: unknown[] = [];
        for (let time = 0; time < 2; time++) {
          await handle.result().catch((error: { code: string; status: string; cause?: Error }) => {
            seen.push([error.code, error.status, error.cause?.message ?? null]);
          });
        }
        return seen;
      },
    });
    const own = { name: "RangeError", message: "too much" };
    const ends = [
      {
        error: { name: "ChildRunFailedError", code: "CHILD_RUN_FAILED", message: "m", cause: own },
        seen: ["failed", "too much"],
      },
      { error: { name: "ChildRunFailedError", code: "CHILD_RUN_CANCELLED", message: "m" }, seen: ["cancelled", null] },
    ];
    for (const { error, seen } of ends) {
      const rig = new ReplayRig(v);
      await rig.replay();
      rig.ledger.childEnds(only(rig.ledger.started.keys()), { type: "threw", error });
      await rig.resume();
      const once = ["CHILD_RUN_FAILED", ...seen];
      expect(rig.output).toEqual([once, once]);
    }
  });

  it("waitFor with a timeout resolves as reached, ended or timed out, and may be called again", async () => {
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const handle = await child.startAsChild(run, { n: 2 }, { referenceId: "r:1" });
        const first = await handle.waitFor("completed", { timeout: { minutes: 1 } });
        const second = await handle.waitFor("failed", { timeout: { minutes: 1 } });
        const third = await handle.waitFor("completed");
        return [first, second, third];
      },
    });
    for (const isCached of [true, false]) {
      const rig = new ReplayRig(v);
      await rig.replay();
      const address = only(rig.ledger.started.keys());
      expect(address).toBe("child:child:r%3a1#0");
      expect(rig.ledger.started.get(address)?.spec).toMatchObject({
        referenceId: "r:1",
        inputHash: expect.any(String),
      });
      expect(rig.ledger.waits).toMatchObject([{ address: `${address}/wait#0`, type: "child" }]);
      await rig.env.advance(60_000);
      rig.ledger.tick();
      await (isCached ? rig.resume() : rig.replay());
      expect(rig.reports.at(-1)?.next).toMatchObject({ type: "suspend", children: 1 });
      rig.ledger.childEnds(address, { type: "returned", output: '{"doubled":4}' });
      await (isCached ? rig.resume() : rig.replay());
      expect(rig.output).toEqual([
        { reached: false, reason: "timed_out" },
        { reached: false, reason: "ended", status: "completed" },
        { reached: true, status: "completed", output: { doubled: 4 } },
      ]);
    }
  });

  it("a wait for a child that timed out has timed out on replay, even if the child has ended since", async () => {
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const handle = await child.startAsChild(run, { n: 2 });
        const waited = await handle.waitFor("completed", { timeout: { minutes: 1 } });
        await run.sleep({ days: 1 });
        return waited;
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    await rig.env.advance(60_000);
    rig.ledger.tick();
    rig.ledger.childEnds(only(rig.ledger.started.keys()), { type: "returned", output: "1" });
    await rig.replay();
    expect(rig.reports.at(-1)).toMatchObject({ opens: [{ address: "sleep:#0" }], next: { type: "suspend" } });
    await rig.env.advance(86_400_000);
    rig.ledger.tick();
    await rig.replay();
    expect(rig.output).toEqual({ reached: false, reason: "timed_out" });
  });

  it("a run does not await a child whose wait timed out", async () => {
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const handle = await child.startAsChild(run, { n: 2 });
        await handle.waitFor("completed", { timeout: { minutes: 1 } });
        await run.sleep({ days: 1 });
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    await rig.env.advance(60_000);
    rig.ledger.tick();
    await rig.resume();
    expect(rig.reports.at(-1)?.next).toMatchObject({ type: "suspend", children: 0 });
  });

  it("ten children are started in one report", async () => {
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const inputs = Array.from({ length: 10 }, (_, n) => ({ n: n % 5 }));
        const handles = await Promise.all(inputs.map((input) => child.startAsChild(run, input)));
        return new Set(handles.map(({ id }) => id)).size;
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.output).toBe(10);
    expect(rig.reports.map(({ starts }) => starts.length)).toEqual([10, 0]);
  });

  it("a child is not started if its input does not fit the schema, and the refusal is recorded", async () => {
    const validate = (value: unknown) => (value === 1 ? { value } : { issues: [{ message: "not one" }] });
    const schema = { input: { "~standard": { version: 1 as const, vendor: "test", validate } } };
    const strict = workflow({ name: "strict" }).v("1", { schema, handler: async () => 1 });
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const refused = await strict.startAsChild(run, 2).catch((error: { code: string }) => error.code);
        await run.step("after", () => 1);
        await run.sleep({ seconds: 1 });
        return [refused, (await strict.startAsChild(run, 1)).id.length];
      },
    });
    const rig = new ReplayRig(v);
    await rig.toEnd();
    expect(rig.output).toEqual(["SCHEMA_MISMATCH", 36]);
    expect(rig.ledger.started.size).toBe(1);
  });

  it("startAsChild rejects invalid options", async () => {
    const bad: unknown[] = [{ priority: 2_000 }, { tags: [""] }, { at: Number.NaN }, { referenceId: "" }, { dealy: 1 }];
    bad.push({ onConflict: "error" }, { onParentEnd: "kill" }, { at: 1, delay: { seconds: 1 } });
    const v = workflow({ name: "w" }).v("1", {
      async handler(run) {
        const codes: string[] = [];
        for (const options of bad) {
          const start = Promise.resolve(Reflect.apply(child.startAsChild, child, [run, { n: 1 }, options]));
          await start.catch((error: { code: string }) => codes.push(error.code));
        }
        return codes;
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    expect(rig.output).toEqual(bad.map(() => "INVALID_OPTION"));
    expect(rig.ledger.entries).toEqual([]);
  });

  it("a child that failed in an earlier attempt is started again under another id", async () => {
    const ids: string[] = [];
    const v = workflow({ name: "w" }).v("1", {
      retry: { type: "fixed", maxAttempts: 2, delayMs: 1_000 },
      async handler(run) {
        const handle = await child.startAsChild(run, { n: 2 });
        ids.push(handle.id);
        return handle.result();
      },
    });
    const rig = new ReplayRig(v);
    await rig.replay();
    const address = only(rig.ledger.started.keys());
    rig.ledger.childEnds(address, { type: "threw", error: { name: "E", message: "no" } });
    await rig.resume();
    expect(rig.end).toMatchObject({ type: "finished", status: "retrying" });
    await rig.replay();
    expect(new Set(ids).size).toBe(2);
    rig.ledger.childEnds(address, { type: "returned", output: "1" });
    await rig.resume();
    expect(rig.output).toBe(1);
  });
});
