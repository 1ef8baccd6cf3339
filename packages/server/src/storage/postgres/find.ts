/**
 * The one statement whose shape depends on the request: a list of runs. Every part of it is constant. Ids are picked
 * first, so that a sort moves ids and not whole runs.
 */

import type { FindRequest, RunId, RunStatus } from "@aikirun/lib/protocol";
import { toText } from "../text.ts";

export interface Query {
  sql: string;
  values: unknown[];
}

/** Those that the index of statuses holds. */
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
  const values: unknown[] = [];
  const where = (condition: string, value: unknown): void => {
    if (value === undefined) return;
    values.push(value);
    conditions.push(condition.replace("?", `$${values.length}`));
  };
  const oldest = request.order === "oldest";

  where("namespace = ?", toText(namespace));
  where(oldest ? "id > ?" : "id < ?", after === null ? undefined : toText(after));
  where("revision >= 0 AND name = ?", textOrNothing(request.name));
  where("version_id = ?", textOrNothing(request.versionId));
  where("reference_id = ?", textOrNothing(request.referenceId));
  where("shard_key = ?", textOrNothing(request.shardKey));
  where("parent_id = ?", textOrNothing(request.parentId));
  where("created_at >= ?", request.createdAfter);
  where("created_at < ?", request.createdBefore);
  where("tags @> ?::text[]", request.tags?.length === 0 ? undefined : request.tags?.map(toText));
  conditions.push(...partialIndex(request.status));
  where("status = ANY (?::text[])", request.status);
  values.push(limit);

  const order = oldest ? "ASC" : "DESC";
  const sql = `
  SELECT
    run.*,
    (SELECT max(seq) FROM aiki.entry WHERE entry.run_id = run.id) AS tail,
    (SELECT at FROM aiki.entry WHERE entry.run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM (
    SELECT id
    FROM aiki.run
    WHERE ${conditions.join(" AND ")}
    ORDER BY id ${order}
    LIMIT $${values.length}
  ) AS page
  JOIN aiki.run ON run.id = page.id
  ORDER BY run.id ${order}`;
  return { sql, values };
}

/** The condition of a partial index is named where it holds, since only then can the index be used. */
function partialIndex(status: RunStatus[] | undefined): string[] {
  if (status === undefined || status.length === 0) return [];
  if (status.every((one) => one === "queued")) return ["status = 'queued'"];
  if (status.every((one) => one === "running")) return ["status = 'running'"];
  return status.every((one) => indexed.has(one)) ? ["status NOT IN ('queued', 'running', 'completed')"] : [];
}

function textOrNothing(value: string | undefined): string | undefined {
  return value === undefined ? undefined : toText(value);
}
