/** Why a run does not move, for each transport and each database. */

import { openedWaitAddress, retryAddress, tryAddress } from "@aikirun/lib/internal";
import type { Why } from "@aikirun/lib/protocol";
import { v7 } from "uuid";
import { expect, it } from "vitest";
import { awaits, type Stage } from "./actors.ts";

export function telling(make: () => Stage): void {
  const whyOf = async ({ api }: Stage, runId: string): Promise<Why> => {
    const { why } = await api.read({ runs: [], why: runId });
    if (why?.ok !== true) throw new Error(JSON.stringify(why));
    return why.why;
  };

  it("why follows a run through the child that it waits for to a task that is tried again", async () => {
    const stage = make();
    const parent = await stage.start();
    const worker = stage.worker();
    const child = stage.spec({ versionId: "2.0.0" });
    const claimed = await worker.claimOne();
    await worker.report(claimed, {
      starts: [{ address: "child:pay#0", spec: child }],
      entries: [{ address: openedWaitAddress("child:pay#0/wait#0"), value: { type: "asked" } }],
      next: { type: "suspend", children: 1 },
    });
    const error = { name: "Error", message: "card declined", stack: "at charge\n".repeat(1_000) };
    const value = { type: "retrying", error, retryInMs: 3_600_000, maxAttempts: 5 } as const;
    const retry = {
      address: retryAddress("task:charge#0", 2),
      type: "retry",
      name: "charge",
      durationMs: 3_600_000,
    } as const;
    await worker.report(await worker.claimOne({ serves: [{ name: stage.name, versionId: "2.0.0" }] }), {
      entries: [{ address: tryAddress("task:charge#0", 2), value }],
      opens: [retry],
      next: { type: "suspend", children: 0 },
    });
    const { at, text, links } = await whyOf(stage, parent);
    const [first, second] = links;
    expect(links).toHaveLength(2);
    expect(first).toMatchObject({
      runId: parent,
      status: "awaiting_child_workflow",
      reason: "awaiting_child",
      until: null,
    });
    expect(second).toMatchObject({ runId: child.id, status: "awaiting_retry", reason: "awaiting_task" });
    expect(second?.until).toBeGreaterThan(at);
    expect(second?.since).toBeLessThanOrEqual(at);
    expect(text).toContain(`Waits for child ${child.id}`);
    expect(text).toMatch(
      /Waits for attempt 3 of 5 of task charge \(begins in \d+ minutes; attempt 2 failed: card declined/,
    );
  });

  it("why names who paused a run, and the versions that are served of a queued one", async () => {
    const stage = make();
    const paused = await stage.start();
    const pause = { type: "pause", reason: "no stock" } as const;
    await stage.api.signal({ signals: [{ signalId: v7(), runId: paused, by: "alice", signal: pause }] });
    const { text, links } = await whyOf(stage, paused);
    // A server that requires API keys names the key instead.
    expect(text).toMatch(/^Paused by .+ \(no stock\); resume continues it\./);
    expect(links).toMatchObject([{ reason: "paused", until: null }]);
    const queued = await stage.start({ versionId: "3.0.0" });
    await stage.worker().claim();
    expect((await whyOf(stage, queued)).text).toContain(
      `no live worker serves ${stage.name}@3.0.0 (served: ${stage.name}@1.0.0)`,
    );
  });

  it("why tells since when a run waits, also after it was resumed in between", async () => {
    const stage = make();
    const id = await stage.start();
    const worker = stage.worker();
    const opens = [awaits("approved"), awaits("paid")];
    await worker.report(await worker.claimOne(), { opens, next: { type: "suspend", children: 0 } });
    const since = (await whyOf(stage, id)).links[0]?.since;
    await stage.signal(id, { type: "event", name: "approved" });
    await worker.report(await worker.claimOne(), { next: { type: "suspend", children: 0 } });
    const after = await whyOf(stage, id);
    expect(after.text).toMatch(/^Waits for event paid \(for /);
    expect(after.links[0]?.since).toBe(since);
  });

  it("why of a run that does not exist is rejected", async () => {
    const { why } = await make().api.read({ runs: [], why: v7() });
    expect(why).toMatchObject({ ok: false, code: "RUN_NOT_FOUND" });
  });
}
