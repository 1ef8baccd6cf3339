/**
 * Two servers on one PostgreSQL that lock the same runs at the same time: claims and ticks skip locked rows, so that no
 * two transactions wait for each other.
 */

import { silentLogger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { v7 } from "uuid";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../packages/server/src/engine/engine.ts";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import type { Storage, Transaction } from "../../packages/server/src/storage/storage.ts";
import { testDatabase } from "../real/postgres.ts";
import { Stage, types } from "./actors.ts";

const database = await testDatabase();
const env = systemEnv({ id: v7 });
afterAll(() => database?.drop());

/** The query by which a transaction found and locked a run. */
type FoundBy = "queued" | "due";

interface GatedServer {
  engine: Engine;
  stage: Stage;
  /** Whether this server ticks runs that are due. */
  ticks: boolean;
  /** The number of transactions that began to write. */
  attempts: number;
  /** Called once, after a transaction has locked this run. */
  onHeld: { found: FoundBy; id: string; go: () => Promise<void> } | null;
}

describe.skipIf(database === null)("two servers that lock the same runs", () => {
  if (database === null) return;
  const ends: Array<() => Promise<void>> = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });

  async function startServer(name: string): Promise<GatedServer> {
    const inner = await openPostgres({ url: database?.url ?? "", connections: 4 });
    const engine = createEngine({
      storage: {
        transaction: (work) => inner.transaction((transaction) => work(watched(transaction, server))),
        read: (work) => inner.read(work),
        close: () => inner.close(),
      } satisfies Storage,
      env,
      logger: silentLogger,
    });
    const stage = Object.assign(new Stage(engine.api("default")), { name });
    const server: GatedServer = { engine, stage, ticks: true, attempts: 0, onHeld: null };
    ends.push(async () => {
      await engine.close();
      await inner.close();
    });
    return server;
  }

  /** Resolves when a transaction of this database waits for a lock. */
  async function untilBlocked(): Promise<void> {
    const waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for (;;) if (((await database?.sql(waiting)) ?? []).length > 0) return;
  }

  it("a claim and a signal commit at the first attempt while another server signals the same runs", async () => {
    const name = `workflow ${v7()}`;
    const [here, there] = [await startServer(name), await startServer(name)];
    here.ticks = there.ticks = false;
    const started = [await here.stage.start(), await here.stage.start()].sort();
    const [low = "", high = ""] = started;
    const held = await here.stage.worker().claim({ limit: 1 });
    expect(held.map(({ id }) => id)).toEqual([low]);
    const event = { type: "event", name: "e", data: "1" } as const;
    let otherSignals: Promise<unknown> = Promise.resolve();
    here.onHeld = {
      found: "queued",
      id: high,
      // The other server has locked the lower run and waits for the higher one, unless this server locked it before.
      go: async () => {
        const signals = [low, high].map((runId) => ({ signalId: v7(), runId, signal: event }));
        otherSignals = there.stage.api.signal({ signals });
        await untilBlocked();
      },
    };
    [here.attempts, there.attempts] = [0, 0];
    const [claimed, signalled] = await Promise.all([
      here.stage.worker().claim({ limit: 1 }),
      here.stage.signal(low, event),
    ]);
    await otherSignals;
    expect([claimed.map(({ id }) => id), signalled.ok]).toEqual([[high], true]);
    expect(here.attempts).toBe(1);
    // Its rows changed while it waited for their locks, so it decides again.
    expect(there.attempts).toBe(2);
    for (const id of [low, high]) {
      const arrived = types(await there.stage.entries(id)).filter((type) => type === "arrived");
      expect(arrived).toHaveLength(id === low ? 2 : 1);
    }
  });

  it("a child whose timeout is due is ticked while another server ends its parent, without a deadlock", async () => {
    const name = `workflow ${v7()}`;
    const [here, there] = [await startServer(name), await startServer(name)];
    there.ticks = false;
    const parent = await there.stage.start();
    const worker = there.stage.worker();
    const run = await worker.claimOne();
    const child = there.stage.spec({ timeoutMs: 300 });
    await worker.report(run, {
      starts: [{ address: "child:c#0", spec: child }],
      opens: [{ address: "child:c#0", type: "child", durationMs: null }],
      next: { type: "suspend", children: 1 },
    });
    let otherSignals: Promise<unknown> = Promise.resolve();
    const ticked = new Promise<void>((resolve) => {
      here.onHeld = {
        found: "due",
        id: child.id,
        // The other server has locked the parent and waits for the child.
        go: async () => {
          there.attempts = 0;
          otherSignals = there.stage.signal(parent, { type: "cancel" });
          await untilBlocked();
          resolve();
        },
      };
    });
    await here.engine.start();
    await ticked;
    await otherSignals;
    // In a deadlock PostgreSQL would have aborted one of the two transactions.
    expect(there.attempts).toBe(1);
    const ended = await Promise.all([parent, child.id].map((id) => there.stage.view(id)));
    expect(ended.map(({ status }) => status)).toEqual(["cancelled", "cancelled"]);
  });
});

function watched(transaction: Transaction, server: GatedServer): Transaction {
  let hasWritten = false;
  const pause = async (found: FoundBy, ids: readonly string[]): Promise<void> => {
    const { onHeld } = server;
    if (onHeld?.found !== found || !ids.includes(onHeld.id)) return;
    server.onHeld = null;
    await onHeld.go();
  };
  const changed: Partial<Transaction> = {
    async queued(filter, limit) {
      const found = await transaction.queued(filter, limit);
      await pause("queued", found.ids);
      return found;
    },
    async due(now, limit) {
      const ids = server.ticks ? await transaction.due(now, limit) : [];
      await pause("due", ids);
      return ids;
    },
    save(batch) {
      server.attempts += hasWritten ? 0 : 1;
      hasWritten = true;
      return transaction.save(batch);
    },
  };
  return new Proxy(transaction, {
    get(target, property) {
      const value: unknown = Reflect.get(changed, property) ?? Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
