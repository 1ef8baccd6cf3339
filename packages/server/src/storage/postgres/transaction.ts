import type { Entry, QueueKey, RunId } from "@aikirun/lib/protocol";
import type { EntryKey } from "../../core/entry-keys.ts";
import type { Run } from "../../core/run.ts";
import { outlineOf } from "../entry-row.ts";
import { reuseConflict, reused } from "../journal.ts";
import type { Queued } from "../queue.ts";
import type { RegisteredWorker } from "../registered-worker.ts";
import { numberOf, type Row, textOf } from "../row.ts";
import type { Batch, Obstacle, Transaction } from "../storage.ts";
import { fromText, toText } from "../text.ts";
import { changeArrays, copyArrays, entryArrays, lockArrays, runArrays, workerArrays } from "./columns.ts";
import { idOf, PostgresReader } from "./reader.ts";
import * as sql from "./statements.ts";

/** Stands for a missing shard key in the index of queues: no shard key is encoded as this text. */
const noShard = "\u0001";

/** Sends one statement for the runs of a batch and one for its entries, pipelined; more if there are obstacles. */
export class PostgresTransaction extends PostgresReader implements Transaction {
  async insert(runs: Run[]): Promise<RunId[]> {
    if (runs.length === 0) return [];
    const inserted = new Set((await this.session.rows(sql.insertRun, runArrays(inOneOrder(runs)))).map(idOf));
    return runs.flatMap(({ id }) => (inserted.delete(id) ? [id] : []));
  }

  async queued(queues: readonly QueueKey[], limit: number): Promise<Queued> {
    if (queues.length === 0) return { ids: [], more: false };
    const rows = await this.session.rows(sql.selectQueued, [
      queues.map(({ namespace }) => toText(namespace)),
      queues.map(({ name }) => toText(name)),
      queues.map(({ versionId }) => toText(versionId)),
      queues.map(({ shardKey }) => (shardKey === null ? noShard : toText(shardKey))),
      limit,
    ]);
    // If no run is free, the only row says how many runs other transactions hold.
    const ids = rows.flatMap((row) => (row.id === null ? [] : [idOf(row)]));
    return { ids, more: rows.some((row) => numberOf(row, "seen") > ids.length) };
  }

  due(now: number, limit: number): Promise<RunId[]> {
    return this.ids(sql.selectDue, [now, limit]);
  }

  async hold(ids: RunId[]): Promise<Run[]> {
    if (ids.length === 0) return [];
    return this.runs(sql.lockRun, [[...new Set(ids)].map(toText)]);
  }

  async save(batch: Batch): Promise<Obstacle[]> {
    const [moved, taken] = await Promise.all([this.#write(batch), this.#record(batch.entries)]);
    return [...moved, ...(await this.#obstacles(batch.entries, taken))];
  }

  async reuse(from: RunId, to: RunId): Promise<number> {
    const outlines = (await this.session.rows(sql.selectOutline, [toText(from)])).map(outlineOf);
    const copies = reused(outlines);
    if (copies.length === 0) return 0;
    const copied = await this.session.rows(sql.copyEntry, [toText(from), toText(to), ...copyArrays(copies)]);
    if (copied.length < copies.length) throw reuseConflict(to);
    return copies.length;
  }

  async saveWorkers(workers: RegisteredWorker[]): Promise<void> {
    if (workers.length > 0) await this.session.rows(sql.upsertWorker, workerArrays(workers));
  }

  async forgetWorkers(before: number): Promise<void> {
    await this.session.rows(sql.deleteWorkers, [before]);
  }

  /** A run with a change and a hold is locked by the change. */
  async #write({ changes, holds }: Batch): Promise<Obstacle[]> {
    const after = new Map(changes.map((change) => [change.after.id, change.after.revision]));
    const others = holds.filter(({ id }) => !after.has(id));
    const asked = { changes, holds: others };
    if (changes.length + others.length === 0) return [];
    const rows = await (changes.length === 0
      ? this.session.rows(sql.holdRun, lockArrays(asked))
      : this.session.rows(sql.updateRun, changeArrays(asked)));
    const held = new Set(rows.map(idOf));
    const stands = ({ id, revision }: Batch["holds"][number]): boolean =>
      held.has(id) && (after.get(id) ?? revision) === revision;
    const lost = [
      ...changes
        .map((change) => change.after.id)
        .filter((id) => !held.has(id))
        .sort(),
      ...holds
        .filter((hold) => !stands(hold))
        .map(({ id }) => id)
        .sort(),
    ];
    return lost.map((runId) => ({ runId, kind: "revision" }));
  }

  /** Returns the indexes of the entries that were not inserted. */
  async #record(entries: readonly Entry[]): Promise<Set<number>> {
    if (entries.length === 0) return new Set();
    const rows = await this.session.rows(sql.insertEntry, entryArrays(entries));
    const inserted = new Set(rows.map(rowKey));
    const refused = (entry: Entry): boolean => !inserted.delete(keyOf(entry.runId, entry.seq, entry));
    return new Set(entries.flatMap((entry, place) => (refused(entry) ? [place] : [])));
  }

  /** If only a later entry of the same batch has the address, the obstacle is the `seq`, not the address. */
  async #obstacles(entries: readonly Entry[], refused: ReadonlySet<number>): Promise<Obstacle[]> {
    if (refused.size === 0) return [];
    const asked = entries.filter((_, place) => refused.has(place));
    const standing = new Map((await this.entriesAt([...asked])).map((entry) => [placeKey(entry), entry]));
    const obstacles: Obstacle[] = [];
    for (const place of refused) {
      const entry = entries[place];
      if (entry === undefined) continue;
      const isLater = entries.some(
        (other, at) => at > place && !refused.has(at) && placeKey(other) === placeKey(entry),
      );
      const kind = standing.has(placeKey(entry)) && !isLater ? "address" : "seq";
      obstacles.push({ runId: entry.runId, kind });
    }
    return obstacles;
  }
}

/**
 * Sorts the runs, so that two transactions that start the same runs do not deadlock. Runs with equal references keep
 * their order, so that the first one is inserted. A batch with equal ids is not sorted.
 */
export function inOneOrder(runs: Run[]): Run[] {
  if (new Set(runs.map(({ id }) => id)).size < runs.length) return runs;
  const ranked = runs.map((run) => ({
    run,
    rank: JSON.stringify([run.referenceId ?? run.id, run.name, run.namespace]),
  }));
  return ranked
    .sort((left, right) => (left.rank < right.rank ? -1 : left.rank > right.rank ? 1 : 0))
    .map(({ run }) => run);
}

function placeKey({ runId, attempt, address }: EntryKey): string {
  return JSON.stringify([runId, attempt, address]);
}

function keyOf(runId: RunId, seq: number, { address, attempt }: { address: string; attempt: number }): string {
  return JSON.stringify([runId, seq, attempt, address]);
}

function rowKey(row: Row): string {
  const address = fromText(textOf(row, "address"));
  return keyOf(fromText(textOf(row, "run_id")), numberOf(row, "seq"), { address, attempt: numberOf(row, "attempt") });
}
