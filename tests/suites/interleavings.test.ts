/**
 * Two servers on one PostgreSQL execute operations on one run at the same time. Both get a reply, and the result is the
 * same as if one server in memory had executed them in some order. Only a claim may instead skip a locked run.
 */

import { type Env, silentLogger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import type { Api, ClaimedRun } from "@aikirun/lib/protocol";
import { v7 } from "uuid";
import { afterAll, describe, expect, it } from "vitest";
import type { Settings } from "../../packages/server/src/core/run.ts";
import { QueueCache } from "../../packages/server/src/delivery/queue-cache.ts";
import { commit } from "../../packages/server/src/engine/commit.ts";
import { createEngine } from "../../packages/server/src/engine/engine.ts";
import type { Operation } from "../../packages/server/src/engine/operation.ts";
import { cachedRows } from "../../packages/server/src/engine/rows.ts";
import { memoryStorage } from "../../packages/server/src/storage/memory/memory.ts";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import type { Storage, Transaction } from "../../packages/server/src/storage/storage.ts";
import { testDatabase } from "../real/postgres.ts";
import { awaits, codes, returned, Stage, signed, sleeps, WorkerActor } from "./actors.ts";

/** Without timers, so that servers tick runs only when a test requests it. */
const env: Env = { ...systemEnv({ id: v7 }), after: () => () => {} };

/** The reply of a claim that skipped a locked run. */
const claimedNothing = "claimed ";

/** A run, its holder, and the ids that make repeated operations idempotent. */
interface RunFixture {
  name: string;
  /** Empty if the run does not exist yet. */
  runId: string;
  held: ClaimedRun | null;
  session: string;
  /** The id of the claim that returned it. */
  claimId: string;
}

/** Executes an operation through one server, and resolves with the reply of the caller. */
type RunOperation = (api: Api, fixture: RunFixture, storage: Storage) => Promise<string>;

const wait = awaits("approved");

const shortestLeaseMs = 100;

const engineSettings: Settings = {
  unconfirmedLeaseMs: 10_000,
  redeliverMs: 5_000,
  maxRedeliverMs: 300_000,
  maxCrashes: 5,
  maxOpenWaits: 1_000,
  aliveMs: 90_000,
};

const operations: Readonly<Record<string, RunOperation>> = {
  suspend: report({ opens: [wait], next: { type: "suspend", children: 0 } }),
  record: report({ entries: [returned("task:a#0")] }),
  "record another": report({ entries: [returned("task:b#0")] }),
  "record otherwise": report({ entries: [returned("task:a#0", '"other"')] }),
  release: report({ next: { type: "release", reason: "shutdown" } }),
  finish: report({ next: { type: "finish", outcome: { status: "completed", output: "1" } } }),
  renew: async (api, { session, held, runId }) => {
    const runs = [{ runId, fence: held?.fence ?? 1 }];
    return codes((await api.renew({ ...signed, session, leaseMs: 30_000, runs })).results).join();
  },
  claim: async (api, { name }) => {
    const { runs } = await api.claim(new WorkerActor(stageOf(api, name)).request());
    return `claimed ${runs.map(({ fence }) => fence).join()}`;
  },
  "claim again": async (api, { name, session, claimId }) => {
    const { runs } = await api.claim({ ...new WorkerActor(stageOf(api, name)).request(), session, repeats: [claimId] });
    return `claimed ${runs.map(({ fence }) => fence).join()}`;
  },
  event: signal({ type: "event", name: "approved", data: "1", referenceId: "e-1" }),
  "the same event": signal({ type: "event", name: "approved", data: "1", referenceId: "e-1" }),
  cancel: signal({ type: "cancel", reason: "enough" }),
  pause: signal({ type: "pause" }),
  resume: signal({ type: "resume" }),
  wake: signal({ type: "wake" }),
  /** The command that a server sends when a run is due. */
  tick: async (_, { runId }, storage) => {
    const tick: Operation = { type: "command", namespace: null, to: runId, command: { type: "tick" } };
    const committer = {
      storage,
      rows: cachedRows(10),
      cache: new QueueCache(env),
      settings: engineSettings,
      bootAt: 0,
      fenceFloor: 0,
    };
    const [result] = (await commit(committer, [tick])).results;
    return result?.type === "command" ? (result.answer.ok ? "ticked" : result.answer.code) : "";
  },
  "start it by its reference": async (api, { name }) => {
    const stage = stageOf(api, name);
    const result = await stage.tryStart(stage.spec({ referenceId: "o-1", inputHash: "a" }));
    return result.ok ? `created ${result.created}` : result.code;
  },
  "start another by its reference": async (api, { name }) => {
    const stage = stageOf(api, name);
    const result = await stage.tryStart(stage.spec({ referenceId: "o-1", inputHash: "b" }));
    return result.ok ? `created ${result.created}` : result.code;
  },
};

function report(more: Parameters<WorkerActor["draft"]>[1]): RunOperation {
  return async (api, fixture) => {
    if (fixture.held === null) return "not held";
    const worker = new WorkerActor(stageOf(api, fixture.name));
    const one = worker.draft(fixture.held, { reportId: JSON.stringify(more), ...more });
    const { results } = await api.report({ session: fixture.session, worker: "w", reports: [one] });
    return codes(results).join();
  };
}

function signal(what: Parameters<Stage["signal"]>[1]): RunOperation {
  return async (api, { name, runId }) => codes([await stageOf(api, name).signal(runId, what)]).join();
}

function stageOf(api: Api, name: string): Stage {
  const stage = new Stage(api);
  return Object.assign(stage, { name });
}

/**
 * `proven`: the holder has reported, so a report that only records does not change the row. `due`: the run is running
 * and one of its sleeps has elapsed, but was not ticked. `lapsed`: its lease has expired too. `new`: no run exists.
 */
type Setting = "queued" | "running" | "proven" | "suspended" | "due" | "lapsed" | "new";

/** The operations that are tested in each setting. */
const settings: Readonly<Record<Setting, string[]>> = {
  queued: ["claim", "event", "cancel", "pause", "wake"],
  running: [
    "suspend",
    "record",
    "record another",
    "record otherwise",
    "release",
    "finish",
    "renew",
    "event",
    "the same event",
    "cancel",
    "pause",
    "claim again",
  ],
  proven: ["suspend", "record", "record otherwise", "finish", "event", "cancel", "pause"],
  suspended: ["event", "the same event", "cancel", "pause", "resume", "wake"],
  due: ["tick", "suspend", "record", "finish", "release", "renew", "event", "cancel", "pause", "wake"],
  lapsed: ["tick", "suspend", "finish", "release", "renew", "event", "cancel", "pause"],
  new: ["start it by its reference", "start another by its reference"],
};

function isClaim(operation: string): boolean {
  return operation === "claim" || operation === "claim again";
}

/** In the settings `due` and `lapsed`, only pairs with a tick are tested. Other settings contain the other pairs. */
function isRelevant(setting: string, one: string, other: string): boolean {
  return (setting !== "due" && setting !== "lapsed") || one === "tick" || other === "tick";
}

/** Waits until the run is due, plus a margin because the clock of the database may be slightly behind. */
async function untilDue(stage: Stage, runId: string): Promise<void> {
  const { waits, dueAt } = await stage.view(runId);
  const until = waits[0]?.until ?? dueAt ?? 0;
  while (Date.now() <= until + 5) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function prepare(api: Api, setting: Setting): Promise<RunFixture> {
  const stage = new Stage(api);
  const worker = stage.worker();
  const claimId = v7();
  if (setting === "new") return { name: stage.name, runId: "", session: worker.session, held: null, claimId };
  const runId = await stage.start();
  const fixture = { name: stage.name, runId, session: worker.session, claimId };
  if (setting === "queued") return { ...fixture, held: null };
  const held = await worker.claimOne({ claimId, waitMs: 0, leaseMs: setting === "lapsed" ? shortestLeaseMs : 30_000 });
  if (setting === "due") await worker.report(held, { opens: [sleeps(1)] });
  if (setting === "due" || setting === "lapsed") await untilDue(stage, runId);
  if (setting === "suspended") await worker.suspend(held, [wait]);
  if (setting === "proven") await worker.report(held, { entries: [returned("task:first#0")] });
  return { ...fixture, held };
}

/** The replies and the visible state of the run. */
async function outcomeOf(api: Api, { name, runId }: RunFixture, first: string, second: string): Promise<unknown> {
  if (runId === "") {
    const { runs } = await api.find({ name });
    return { first, second, statuses: runs.map(({ status }) => status) };
  }
  const { run, entries } = await stageOf(api, name).read(runId);
  const facts = entries.map(({ seq, address, attempt, fence, value: { type } }) => [
    seq,
    address.replace(/[0-9a-f-]{36}/, "id"),
    attempt,
    fence,
    type,
  ]);
  const waits = run.waits.map(({ address, type }) => [address, type]);
  return { first, second, status: run.status, waits, facts };
}

/** `order` contains indexes of `pair`. */
async function executeInOrder(setting: Setting, pair: [string, string], order: number[]): Promise<unknown> {
  const storage = memoryStorage({ env });
  const engine = createEngine({ storage, env, logger: silentLogger });
  const api = engine.api("default");
  const fixture = await prepare(api, setting);
  const answers = [claimedNothing, claimedNothing];
  for (const place of order) {
    answers[place] = (await operations[pair[place] ?? ""]?.(api, fixture, storage)) ?? "";
  }
  const result = await outcomeOf(api, fixture, answers[0] ?? "", answers[1] ?? "");
  await engine.close();
  return result;
}

/** The last one applies to an optimistic commit, which is one statement. */
type TransactionMoment = "before it has written" | "before it has committed" | "before its one statement";

interface TransactionGate {
  /** A storage whose transactions can be stopped at this moment. */
  storage(at: TransactionMoment): Storage;
  /** Stops the next transaction at this moment. `reached` resolves when it is stopped. */
  stop(at: TransactionMoment): { reached: Promise<void>; go: () => void };
}

function gated(inner: Storage): TransactionGate {
  let stopAt: { at: TransactionMoment; arrive: () => void; go: Promise<void> } | null = null;
  const pass = async (at: TransactionMoment): Promise<void> => {
    const stop = stopAt;
    if (stop?.at !== at) return;
    stopAt = null;
    stop.arrive();
    await stop.go;
  };
  const watched = (tx: Transaction): Transaction =>
    new Proxy(tx, {
      get(target, name) {
        const method: unknown = Reflect.get(target, name, target);
        if (typeof method !== "function") return method;
        if (name !== "save") return method.bind(target);
        return async (batch: unknown) => {
          await pass("before it has written");
          const result: unknown = await method.call(target, batch);
          await pass("before it has committed");
          return result;
        };
      },
    });
  const reading: Storage = {
    transaction: (work) => inner.transaction((tx) => work(watched(tx))),
    read: (work) => inner.read(work),
    close: () => inner.close(),
  };
  const { optimistic } = inner;
  if (optimistic === undefined) throw new Error("Without a pooler the storage has optimistic commits.");
  const write: typeof optimistic.write = async (batch) => {
    await pass("before its one statement");
    return optimistic.write(batch);
  };
  const writing: Storage = { ...reading, optimistic: { now: optimistic.now, write } };
  return {
    storage: (at) => (at === "before its one statement" ? writing : reading),
    stop(at) {
      let arrive = (): void => undefined;
      let go = (): void => undefined;
      const reached = new Promise<void>((resolve) => {
        arrive = resolve;
      });
      const going = new Promise<void>((resolve) => {
        go = resolve;
      });
      stopAt = { at, arrive, go: going };
      return { reached, go };
    },
  };
}

const database = await testDatabase();

describe.skipIf(database === null)("two concurrent operations on one run", async () => {
  if (database === null) return;
  const [left, right] = [
    await openPostgres({ url: database.url, connections: 3 }),
    await openPostgres({ url: database.url, connections: 3 }),
  ];
  const gate = gated(left);
  afterAll(async () => {
    await left.close();
    await right.close();
    await database.drop();
  });

  /** Whether a transaction waits for the other's lock. */
  const isWaiting = async (): Promise<boolean> => {
    const waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    return (await database.sql(waiting)).length > 0;
  };

  async function executeConcurrently(
    setting: Setting,
    [one, other]: [string, string],
    at: TransactionMoment,
  ): Promise<unknown> {
    const engines = [gate.storage(at), right].map((storage) => createEngine({ storage, env, logger: silentLogger }));
    const [near, far] = engines;
    if (near === undefined || far === undefined) throw new Error("unreachable");
    const [here, there] = [near.api("default"), far.api("default")];
    const fixture = await prepare(here, setting);
    const { reached, go } = gate.stop(at);
    const first = operations[one]?.(here, fixture, gate.storage(at)) ?? Promise.resolve("");
    await Promise.race([reached, first]);
    const second = operations[other]?.(there, fixture, right) ?? Promise.resolve("");
    let isDone = false;
    const done = second.finally(() => {
      isDone = true;
    });
    // A claim has locked its runs before it writes, too.
    while (!isDone && !(await isWaiting())) {
      await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 1))]);
    }
    go();
    const result = await outcomeOf(there, fixture, await first, await done);
    await Promise.all(engines.map((engine) => engine.close()));
    return result;
  }

  const moments: TransactionMoment[] = ["before it has written", "before it has committed", "before its one statement"];
  const cases = Object.entries(settings).flatMap(([setting, names]) =>
    names
      .flatMap((one) => names.map((other) => ({ setting, one, other })))
      .filter(({ one, other }) => isRelevant(setting, one, other)),
  );
  const isSetting = (text: string): text is Setting => text in settings;

  it.each(cases)(
    "$one and $other of a $setting run on two servers have the result of some serial order",
    async ({ setting, one, other }) => {
      if (!isSetting(setting)) throw new Error("unreachable");
      const orders = [[0, 1], [1, 0], ...(one === "claim again" ? [[1]] : []), ...(isClaim(other) ? [[0]] : [])];
      const serial = await Promise.all(orders.map((order) => executeInOrder(setting, [one, other], order)));
      for (const moment of moments) {
        expect(serial).toContainEqual(await executeConcurrently(setting, [one, other], moment));
      }
    },
  );
});
