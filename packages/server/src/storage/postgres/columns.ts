/** Converts batches to parameters: one array per column, in the order of the statements. */

import type { Entry } from "@aikirun/lib/protocol";
import type { Run } from "../../core/run.ts";
import { callSiteColumn, type EntryColumns, entryColumns } from "../entry-row.ts";
import type { Copy } from "../journal.ts";
import { type RegisteredWorker, type WorkerColumns, workerColumns } from "../registered-worker.ts";
import { type Cell, type ChangingColumns, changingColumns, type FixedColumns, fixedColumns } from "../row.ts";
import type { Batch } from "../storage.ts";
import { toText } from "../text.ts";

const fixed = [
  "id",
  "namespace",
  "name",
  "versionId",
  "shardKey",
  "priority",
  "referenceId",
  "parentId",
  "parentAddress",
  "follows",
  "createdAt",
  "input",
  "options",
] as const satisfies ReadonlyArray<keyof FixedColumns>;

const changing = [
  "status",
  "dueAt",
  "revision",
  "fence",
  "updatedAt",
  "session",
  "claimId",
  "output",
  "state",
  "errorCode",
  "queuedAt",
  "stallReason",
] as const satisfies ReadonlyArray<keyof ChangingColumns>;

const entry = [
  "runId",
  "seq",
  "address",
  "attempt",
  "at",
  "fence",
  "worker",
  "startedAt",
  "type",
  "payload",
  "detail",
  "callSite",
] as const satisfies ReadonlyArray<keyof EntryColumns>;

const worker = [
  "namespace",
  "session",
  "worker",
  "serves",
  "shardKeys",
  "slots",
  "busy",
  "since",
  "seenAt",
  "liveUntil",
] as const satisfies ReadonlyArray<keyof WorkerColumns>;

export function runArrays(runs: readonly Run[]): Cell[][] {
  const tags = runs.map((run) => arrayText((run.options.tags ?? []).map(toText)));
  return [...arrays(runs.map(fixedColumns), fixed), ...arrays(runs.map(changingColumns), changing), tags];
}

/** Ids and revisions of changes and holds; the new values of a hold are null. */
export function changeArrays({ changes, holds }: Pick<Batch, "changes" | "holds">): Cell[][] {
  const nothing = holds.map(() => null);
  const after = arrays(
    changes.map((change) => changingColumns(change.after)),
    changing,
  );
  return [...lockArrays({ changes, holds }), ...after.map((column) => [...column, ...nothing])];
}

export function lockArrays({ changes, holds }: Pick<Batch, "changes" | "holds">): Cell[][] {
  const asked = [...changes.map(({ before }) => before), ...holds];
  return [asked.map(({ id }) => toText(id)), asked.map(({ revision }) => revision)];
}

export function entryArrays(entries: readonly Entry[]): Cell[][] {
  return arrays(entries.map(entryColumns), entry);
}

export function copyArrays(copies: readonly Copy[]): Cell[][] {
  return [
    copies.map(({ from }) => from),
    copies.map(({ seq }) => seq),
    copies.map(({ callSite }) => callSiteColumn(callSite)),
  ];
}

export function workerArrays(workers: readonly RegisteredWorker[]): Cell[][] {
  return arrays(workers.map(workerColumns), worker);
}

function arrays<Key extends string>(rows: ReadonlyArray<Record<Key, Cell>>, keys: readonly Key[]): Cell[][] {
  return keys.map((key) => rows.map((row) => row[key]));
}

/** An inner array as text, because `unnest` would flatten it. */
function arrayText(items: readonly string[]): string {
  return `{${items.map((item) => `"${item.replaceAll(/["\\]/g, "\\$&")}"`).join()}}`;
}
