import { virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { codes, rig, workerFields } from "../../test/rig.ts";
import { go, returned } from "../../test/runs.ts";
import { memoryStorage } from "../storage/memory/memory.ts";
import type { Reader, Storage } from "../storage/storage.ts";

/** A server on a database that can be replaced by another one, which raises the fence floor. */
function onReplaceable() {
  const env = virtualEnv();
  let now: Storage = memoryStorage({ env });
  let floor = 0;
  const at = <Some extends Reader>(reader: Some, fenceFloor: number): Some =>
    Object.assign(reader, { fenceFloor: () => fenceFloor });
  const inner: Storage = {
    transaction: (work) => now.transaction((transaction) => work(at(transaction, floor))),
    read: (work) => now.read((reader) => work(at(reader, floor))),
    close: () => now.close(),
  };
  const replace = (by: Storage, fenceFloor: number) => {
    now = by;
    floor = fenceFloor;
  };
  return { ...rig({ env, inner }), raise: (to: number) => replace(now, to), replace };
}

describe("a server whose database was replaced", () => {
  it("after its database was replaced, a server answers nothing from cached rows of lost runs", async () => {
    const { openSession, env, replace, api } = onReplaceable();
    const session = openSession();
    const id = await session.start();
    await session.report(await session.claimOne(), { type: "finish", outcome: { status: "completed" } });
    const watched = [{ type: "status" as const, runId: id, statuses: [] }];
    expect((await api.watch({ watched, waitMs: 0 })).results).toMatchObject([{ type: "status" }]);
    replace(memoryStorage({ env }), 5);
    await api.find({});
    expect((await api.watch({ watched, waitMs: 0 })).results).toEqual([
      { type: "lost", runId: id, code: "RUN_NOT_FOUND" },
    ]);
  });

  it("after its database was replaced, a server finds queued runs without a notification", async () => {
    const { openSession, env, replace } = onReplaceable();
    const session = openSession();
    expect(await session.claim()).toEqual([]);
    const other = memoryStorage({ env });
    const id = await rig({ env, inner: other }).openSession().start();
    replace(other, 5);
    await session.read(id);
    expect(await session.claim()).toMatchObject([{ id, fence: 6 }]);
  });

  it("after its database was replaced, a server refuses the former holder, and claims above the floor", async () => {
    const { openSession, engine, env, raise } = onReplaceable();
    await engine.start();
    const [session, otherSession] = [openSession(), openSession()];
    const id = await session.start();
    const run = await session.claimOne({ leaseMs: 30_000 });
    const renewal = { session: session.id, ...workerFields, leaseMs: 30_000, runs: [{ runId: id, fence: run.fence }] };
    expect(codes((await session.api.renew(renewal)).results)).toEqual(["ok"]);
    await env.advance(20_000);
    raise(5);
    expect(codes(await session.send(session.reporting(run, go, { entries: [returned("task:a#0")] })))).toEqual([
      "FENCED",
    ]);
    expect(codes((await session.api.renew(renewal)).results)).toEqual(["FENCED"]);
    await env.advance(25_000);
    expect(await otherSession.claim()).toEqual([]);
    await env.advance(10_000);
    expect(await otherSession.claim()).toMatchObject([{ id, fence: 6, lostLeases: 0 }]);
    await engine.close();
  });
});
