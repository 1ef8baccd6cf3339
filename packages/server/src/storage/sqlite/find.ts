/**
 * The one statement whose shape depends on the request: a list of runs. Every part of it is constant. Ids are picked
 * first, so that a sort moves ids and not whole runs.
 */

import type { FindRequest, RunId, RunStatus } from "@aikirun/lib/protocol";
import type { Cell } from "../row.ts";
import { toText } from "../text.ts";

export interface Query {
  sql: string;
  values: Cell[];
}

const indexed: ReadonlySet<RunStatus> = new Set<RunStatus>([
  "scheduled",
  "paused",
  "sleeping",
  "awaiting_event",
  "awaiting_retry",
  "awaiting_child_workflow",
  "stalled",
  "failed",
  "cancelled",
]);

export function findQuery(namespace: string, request: FindRequest, limit: number, after: RunId | null): Query {
  const conditions: string[] = [];
  const values: Cell[] = [];
  const where = (condition: string, value: Cell | undefined): void => {
    if (value === undefined) return;
    conditions.push(condition);
    values.push(value);
  };
  const oldest = request.order === "oldest";

  where(isNarrow(request) ? "namespace = ?" : "+namespace = ?", toText(namespace));
  where(oldest ? "id > ?" : "id < ?", after === null ? undefined : toText(after));
  where("name = ?", textOrNothing(request.name));
  where("version_id = ?", textOrNothing(request.versionId));
  where("reference_id = ?", textOrNothing(request.referenceId));
  where("shard_key = ?", textOrNothing(request.shardKey));
  where("parent_id = ?", textOrNothing(request.parentId));
  where("created_at >= ?", request.createdAfter);
  where("created_at < ?", request.createdBefore);
  where(...statusCondition(request.status));
  where(hasTags, request.tags?.length === 0 ? undefined : jsonOrNothing(request.tags));
  values.push(limit);

  const order = oldest ? "ASC" : "DESC";
  const sql = `
  SELECT
    *,
    (SELECT max(seq) FROM entry WHERE run_id = run.id) AS tail,
    (SELECT at FROM entry WHERE run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM run
  WHERE id IN (
    SELECT id
    FROM run${sourceOf(request.status)}
    WHERE ${conditions.join(" AND ")}
    ORDER BY id ${order}
    LIMIT ?
  )
  ORDER BY id ${order}`;
  return { sql, values };
}

/**
 * Whether an index finds the runs; if none does, the page is read in order of the primary key and nothing is sorted.
 */
function isNarrow({ name, status, referenceId, parentId }: FindRequest): boolean {
  return name !== undefined || status !== undefined || referenceId !== undefined || parentId !== undefined;
}

/** No tag asked for is missing from the run's own. */
const hasTags = `NOT EXISTS (
    SELECT 1
    FROM json_each(?) AS asked
    WHERE asked.value NOT IN (SELECT value FROM json_each(options, '$.tags'))
  )`;

/**
 * One status reads its index in order. The condition of a partial index is named where it holds, since only then can
 * the index be used.
 */
function statusCondition(status: RunStatus[] | undefined): [condition: string, value: Cell | undefined] {
  const [first, ...others] = new Set(status);
  const rare = status?.every((one) => indexed.has(one)) ? "status NOT IN ('queued', 'running', 'completed') AND " : "";
  if (first === "queued" && others.length === 0) return ["status = 'queued' AND status = ?", first];
  if (first === "running" && others.length === 0) return ["status = 'running' AND status = ?", first];
  if (first !== undefined && others.length === 0) return [`${rare}status = ?`, first];
  return [`${rare}status IN (SELECT value FROM json_each(?))`, jsonOrNothing(status)];
}

/** Live runs are few beside the finished ones: sorting them is cheaper than passing by all others. */
function sourceOf(status: RunStatus[] | undefined): string {
  if (only(status, "queued")) return " INDEXED BY run_queued";
  if (only(status, "running")) return " INDEXED BY run_claimed";
  return "";
}

function only(status: RunStatus[] | undefined, one: RunStatus): boolean {
  return status !== undefined && status.length > 0 && status.every((other) => other === one);
}

function textOrNothing(value: string | undefined): string | undefined {
  return value === undefined ? undefined : toText(value);
}

function jsonOrNothing(value: string[] | undefined): string | undefined {
  return value === undefined ? undefined : JSON.stringify(value);
}
