import { limits, type RunStatus } from "@aikirun/lib/protocol";
import { uuid } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { type EngineRig, rig, workerFields } from "../../test/rig.ts";
import { aRun, awaitingChild, queued, running, sleeping } from "../../test/runs.ts";
import type { Run, State, Wait } from "../core/run.ts";

const count = 8;
const ids = Array.from({ length: count }, (_, n) => uuid(100 + n));
/** About 2.9 MB of JSON, so a transaction may load two or three of these rows. */
const waits = Array.from(
  { length: limits.openWaits },
  (_, n): Wait => ({ address: `event:${"e".repeat(187)}#${n}`, type: "event", name: "e", openedAt: 0, until: null }),
);
/** The most that a transaction or a read loads: the budget, and what it does not count. In characters. */
const maxLoaded = limits.replyBytes + 1_000_000;

function heavy(id: string, state: State, more: Partial<Run> = {}): Run {
  return { ...aRun(state, { id, versionId: "1", tail: 0, waits, ...more }), input: null };
}

async function insert({ storage }: EngineRig, runs: Run[]): Promise<void> {
  await storage.transaction((transaction) => transaction.insert(runs));
}

async function statuses({ api }: EngineRig, of: readonly string[]): Promise<RunStatus[]> {
  const found: RunStatus[] = [];
  while (found.length < of.length) {
    const { results } = await api.read({ runs: of.slice(found.length).map((runId) => ({ runId })) });
    found.push(...results.flatMap((result) => (result.ok ? [result.run.status] : [])));
  }
  return found;
}

function all(status: RunStatus): RunStatus[] {
  return ids.map(() => status);
}

describe("heavy rows", () => {
  it("rows with ten thousand waits are loaded a few at a time by concurrent signals", async () => {
    const server = rig();
    await insert(
      server,
      ids.map((id) => heavy(id, sleeping)),
    );
    const signal = { type: "event", name: "e" } as const;
    const { results } = await server.api.signal({
      signals: ids.map((runId, n) => ({ signalId: uuid(n), runId, signal })),
    });
    expect(results.map((result) => (result.ok ? result.status : result.code))).toEqual(all("queued"));
    expect(server.storage.takeCounts().characters).toBeLessThan(maxLoaded);
  });

  it("rows with ten thousand waits are loaded a few at a time by claims, until all are taken", async () => {
    const server = rig();
    await insert(
      server,
      ids.map((id) => heavy(id, queued)),
    );
    const session = server.openSession();
    const taken = new Set<string>();
    for (let claims = 0; claims < count && taken.size < count; claims++) {
      for (const { id } of await session.claim({ limit: 100 })) taken.add(id);
    }
    expect([...taken].sort()).toEqual(ids);
    expect(server.storage.takeCounts().characters).toBeLessThan(maxLoaded);
  });

  it("rows with ten thousand waits are loaded a few at a time by the clock, also for their parents", async () => {
    const server = rig();
    const parents = ids.map((_, n) => uuid(200 + n));
    const dueAt = server.env.now() + 50;
    await insert(
      server,
      parents.map((id) => heavy(id, awaitingChild)),
    );
    await insert(
      server,
      ids.map((id, n) => ({
        ...heavy(id, sleeping, { parent: { id: parents[n] ?? "", address: "child:x#0" } }),
        timeoutAt: dueAt,
        dueAt,
      })),
    );
    await server.engine.start();
    await server.env.advance(1_000);
    expect(await statuses(server, ids)).toEqual(all("failed"));
    expect(await statuses(server, parents)).toEqual(all("queued"));
    expect(server.storage.takeCounts().characters).toBeLessThan(2 * maxLoaded);
    await server.engine.close();
  });

  it("rows with ten thousand waits are loaded a few at a time when their parent ends", async () => {
    const server = rig();
    const parent = uuid(50);
    await insert(server, [{ ...heavy(parent, awaitingChild, { children: count }), waits: [] }]);
    await insert(
      server,
      ids.map((id) => heavy(id, sleeping, { parent: { id: parent, address: `child:${id}#0` } })),
    );
    await server.engine.start();
    await server.openSession().signal(parent, { type: "cancel" });
    await server.env.advance(1_000);
    expect(await statuses(server, ids)).toEqual(all("cancelled"));
    expect(server.storage.takeCounts().characters).toBeLessThan(maxLoaded);
    await server.engine.close();
  });

  it("rows with ten thousand waits are loaded a few at a time when their session ends", async () => {
    const server = rig();
    const session = "session-1";
    await insert(
      server,
      ids.map((id) => heavy(id, running())),
    );
    await server.api.renew({ ...workerFields, session, runs: [], leaving: true });
    expect(await statuses(server, ids)).toEqual(all("queued"));
    expect(server.storage.takeCounts().characters).toBeLessThan(maxLoaded);
  });

  it("rows with ten thousand waits are loaded a few at a time by a read and by a watch", async () => {
    const server = rig();
    await insert(
      server,
      ids.map((id, n) => heavy(id, n < count - 1 ? sleeping : queued)),
    );
    expect(await statuses(server, ids)).toEqual([...all("sleeping").slice(1), "queued"]);
    const watched = ids.map((runId) => ({ type: "status" as const, runId, statuses: ["queued" as const] }));
    const { results } = await server.api.watch({ watched, waitMs: 0 });
    expect(results.map((result) => (result.type === "status" ? result.run.id : result.type))).toEqual(ids.slice(-1));
    expect(server.storage.takeCounts().characters).toBeLessThan(maxLoaded);
  });
});
