import { limits } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { rig } from "../../test/rig.ts";
import { complete, sleeps, suspend } from "../../test/runs.ts";

function opened(count: number, durationMs: (n: number) => number) {
  return Array.from({ length: count }, (_, n) => ({
    ...sleeps(durationMs(n), `sleep:#${n}`),
    callSite: { madeAfter: 0, identity: `i${n}` },
  }));
}

describe("ten thousand open sleeps of one run", () => {
  const all = limits.openWaits;

  it("ten thousand open sleeps of one run are allowed, and end in one tick and one claim", async () => {
    const { openSession, engine, env, storage } = rig();
    await engine.start();
    const session = openSession();
    const id = await session.start();
    await session.report(await session.claimOne(), suspend, { opens: opened(all, () => 60_000) });
    expect((await session.read(id)).run).toMatchObject({ status: "sleeping", waits: { length: 100 } });
    storage.takeCounts();
    await env.advance(60_000);
    expect(storage.takeCounts()).toMatchObject({ updates: 1, entries: all });
    const again = await session.claimOne();
    expect(again).toMatchObject({ isCached: true, journal: { length: all } });
    await session.report(again, complete);
    await engine.close();
  });

  it("ten thousand open sleeps end a few at a time while the run stays suspended, none of them early", async () => {
    const dueAfter = (n: number) => 1_000 + 100 * Math.floor(n / 50);
    const { openSession, engine, env } = rig();
    await engine.start();
    const session = openSession();
    const id = await session.start();
    const beginning = env.now();
    await session.report(await session.claimOne(), suspend, { opens: opened(all, dueAfter) });
    const ended = new Map<string, number>();
    while (ended.size < all) {
      await env.advance(5_000);
      const run = await session.claimOne();
      for (const { address, at } of run.journal) {
        ended.set(address, at - beginning);
      }
      const rest = ended.size < all ? suspend : complete;
      await session.report(run, rest, { after: run.journal.at(-1)?.seq ?? 0 });
    }
    expect(await session.status(id)).toBe("completed");
    expect([...ended].every(([address, after]) => after >= dueAfter(Number(address.slice(7))))).toBe(true);
    await engine.close();
  });

  it("one more than ten thousand waits ends the run, and the error says what to do", async () => {
    const session = rig().openSession();
    const id = await session.start();
    await session.report(await session.claimOne(), suspend, { opens: opened(all + 1, () => 60_000) });
    const { outcome } = (await session.read(id)).run;
    expect(outcome).toMatchObject({ status: "failed", error: { code: "TOO_MANY_WAITS" } });
    expect(outcome?.status === "failed" && outcome.error.message).toBe(
      "The run has 10001 waits open at once; 10000 are allowed. Wait for fewer at once, or withdraw the waits that " +
        "are no longer needed: with a signal, or by run.race instead of Promise.race.",
    );
  });
});
