/**
 * Two servers on one PostgreSQL that hand out and tick what nobody else holds, in the same moment in which they are
 * asked to change what the other holds: neither waits for one that waits for it.
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

/** The moment after a transaction of this server has been given runs to hold. */
type HeldMoment = "queued" | "due";

interface Placed {
  engine: Engine;
  stage: Stage;
  /** Whether its clock finds what is due. */
  ticks: boolean;
  /** Transactions that came as far as to write. */
  tries: number;
  /** Called once, when this run is held that was found in this way. */
  whenHeld: { found: HeldMoment; id: string; go: () => Promise<void> } | null;
}

describe.skipIf(database === null)("servers that meet on one PostgreSQL", () => {
  if (database === null) return;
  const ends: Array<() => Promise<void>> = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });

  async function place(name: string): Promise<Placed> {
    const inner = await openPostgres({ url: database?.url ?? "", connections: 4 });
    const engine = createEngine({
      storage: {
        transaction: (work) => inner.transaction((transaction) => work(watched(transaction, placed))),
        read: (work) => inner.read(work),
        close: () => inner.close(),
      } satisfies Storage,
      env,
      logger: silentLogger,
    });
    const stage = Object.assign(new Stage(engine.api("default")), { name });
    const placed: Placed = { engine, stage, ticks: true, tries: 0, whenHeld: null };
    ends.push(async () => {
      await engine.close();
      await inner.close();
    });
    return placed;
  }

  /** Resolves when a transaction of this database waits for a lock. */
  async function somebodyWaits(): Promise<void> {
    const waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for (;;) if (((await database?.sql(waiting)) ?? []).length > 0) return;
  }

  it("decide a claim and a signal beside signals to the same two runs, each at the first try", async () => {
    const name = `workflow ${v7()}`;
    const [here, there] = [await place(name), await place(name)];
    here.ticks = there.ticks = false;
    const started = [await here.stage.start(), await here.stage.start()].sort();
    const [low = "", high = ""] = started;
    const held = await here.stage.worker().claim({ limit: 1 });
    expect(held.map(({ id }) => id)).toEqual([low]);
    const event = { type: "event", name: "e", data: "1" } as const;
    let beside: Promise<unknown> = Promise.resolve();
    here.whenHeld = {
      found: "queued",
      id: high,
      // The other server holds the lower run by now, and waits for the higher one, unless this one was there before.
      go: async () => {
        const signals = [low, high].map((runId) => ({ signalId: v7(), runId, signal: event }));
        beside = there.stage.api.signal({ signals });
        await somebodyWaits();
      },
    };
    [here.tries, there.tries] = [0, 0];
    const [claimed, signalled] = await Promise.all([
      here.stage.worker().claim({ limit: 1 }),
      here.stage.signal(low, event),
    ]);
    await beside;
    expect([claimed.map(({ id }) => id), signalled.ok]).toEqual([[high], true]);
    expect(here.tries).toBe(1);
    // Its rows moved on while it waited for them, so it decides once more.
    expect(there.tries).toBe(2);
    for (const id of [low, high]) {
      const arrived = types(await there.stage.entries(id)).filter((type) => type === "arrived");
      expect(arrived).toHaveLength(id === low ? 2 : 1);
    }
  });

  it("tick a child whose time is up beside the end of its parent, which waits for nobody", async () => {
    const name = `workflow ${v7()}`;
    const [here, there] = [await place(name), await place(name)];
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
    let beside: Promise<unknown> = Promise.resolve();
    const ticked = new Promise<void>((resolve) => {
      here.whenHeld = {
        found: "due",
        id: child.id,
        // It holds the parent, and waits for the child that is about to be ticked.
        go: async () => {
          there.tries = 0;
          beside = there.stage.signal(parent, { type: "cancel" });
          await somebodyWaits();
          resolve();
        },
      };
    });
    await here.engine.start();
    await ticked;
    await beside;
    // Of two who wait for one another PostgreSQL would have sent back the one that began to.
    expect(there.tries).toBe(1);
    const ended = await Promise.all([parent, child.id].map((id) => there.stage.view(id)));
    expect(ended.map(({ status }) => status)).toEqual(["cancelled", "cancelled"]);
  });
});

function watched(transaction: Transaction, placed: Placed): Transaction {
  let hasWritten = false;
  const pause = async (found: HeldMoment, ids: readonly string[]): Promise<void> => {
    const { whenHeld } = placed;
    if (whenHeld?.found !== found || !ids.includes(whenHeld.id)) return;
    placed.whenHeld = null;
    await whenHeld.go();
  };
  const changed: Partial<Transaction> = {
    async queued(filter, limit) {
      const found = await transaction.queued(filter, limit);
      await pause("queued", found.ids);
      return found;
    },
    async due(now, limit) {
      const ids = placed.ticks ? await transaction.due(now, limit) : [];
      await pause("due", ids);
      return ids;
    },
    save(batch) {
      placed.tries += hasWritten ? 0 : 1;
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
