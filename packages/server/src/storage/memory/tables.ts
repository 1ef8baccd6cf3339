import { type Entry, finalStatuses, type QueueKey, type RunId } from "@aikirun/lib/protocol";
import { holderOf } from "../../core/claim.ts";
import type { Run } from "../../core/run.ts";
import type { ListPosition } from "../find.ts";
import type { Ranked } from "../queue.ts";
import type { RegisteredWorker } from "../registered-worker.ts";
import { byId, Sorted } from "./sorted.ts";

export interface Dated {
  at: number;
  id: RunId;
}

export interface StoredJournal {
  /** In order of `seq`. */
  entries: Entry[];
  addresses: Map<string, Entry>;
}

/** Runs, entries and their indexes. Every change returns a function that undoes it. */
export class Tables {
  readonly runs: Map<RunId, Run> = new Map();
  readonly journals: Map<RunId, StoredJournal> = new Map();
  readonly references: Map<string, RunId> = new Map();
  readonly due: Sorted<Dated> = new Sorted<Dated>(byDate);
  readonly workers: Map<string, RegisteredWorker> = new Map();
  readonly #queues = new Map<string, Sorted<Ranked>>();
  readonly #namespaces = new Map<string, Sorted<ListPosition>>();
  readonly #children = new Map<RunId, Sorted<RunId>>();
  readonly #stalledChildren = new Map<RunId, Sorted<RunId>>();
  readonly #claims = new Map<string, Sorted<RunId>>();
  readonly #sessions = new Map<string, Sorted<RunId>>();

  queue(namespace: string, shardKey: string | null, name: string, versionId: string): Iterable<Ranked> {
    return this.#queues.get(keyOf(namespace, shardKey, name, versionId))?.ascending() ?? [];
  }

  /** The queues that have runs, in the order of the index of the other dialects. */
  *queues(): Iterable<{ key: QueueKey; runs: Iterable<Ranked> }> {
    for (const key of [...this.#queues.keys()].map(readQueueKey).sort(byQueue)) {
      const { namespace, shardKey, name, versionId } = key;
      yield { key, runs: this.queue(namespace, shardKey, name, versionId) };
    }
  }

  /** The stalled runs, in any order. */
  *stalled(): Iterable<Run & { state: { status: "stalled" } }> {
    for (const run of this.runs.values()) if (isStalled(run)) yield run;
  }

  namespace(namespace: string): Sorted<ListPosition> {
    return this.#namespaces.get(namespace) ?? new Sorted<ListPosition>(byCreation);
  }

  liveChildren(parent: RunId): Iterable<RunId> {
    return this.#children.get(parent)?.ascending() ?? [];
  }

  stalledChildren(parent: RunId): Iterable<RunId> {
    return this.#stalledChildren.get(parent)?.ascending() ?? [];
  }

  claimed(session: string, claimId: string): Iterable<RunId> {
    return this.#claims.get(keyOf(session, claimId))?.ascending() ?? [];
  }

  inSession(session: string): Iterable<RunId> {
    return this.#sessions.get(session)?.ascending() ?? [];
  }

  /** Replaces or adds this run, or removes it if `next` is undefined; returns a function that undoes that. */
  replace(id: RunId, next: Run | undefined): () => void {
    const previous = this.runs.get(id);
    if (previous !== undefined) this.#unindex(previous);
    if (next === undefined) {
      this.runs.delete(id);
    } else {
      this.runs.set(id, next);
      this.#index(next);
    }
    return () => this.replace(id, previous);
  }

  /** Adds an entry whose address and `seq` are free; returns a function that undoes that. */
  append(entry: Entry): () => void {
    const journal = this.#journal(entry.runId);
    const place = placeOf(journal.entries, entry.seq);
    journal.entries.splice(place, 0, entry);
    journal.addresses.set(addressKey(entry.attempt, entry.address), entry);
    return () => {
      journal.entries.splice(placeOf(journal.entries, entry.seq), 1);
      journal.addresses.delete(addressKey(entry.attempt, entry.address));
      if (journal.entries.length === 0) this.journals.delete(entry.runId);
    };
  }

  /** Replaces or adds a worker, or removes it if `next` is undefined; returns a function that undoes that. */
  note(key: string, next: RegisteredWorker | undefined): () => void {
    const previous = this.workers.get(key);
    if (next === undefined) this.workers.delete(key);
    else this.workers.set(key, next);
    return () => this.note(key, previous);
  }

  #journal(id: RunId): StoredJournal {
    const existing = this.journals.get(id);
    if (existing !== undefined) return existing;
    const journal: StoredJournal = { entries: [], addresses: new Map() };
    this.journals.set(id, journal);
    return journal;
  }

  #index(run: Run): void {
    const { id, createdAt } = run;
    addTo(this.#namespaces, run.namespace, { createdAt, id }, byCreation);
    if (run.referenceId !== null) this.references.set(referenceKey(run), id);
    if (run.dueAt !== null) this.due.add({ at: run.dueAt, id });
    if (run.state.status === "queued") addTo(this.#queues, queueKey(run), { priority: run.priority, id }, byRank);
    if (run.state.status === "running") {
      addTo(this.#claims, keyOf(run.state.session, run.state.claimId), id, byId);
    }
    const holder = holderOf(run.state);
    if (holder !== null) addTo(this.#sessions, holder, id, byId);
    if (run.parent !== null && isLiveChild(run)) addTo(this.#children, run.parent.id, id, byId);
    if (run.parent !== null && run.state.status === "stalled") addTo(this.#stalledChildren, run.parent.id, id, byId);
  }

  #unindex(run: Run): void {
    const { id, createdAt } = run;
    removeFrom(this.#namespaces, run.namespace, { createdAt, id });
    if (run.referenceId !== null) this.references.delete(referenceKey(run));
    if (run.dueAt !== null) this.due.delete({ at: run.dueAt, id });
    if (run.state.status === "queued") removeFrom(this.#queues, queueKey(run), { priority: run.priority, id });
    if (run.state.status === "running") {
      removeFrom(this.#claims, keyOf(run.state.session, run.state.claimId), id);
    }
    const holder = holderOf(run.state);
    if (holder !== null) removeFrom(this.#sessions, holder, id);
    if (run.parent !== null && isLiveChild(run)) removeFrom(this.#children, run.parent.id, id);
    if (run.parent !== null && run.state.status === "stalled") removeFrom(this.#stalledChildren, run.parent.id, id);
  }
}

/** Highest priority first, then the oldest run. */
function byRank(left: Ranked, right: Ranked): number {
  return right.priority - left.priority || byId(left.id, right.id);
}

export function addressKey(attempt: number, address: string): string {
  return `${attempt} ${address}`;
}

export function referenceKey(key: { namespace: string; name: string; referenceId: string | null }): string {
  return keyOf(key.namespace, key.name, key.referenceId);
}

export function workerKey({ namespace, session }: { namespace: string; session: string }): string {
  return keyOf(namespace, session);
}

/** The index of the first entry whose `seq` is not below this one. */
export function placeOf(entries: Entry[], seq: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((entries[middle]?.seq ?? 0) < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

function byDate(left: Dated, right: Dated): number {
  return left.at - right.at || byId(left.id, right.id);
}

function byCreation(left: ListPosition, right: ListPosition): number {
  return left.createdAt - right.createdAt || byId(left.id, right.id);
}

function queueKey(run: Run): string {
  return keyOf(run.namespace, run.shardKey, run.name, run.versionId);
}

function readQueueKey(text: string): QueueKey {
  const [namespace, shardKey, name, versionId] = JSON.parse(text);
  return { namespace, shardKey, name, versionId };
}

function byQueue(left: QueueKey, right: QueueKey): number {
  return (
    byId(left.namespace, right.namespace) ||
    byId(left.name, right.name) ||
    byId(left.versionId, right.versionId) ||
    byId(left.shardKey ?? "", right.shardKey ?? "")
  );
}

function isStalled(run: Run): run is Run & { state: { status: "stalled" } } {
  return run.state.status === "stalled";
}

function keyOf(...parts: Array<string | null>): string {
  return JSON.stringify(parts);
}

function isLiveChild(run: Run): boolean {
  return !finalStatuses.some((status) => status === run.state.status) && run.options.onParentEnd !== "abandon";
}

function addTo<T>(sets: Map<string, Sorted<T>>, key: string, item: T, compare: (left: T, right: T) => number): void {
  const set = sets.get(key) ?? new Sorted<T>(compare);
  set.add(item);
  sets.set(key, set);
}

function removeFrom<T>(sets: Map<string, Sorted<T>>, key: string, item: T): void {
  const set = sets.get(key);
  set?.delete(item);
  if (set?.empty) sets.delete(key);
}
