/** After random operations, the databases return the same results as memory. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CallSite, FindRequest, Value } from "@aikirun/lib/protocol";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Run } from "../../packages/server/src/core/run.ts";
import type { ListPosition } from "../../packages/server/src/storage/find.ts";
import { memoryStorage } from "../../packages/server/src/storage/memory/memory.ts";
import { openPostgres } from "../../packages/server/src/storage/postgres/postgres.ts";
import { openSqlite } from "../../packages/server/src/storage/sqlite/sqlite.ts";
import type { Reader, Storage, Transaction } from "../../packages/server/src/storage/storage.ts";
import { testDatabase } from "../real/postgres.ts";
import { walked } from "./lists.suite.ts";
import { entryWith, next, queuedRun, runId, runningState, type StoredState } from "./records.ts";
import { bySession, registered } from "./workers.suite.ts";

const ids = fc.integer({ min: 1, max: 7 });
const names = fc.constantFrom("order", "ship", "\0");
const dueAts = fc.constantFrom(null, 5, 10, 20);
const outputs = fc.constantFrom(undefined, "1", '"\\u0000"', '"éé"');

const states: fc.Arbitrary<StoredState> = fc.oneof(
  fc.constant<StoredState>({ status: "scheduled", at: 7 }),
  fc.constant<StoredState>({ status: "queued", resumable: null, redeliveries: 0, redeliverAt: 9 }),
  fc
    .tuple(fc.constantFrom("s", "t"), fc.constantFrom("c", "d"))
    .map(([session, claim]) => runningState(session, claim)),
  fc.constant<StoredState>({ status: "sleeping", resumable: null, children: 0 }),
  fc.constant<StoredState>({ status: "stalled", reason: "idle", idleMs: 5 }),
  outputs.map((output): StoredState => ({ status: "completed", ...(output !== undefined && { output }) })),
  fc.constant<StoredState>({ status: "cancelled", reason: "\ud800" }),
  fc
    .constantFrom("A", "\ud800", 7)
    .map((code): StoredState => ({ status: "failed", error: { name: "E", message: "\0", code } })),
);

const runs: fc.Arbitrary<Run> = fc
  .record({
    n: ids,
    name: names,
    versionId: fc.constantFrom("1", "2"),
    shardKey: fc.constantFrom(null, "eu", "us"),
    priority: fc.integer({ min: -1, max: 1 }),
    referenceId: fc.constantFrom(null, null, "r", "q"),
    parent: fc.option(ids.map((n) => ({ id: runId(n), address: "child#0" }))),
    abandoned: fc.boolean(),
    tags: fc.subarray(["a", "b", "\ud800"]),
    createdAt: fc.integer({ min: 0, max: 30 }),
    dueAt: dueAts,
    state: states,
  })
  .map(({ n, abandoned, tags, ...rest }) =>
    queuedRun(n, { ...rest, options: { tags, ...(abandoned && { onParentEnd: "abandon" }) } }),
  );

const values: fc.Arbitrary<Value> = fc.oneof(
  outputs.map((output): Value => ({ type: "returned", ...(output !== undefined && { output }) })),
  fc.constant<Value>({ type: "threw", error: { name: "E", message: "\0" } }),
  fc.constant<Value>({ type: "elapsed" }),
  fc.constantFrom<Value>({ type: "asked" }, { type: "reused", seq: 1 }),
  fc.constantFrom<Value>({ type: "withdrawn" }, { type: "withdrawn", wait: { madeAfter: 1, identity: "i" } }),
  fc.constant<Value>({ type: "started", runId: runId(3) }),
  fc.constant<Value>({ type: "arrived", name: "e", data: "1" }),
);

const entries = fc
  .record({
    n: ids,
    seq: fc.integer({ min: 1, max: 6 }),
    attempt: fc.integer({ min: 1, max: 2 }),
    address: fc.constantFrom("a", "a/result", "a/withdrawn", "b", "\0"),
    value: values,
    callSite: fc.constantFrom<{ callSite?: CallSite }>(
      {},
      { callSite: { madeAfter: 2, identity: "i" } },
      { callSite: { madeAfter: 0, identity: "i", branch: "b" } },
    ),
  })
  .map(({ n, seq, attempt, address, value, callSite }) =>
    entryWith(runId(n), seq, value, { attempt, address, ...callSite }),
  );

const signs = fc
  .record({
    session: fc.constantFrom("s", "t", "\0", "\ud800"),
    namespace: fc.constantFrom("default", "other"),
    worker: fc.constantFrom("w", "v"),
    since: fc.integer({ min: 0, max: 3 }),
    seenAt: fc.integer({ min: 0, max: 9 }),
    liveUntil: fc.constantFrom(0, 5, 15),
  })
  .map(({ session, ...differing }) => registered(session, differing));

type StorageOperation = (transaction: Transaction) => Promise<unknown>;

const operations: fc.Arbitrary<StorageOperation> = fc.oneof(
  fc.array(runs, { maxLength: 4 }).map(
    (batch): StorageOperation =>
      (transaction) =>
        transaction.insert(batch),
  ),
  fc
    .record({
      changes: fc.uniqueArray(fc.record({ n: ids, state: states, dueAt: dueAts, behind: fc.nat({ max: 9 }) }), {
        selector: ({ n }) => n,
        maxLength: 3,
      }),
      holds: fc.array(ids, { maxLength: 2 }),
      entries: fc.array(entries, { maxLength: 4 }),
    })
    .map(
      (batch): StorageOperation =>
        (transaction) =>
          save(transaction, batch),
    ),
  fc.uniqueArray(signs, { selector: ({ namespace, session }) => `${namespace} ${session}`, maxLength: 4 }).map(
    (batch): StorageOperation =>
      (transaction) =>
        transaction.saveWorkers(batch),
  ),
  fc.integer({ min: 0, max: 12 }).map(
    (before): StorageOperation =>
      (transaction) =>
        transaction.forgetWorkers(before),
  ),
  fc.tuple(ids, ids).map(
    ([from, to]): StorageOperation =>
      (transaction) =>
        transaction.reuse(runId(from), runId(to)),
  ),
  fc.array(runs, { maxLength: 2 }).map(
    (batch): StorageOperation =>
      async (transaction) => {
        await transaction.insert(batch);
        throw new Error("given up");
      },
  ),
);

interface Drawn {
  changes: Array<{ n: number; state: StoredState; dueAt: number | null; behind: number }>;
  holds: number[];
  entries: Array<ReturnType<typeof entryWith>>;
}

/** Changes rows, sometimes with an outdated revision. Aborts the transaction on a conflict. */
async function save(transaction: Transaction, drawn: Drawn): Promise<unknown> {
  const standing = new Map(
    (await transaction.load(drawn.changes.map(({ n }) => runId(n)))).map((run) => [run.id, run]),
  );
  const changes = drawn.changes.map(({ n, state, dueAt, behind }) => {
    const before = standing.get(runId(n)) ?? queuedRun(n);
    const seen = behind === 0 ? { ...before, revision: before.revision - 1 } : before;
    return next(seen, { state, dueAt });
  });
  const held = await transaction.load(drawn.holds.map((n) => runId(n)));
  const holds = held
    .filter((run) => !drawn.changes.some(({ n }) => runId(n) === run.id))
    .map(({ id, revision }) => ({ id, revision }));
  const obstacles = await transaction.save({ changes, holds, entries: drawn.entries });
  if (obstacles.length > 0) throw new Error(JSON.stringify(obstacles));
  return changes.length;
}

/** The results of all queries, as one value. */
async function everything(reader: Reader): Promise<unknown> {
  const all = Array.from({ length: 8 }, (_, n) => runId(n));
  const find = (request: FindRequest, after: ListPosition | null = null): Promise<unknown> =>
    reader.find("default", request, { limit: 3, scan: 100, after });
  const walk = async (request: FindRequest, scan: number): Promise<string[]> =>
    (await walked(reader, request, { limit: 2, scan })).ids;
  return {
    runs: byKey(await reader.load(all), (run) => run.id),
    journals: await reader.journal(all.map((id, n) => ({ runId: id, after: n % 2, limit: 4, bytes: 500 }))),
    entries: byKey(
      await reader.entriesAt(all.map((id) => ({ runId: id, attempt: 1, address: "\0" }))),
      (entry) => entry.runId,
    ),
    due: await reader.nextDue(),
    children: (await reader.children(all, 99)).toSorted(),
    stalled: byKey(await reader.stalledChildren(all), (run) => run.id),
    claimed: [await reader.claimed("s", ["c"]), await reader.claimed("t", ["d", "c", "d"])],
    inSession: [await reader.inSession("default", "s", 9), await reader.inSession("other", "t", 9)].map((ids) =>
      ids.toSorted(),
    ),
    referenced: byKey(
      await reader.referenced(["r", "q"].map((referenceId) => ({ namespace: "default", name: "\0", referenceId }))),
      (run) => run.id,
    ),
    workers: [bySession(await reader.workers("default", 0)), bySession(await reader.workers("other", 5))],
    all: [await reader.all(null, 3), await reader.all(runId(3), 9)],
    newest: await find({}),
    oldest: await find({ order: "oldest", tags: ["\ud800"] }, { createdAt: 12, id: runId(2) }),
    sleeping: await find({ status: ["sleeping", "cancelled"] }),
    queuedAgain: await find({ status: ["queued"], shardKey: "eu" }),
    running: await find({ status: ["running"] }, { createdAt: 14, id: runId(6) }),
    some: await find({ createdAfter: 10, createdBefore: 20, name: "order", status: ["completed", "queued"] }),
    failed: [await find({ errorCode: "7" }), await find({ errorCode: "\ud800", order: "oldest" })],
    active: await find({ status: ["sleeping", "running", "queued"] }, { createdAt: 20, id: runId(4) }),
    walked: [
      await walk({}, 2),
      await walk({ tags: ["a", "b"] }, 1),
      await walk({ referenceId: "r", createdAfter: 5 }, 1),
      await walk({ status: ["failed", "cancelled", "stalled"], order: "oldest", versionId: "1" }, 2),
      await walk({ status: ["queued", "running"], name: "order" }, 1),
      await walk({ name: "ship", shardKey: "eu", createdBefore: 25 }, 3),
      await walk({ parentId: runId(1), tags: ["a"] }, 1),
      await walk({ idPrefix: runId(1).slice(0, -1), createdAfter: 5 }, 2),
    ],
  };
}

function byKey<Item>(items: Item[], key: (item: Item) => string): Item[] {
  return items.toSorted((left, right) => (key(left) < key(right) ? -1 : 1));
}

/** The results of the queries by which a server finds work. */
async function whatIsNext(transaction: Transaction): Promise<unknown> {
  const queues = (...shardKeys: Array<string | null>) =>
    ["2", "1"].flatMap((versionId) =>
      shardKeys.map((shardKey) => ({ namespace: "default", name: "order", versionId, shardKey })),
    );
  return {
    queued: await transaction.queued(queues(null), 3),
    sharded: await transaction.queued(queues("us", "eu"), 9),
    due: [await transaction.due(10, 9), await transaction.due(20, 2)],
  };
}

async function outcome(storage: Storage, operation: StorageOperation): Promise<unknown> {
  try {
    return { result: await storage.transaction(operation) };
  } catch (thrown) {
    return { thrown: thrown instanceof Error ? thrown.message : thrown };
  }
}

/** Opens an empty storage, and later deletes its data. */
type Open = (sequence: number) => Promise<{ storage: Storage; end: () => Promise<void> }>;

async function compare(open: Open, numRuns: number): Promise<void> {
  let sequenceNumber = 0;
  const alike = fc.asyncProperty(fc.array(operations, { minLength: 4, maxLength: 24 }), async (sequence) => {
    sequenceNumber += 1;
    const memory = memoryStorage({ env });
    const { storage, end } = await open(sequenceNumber);
    try {
      for (const operation of sequence) {
        expect(await outcome(storage, operation)).toEqual(await outcome(memory, operation));
        expect(await storage.read(everything)).toEqual(await memory.read(everything));
        expect(await storage.transaction(whatIsNext)).toEqual(await memory.transaction(whatIsNext));
      }
    } finally {
      await end();
    }
  });
  await fc.assert(alike, { numRuns });
}

const env = { now: (): number => 1 };

it("SQLite and memory give the same answers to the same random operations", { timeout: 180_000 }, async () => {
  const directory = await mkdtemp(join(tmpdir(), "aiki-differential-"));
  const open: Open = async (sequence) => {
    const storage = await openSqlite({ path: join(directory, `${sequence}.db`), env });
    return { storage, end: () => storage.close() };
  };
  await compare(open, 40);
  await rm(directory, { recursive: true });
});

it("PostgreSQL and memory give the same answers to the same random operations", {
  timeout: 180_000,
}, async (context) => {
  const database = await testDatabase();
  if (database === null) return context.skip();
  const storage = await openPostgres({ url: database.url, connections: 2 });
  const end = async (): Promise<void> => {
    await database.sql("DELETE FROM aiki.run; DELETE FROM aiki.entry; DELETE FROM aiki.worker");
  };
  await compare(async () => ({ storage, end }), 15);
  await storage.close();
  await database.drop();
});
