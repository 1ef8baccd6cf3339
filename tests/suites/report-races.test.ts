/** A server that replies to a report while another server records entries of the run between two of its statements. */

import { silentLogger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import type { Entry } from "@aikirun/lib/protocol";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../packages/server/src/engine/engine.ts";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import type { JournalRequest, Storage, Transaction } from "../../packages/server/src/storage/storage.ts";
import { testDatabase } from "../real/postgres.ts";
import { awaits, only, returned, Stage } from "./actors.ts";

const env = systemEnv({ id: v7 });
const database = await testDatabase();

describe.skipIf(database === null)("a report on a shared PostgreSQL", () => {
  let near: Engine;
  let far: Engine;
  let storages: Storage[] = [];
  /** Called between the read of a run's row and the read of its journal. */
  let betweenReads: () => Promise<void> = async () => {};

  beforeAll(async () => {
    const open = () => openPostgres({ url: database?.url ?? "", connections: 4 });
    storages = await Promise.all([open(), open()]);
    const [one, other] = storages;
    if (one === undefined || other === undefined) throw new Error("A storage is missing.");
    near = createEngine({ storage: interrupted(one, () => betweenReads()), env, logger: silentLogger });
    far = createEngine({ storage: other, env, logger: silentLogger });
  });
  afterAll(async () => {
    await Promise.all([near.close(), far.close()]);
    await Promise.all(storages.map((storage) => storage.close()));
    await database?.drop();
  });

  it("the reply to a report contains the entries up to its tail, and no later ones", async () => {
    const stage = new Stage(near.api("default"));
    const elsewhere = Object.assign(new Stage(far.api("default")), { name: stage.name });
    const arrive = (n: number) => elsewhere.signal(id, { type: "event", name: "news", data: String(n) });
    const id = await stage.start();
    const worker = stage.worker();
    const run = await worker.claimOne({ waitMs: 0 });
    await worker.report(run, { entries: [returned("task:a#0")], opens: [awaits("other")] });
    await arrive(1);
    let times = 0;
    betweenReads = async () => {
      times += 1;
      if (times === 1) await arrive(2);
    };
    const next = { type: "suspend", children: 0 } as const;
    const answer = await worker.report(run, { after: 1, next });
    expect(times).toBeGreaterThan(0);
    expect({ tail: answer.tail, seqs: seqs(answer.entries) }).toEqual({ tail: 2, seqs: [2] });
    const later = only(
      (await stage.api.watch({ watched: [{ ...watchedChanges(run), seen: 1, after: 2 }], waitMs: 5_000 })).results,
    );
    expect(later.type === "changes" && seqs(later.entries)).toEqual([3]);
  });
});

function seqs(entries: readonly Entry[]): number[] {
  return entries.map(({ seq }) => seq);
}

function watchedChanges({ id, fence }: { id: string; fence: number }) {
  return { type: "changes", runId: id, fence } as const;
}

/** Calls `then` before each read of a journal within a transaction. */
function interrupted(storage: Storage, happens: () => Promise<void>): Storage {
  const around = (transaction: Transaction): Transaction =>
    new Proxy(transaction, {
      get: (target, name) => {
        if (name === "journal") {
          return async (requests: JournalRequest[]) => {
            await happens();
            return target.journal(requests);
          };
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  return {
    transaction: (work) => storage.transaction((transaction) => work(around(transaction))),
    read: (work) => storage.read(work),
    close: () => storage.close(),
  };
}
