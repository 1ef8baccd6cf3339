import { AikiError, type Env } from "@aikirun/lib";
import type { Entry, FindRequest, QueueKey, RunId } from "@aikirun/lib/protocol";
import type { EntryKey } from "../../core/entry-keys.ts";
import type { Outline, Run, WholeRun } from "../../core/run.ts";
import { isUnread, type Payloads, wholeRun, withoutLarge } from "../../core/unread.ts";
import { outlined } from "../entry-row.ts";
import { errorCodeOf, type ListLimits, type ListPage, listPage, withoutPayloads } from "../find.ts";
import { complete, heavyOnes } from "../heavy.ts";
import { cutJournal, reuseConflict, reused } from "../journal.ts";
import type { KeyedStorage } from "../keys.ts";
import { interleaved, type Queued } from "../queue.ts";
import { laterWorker, type RegisteredWorker } from "../registered-worker.ts";
import { serialQueue } from "../serial-queue.ts";
import type { Batch, JournalRequest, Obstacle, Reader, ReferenceKey, Transaction } from "../storage.ts";
import { memoryKeys } from "./keys.ts";
import { byId } from "./sorted.ts";
import { addressKey, placeOf, referenceKey, Tables, workerKey } from "./tables.ts";

/** Runs in memory: the specification of the port, for tests and experiments. No data survives the process. */
export function memoryStorage(options: { env: Pick<Env, "now"> }): KeyedStorage {
  const tables = new Tables();
  const inTurn = serialQueue();
  let closed = false;

  const open = (): void => {
    if (closed) throw new AikiError("STORAGE_CLOSED", "The storage is closed; open it again.");
  };

  const whenOpen = <T>(work: () => T): Promise<T> =>
    inTurn(async () => {
      open();
      return work();
    });

  return {
    keys: memoryKeys(options.env, whenOpen),
    checkWritable: () => whenOpen(() => {}),
    transaction(work) {
      return inTurn(async () => {
        open();
        const transaction = new MemoryTransaction(tables, options.env);
        try {
          return await work(transaction);
        } catch (thrown) {
          transaction.undo(); // mutant: undo
          throw thrown;
        }
      });
    },
    read(work) {
      return inTurn(async () => {
        open();
        return work(new MemoryReader(tables, options.env));
      });
    },
    close() {
      return inTurn(async () => {
        closed = true;
      });
    },
  };
}

class MemoryReader implements Reader {
  protected readonly tables: Tables;
  readonly #env: Pick<Env, "now">;

  constructor(tables: Tables, env: Pick<Env, "now">) {
    this.tables = tables;
    this.#env = env;
  }

  now(): number {
    return this.#env.now();
  }

  fenceFloor(): number {
    return 0;
  }

  async load(ids: RunId[]): Promise<Run[]> {
    const runs = [...new Set(ids)].flatMap((id) => this.#loaded(id));
    const heavy = heavyOnes();
    const left = new Set(runs.filter((run) => !heavy.take(run)));
    return complete({ runs: runs.filter((run) => !left.has(run)), left: [...left].map(({ id }) => id) });
  }

  async payloads(ids: RunId[]): Promise<Map<RunId, Payloads>> {
    const runs = ids.flatMap((id) => this.tables.runs.get(id) ?? []);
    return new Map(runs.map((run) => [run.id, payloadsOf(run)]));
  }

  async journal(requests: JournalRequest[]): Promise<Entry[][]> {
    return requests.map(({ runId, after, limit, bytes }) => {
      const entries = this.tables.journals.get(runId)?.entries ?? [];
      return cutJournal(from(entries, placeOf(entries, after + 1)), limit, bytes).map(copyEntry);
    });
  }

  async entriesAt(keys: EntryKey[]): Promise<Outline[]> {
    const found = new Set<Entry>();
    for (const { runId, attempt, address } of keys) {
      const entry = this.tables.journals.get(runId)?.addresses.get(addressKey(attempt, address));
      if (entry !== undefined) found.add(entry);
    }
    return [...found].map((entry) => outlined(copyEntry(entry)));
  }

  async nextDue(): Promise<number | null> {
    for (const dated of this.tables.due.ascending()) return dated.at;
    return null;
  }

  async children(parents: RunId[], limit: number): Promise<RunId[]> {
    return [...take(concat([...new Set(parents)].map((parent) => this.tables.liveChildren(parent))), limit)];
  }

  async stalledChildren(parents: RunId[]): Promise<Run[]> {
    const first = [...new Set(parents)].flatMap((parent) => [...take(this.tables.stalledChildren(parent), 1)]);
    return this.load(first);
  }

  async claimed(session: string, claimIds: readonly string[]): Promise<RunId[]> {
    return [...new Set(claimIds)].flatMap((claimId) => [...this.tables.claimed(session, claimId)]).sort(byId);
  }

  async inSession(namespace: string, session: string, limit: number): Promise<RunId[]> {
    const isOurs = (id: RunId): boolean => this.tables.runs.get(id)?.namespace === namespace;
    return [...take([...this.tables.inSession(session)].filter(isOurs), limit)];
  }

  async referenced(keys: ReferenceKey[]): Promise<Run[]> {
    const ids = keys.flatMap((key) => this.tables.references.get(referenceKey(key)) ?? []);
    return this.load(ids);
  }

  async find(namespace: string, request: FindRequest, { limit, scan, after }: ListLimits): Promise<ListPage> {
    const listed = this.tables.namespace(namespace);
    const start = after ?? undefined;
    const ordered = request.order === "oldest" ? listed.ascending(start) : listed.descending(start);
    const found: Run[] = [];
    const heavy = heavyOnes();
    let examined = 0;
    for (const position of ordered) {
      for (const run of this.#loaded(position.id).filter((one) => fits(one, request))) {
        if (!heavy.take(run)) return listPage(found, limit, found.at(-1) ?? null);
        found.push(withoutPayloads(run));
      }
      examined += 1;
      if (found.length > limit || examined >= scan) return listPage(found, limit, position);
    }
    return listPage(found, limit, null);
  }

  async workers(namespace: string, at: number): Promise<RegisteredWorker[]> {
    return [...this.tables.workers.values()]
      .filter((worker) => worker.namespace === namespace && worker.liveUntil > at)
      .map(copyWorker);
  }

  async all(after: RunId | null, limit: number): Promise<WholeRun[]> {
    const ids = [...this.tables.runs.keys()].filter((id) => after === null || id > after).sort(byId);
    return ids.slice(0, Math.max(0, limit)).flatMap((id) => {
      const run = this.tables.runs.get(id);
      return run === undefined ? [] : [wholeRun(this.#whole(run))];
    });
  }

  #loaded(id: RunId): Run[] {
    const run = this.tables.runs.get(id);
    return run === undefined ? [] : [withoutLarge(this.#whole(run))];
  }

  #whole(run: Run): Run {
    return withTail(run, this.tables.journals.get(run.id)?.entries.at(-1));
  }
}

class MemoryTransaction extends MemoryReader implements Transaction {
  readonly #undo: Array<() => void> = [];

  async queued(queues: readonly QueueKey[], limit: number): Promise<Queued> {
    const found = queues.map(({ namespace, name, versionId, shardKey }) =>
      this.tables.queue(namespace, shardKey, name, versionId),
    );
    // One more than the limit shows whether there are more.
    return interleaved(
      found.map((queue) => [...take(queue, limit + 1)]),
      limit,
    );
  }

  async due(now: number, limit: number): Promise<RunId[]> {
    const ids: RunId[] = [];
    for (const dated of take(this.tables.due.ascending(), limit)) {
      if (dated.at > now) break;
      ids.push(dated.id);
    }
    return ids;
  }

  /** Transactions run one at a time, so no other transaction holds a run. */
  hold(ids: RunId[]): Promise<Run[]> {
    return this.load(ids);
  }

  undo(): void {
    for (let step = this.#undo.pop(); step !== undefined; step = this.#undo.pop()) step();
  }

  async insert(runs: Run[]): Promise<RunId[]> {
    const inserted: RunId[] = [];
    for (const run of runs) {
      const taken = this.tables.runs.has(run.id);
      const referenced = run.referenceId !== null && this.tables.references.has(referenceKey(run));
      if (taken || referenced) continue;
      this.#undo.push(this.tables.replace(run.id, withTail(run, undefined)));
      inserted.push(run.id);
    }
    return inserted;
  }

  async save(batch: Batch): Promise<Obstacle[]> {
    const obstacles: Obstacle[] = [];
    const stands = (id: RunId, revision: number): boolean => {
      if (this.tables.runs.get(id)?.revision === revision) return true; // mutant: revision
      obstacles.push({ runId: id, kind: "revision" });
      return false;
    };
    for (const { before, after } of batch.changes.toSorted((a, b) => byId(a.after.id, b.after.id))) {
      if (!stands(after.id, before.revision)) continue;
      const input = this.tables.runs.get(after.id)?.input ?? null;
      this.#undo.push(this.tables.replace(after.id, wholeRun({ ...withTail(after, undefined), input })));
    }
    for (const { id, revision } of batch.holds.toSorted((a, b) => byId(a.id, b.id))) stands(id, revision);
    for (const entry of batch.entries) obstacles.push(...this.#record(entry));
    return obstacles;
  }

  async reuse(from: RunId, to: RunId): Promise<number> {
    const entries = this.tables.journals.get(from)?.entries ?? [];
    const copies = reused(entries);
    for (const { from: seq, seq: place, callSite } of copies) {
      const entry = entries[placeOf(entries, seq)];
      if (entry === undefined) continue;
      const copy = {
        ...entry,
        runId: to,
        attempt: 0,
        fence: 0,
        seq: place,
        ...(callSite !== undefined && { callSite }),
      };
      if (this.#record(copy).length > 0) throw reuseConflict(to);
    }
    return copies.length;
  }

  async saveWorkers(workers: RegisteredWorker[]): Promise<void> {
    for (const worker of workers) {
      const key = workerKey(worker);
      this.#undo.push(this.tables.note(key, laterWorker(this.tables.workers.get(key), copyWorker(worker))));
    }
  }

  async forgetWorkers(before: number): Promise<void> {
    for (const [key, { seenAt, liveUntil }] of this.tables.workers) {
      if (seenAt < before && liveUntil < before) this.#undo.push(this.tables.note(key, undefined));
    }
  }

  #record(entry: Entry): Obstacle[] {
    const { runId, seq } = entry;
    const journal = this.tables.journals.get(runId);
    if (journal?.addresses.has(addressKey(entry.attempt, entry.address))) return [{ runId, kind: "address" }];
    if (journal?.entries[placeOf(journal.entries, seq)]?.seq === seq) return [{ runId, kind: "seq" }];
    this.#undo.push(this.tables.append(copyEntry(entry)));
    return [];
  }
}

/** Stored runs always have their payloads. */
function payloadsOf({ input, state }: Run): Payloads {
  const output = state.status === "completed" ? (state.output ?? null) : null;
  if (isUnread(input) || isUnread(output)) throw new Error("A payload that was not loaded cannot be written.");
  return { input, output };
}

function fits(run: Run, request: FindRequest): boolean {
  return (
    (request.idPrefix === undefined || run.id.startsWith(request.idPrefix)) &&
    (request.name === undefined || run.name === request.name) &&
    (request.versionId === undefined || run.versionId === request.versionId) &&
    (request.status === undefined || request.status.includes(run.state.status)) &&
    (request.referenceId === undefined || run.referenceId === request.referenceId) &&
    (request.shardKey === undefined || run.shardKey === request.shardKey) &&
    (request.parentId === undefined || run.parent?.id === request.parentId) &&
    (request.errorCode === undefined || errorCodeOf(run) === request.errorCode) &&
    (request.tags ?? []).every((tag) => run.options.tags?.includes(tag)) &&
    (request.createdAfter === undefined || run.createdAt >= request.createdAfter) &&
    (request.createdBefore === undefined || run.createdAt < request.createdBefore)
  );
}

/** Copies, so that a caller who changes its object does not change the stored one. */
function withTail(run: Run, last: Entry | undefined): Run {
  const updatedAt = Math.max(run.updatedAt, last?.at ?? 0);
  const waits = run.waits.map((wait) => ({ ...wait }));
  const events = new Map([...run.events].map(([name, arrivals]) => [name, { ...arrivals }]));
  return { ...run, state: { ...run.state }, waits, events, updatedAt, tail: last?.seq ?? 0 };
}

function copyEntry(entry: Entry): Entry {
  const callSite = entry.callSite === undefined ? {} : { callSite: { ...entry.callSite } };
  return { ...entry, ...callSite, value: { ...entry.value } };
}

function copyWorker({ load, ...worker }: RegisteredWorker): RegisteredWorker {
  const serves = worker.serves.map((served) => ({ ...served }));
  return {
    ...worker,
    serves,
    shardKeys: [...worker.shardKeys],
    ...(load === undefined ? {} : { load: { ...load } }),
  };
}

function* from<T>(items: T[], start: number): Generator<T> {
  for (let at = start; at < items.length; at += 1) {
    const item = items[at];
    if (item !== undefined) yield item;
  }
}

function* take<T>(items: Iterable<T>, limit: number): Generator<T> {
  if (limit < 1) return;
  let taken = 0;
  for (const item of items) {
    yield item;
    taken += 1;
    if (taken >= limit) return;
  }
}

function* concat<T>(lists: Array<Iterable<T>>): Generator<T> {
  for (const list of lists) yield* list;
}
