import type { Entry, QueueKey, RunId } from "@aikirun/lib/protocol";
import type { Run } from "../../core/run.ts";
import { callSiteColumn, entryColumns, outlineOf } from "../entry-row.ts";
import { reuseConflict, reused } from "../journal.ts";
import { interleaved, type Queued } from "../queue.ts";
import { type RegisteredWorker, workerColumns } from "../registered-worker.ts";
import { changingColumns, fixedColumns, numberOf } from "../row.ts";
import type { Batch, Change, Obstacle, Transaction } from "../storage.ts";
import { toText } from "../text.ts";
import { distinctTexts, idOf, SqliteReader } from "./reader.ts";
import * as sql from "./statements.ts";

/** Each row costs one statement. Only a row that was not written costs another one, which reads the reason. */
export class SqliteTransaction extends SqliteReader implements Transaction {
  async insert(runs: Run[]): Promise<RunId[]> {
    return runs.filter((run) => this.#insert(run)).map((run) => run.id);
  }

  async queued(queues: readonly QueueKey[], limit: number): Promise<Queued> {
    const found = queues.map(({ namespace, name, versionId, shardKey }) => {
      const key = [namespace, name, versionId].map(toText);
      const shard = shardKey === null ? null : toText(shardKey);
      // One row more than the limit shows that there are more.
      const rows = this.connection.all(sql.selectQueued, ...key, shard, limit + 1);
      return rows.map((row) => ({ id: idOf(row), priority: numberOf(row, "priority") }));
    });
    return interleaved(found, limit);
  }

  async due(now: number, limit: number): Promise<RunId[]> {
    return this.connection.all(sql.selectDue, now, limit).map(idOf);
  }

  async hold(ids: RunId[]): Promise<Run[]> {
    return this.runs(sql.lockRun, distinctTexts(ids));
  }

  async save(batch: Batch): Promise<Obstacle[]> {
    const obstacles: Obstacle[] = [];
    for (const change of batch.changes.toSorted((left, right) => byId(left.after.id, right.after.id))) {
      if (!this.#update(change)) obstacles.push({ runId: change.after.id, kind: "revision" });
    }
    for (const { id, revision } of batch.holds.toSorted((left, right) => byId(left.id, right.id))) {
      const held = this.connection.first(sql.holdRun, toText(id), revision);
      if (held === undefined) obstacles.push({ runId: id, kind: "revision" });
    }
    for (const entry of batch.entries) {
      if (!this.#record(entry)) obstacles.push({ runId: entry.runId, kind: this.#takenBy(entry) });
    }
    return obstacles;
  }

  async reuse(from: RunId, to: RunId): Promise<number> {
    const copies = reused(this.connection.all(sql.selectOutline, toText(from)).map(outlineOf));
    for (const { from: seq, seq: place, callSite } of copies) {
      const changed = this.connection.run(
        sql.copyEntry,
        toText(to),
        place,
        callSiteColumn(callSite),
        toText(from),
        seq,
      );
      if (changed !== 1) throw reuseConflict(to);
    }
    return copies.length;
  }

  async saveWorkers(workers: RegisteredWorker[]): Promise<void> {
    for (const columns of workers.map(workerColumns)) {
      this.connection.run(
        sql.upsertWorker,
        columns.namespace,
        columns.session,
        columns.worker,
        columns.serves,
        columns.shardKeys,
        columns.slots,
        columns.busy,
        columns.since,
        columns.seenAt,
        columns.liveUntil,
      );
    }
  }

  async forgetWorkers(before: number): Promise<void> {
    this.connection.run(sql.deleteWorkers, before, before);
  }

  #insert(run: Run): boolean {
    const fixed = fixedColumns(run);
    const changing = changingColumns(run);
    const changed = this.connection.run(
      sql.insertRun,
      fixed.id,
      fixed.namespace,
      fixed.name,
      fixed.versionId,
      fixed.shardKey,
      fixed.priority,
      fixed.referenceId,
      fixed.parentId,
      fixed.parentAddress,
      fixed.follows,
      fixed.createdAt,
      fixed.input,
      fixed.options,
      changing.status,
      changing.dueAt,
      changing.revision,
      changing.fence,
      changing.updatedAt,
      changing.session,
      changing.claimId,
      changing.output,
      changing.state,
      changing.errorCode,
    );
    return changed === 1;
  }

  #update({ before, after }: Change): boolean {
    const changing = changingColumns(after);
    const changed = this.connection.run(
      sql.updateRun,
      changing.status,
      changing.dueAt,
      changing.revision,
      changing.fence,
      changing.updatedAt,
      changing.session,
      changing.claimId,
      changing.output,
      changing.state,
      changing.errorCode,
      toText(after.id),
      before.revision,
    );
    return changed === 1;
  }

  #record(entry: Entry): boolean {
    const columns = entryColumns(entry);
    const changed = this.connection.run(
      sql.insertEntry,
      columns.runId,
      columns.seq,
      columns.address,
      columns.attempt,
      columns.at,
      columns.fence,
      columns.worker,
      columns.startedAt,
      columns.type,
      columns.payload,
      columns.detail,
      columns.callSite,
    );
    return changed === 1;
  }

  #takenBy(entry: Entry): "address" | "seq" {
    const row = this.connection.first(sql.selectEntryAt, toText(entry.runId), toText(entry.address), entry.attempt);
    return row === undefined ? "seq" : "address";
  }
}

function byId(left: RunId, right: RunId): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
