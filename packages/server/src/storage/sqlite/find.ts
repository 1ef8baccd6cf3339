/** The statements that list runs. They are composed of constant parts, which depend on the request. */

import type { FindRequest, RunStatus } from "@aikirun/lib/protocol";
import { lightBytes } from "../../core/unread.ts";
import { afterIds, countedOf, type ListLimits, type ListSource, type SourcePart } from "../find.ts";
import { type Cell, orBytes } from "../row.ts";
import { toText } from "../text.ts";

export interface SqliteQuery {
  sql: string;
  values: Cell[];
}

/** A run of a page, without its payloads. */
export const listRun: string = `
  SELECT
    id, namespace, name, version_id, shard_key, priority, options, reference_id, parent_id, parent_address, created_at,
    updated_at, due_at, revision, fence, NULL AS input, NULL AS output,
    ${orBytes("state", lightBytes, (text) => `length(CAST(${text} AS BLOB))`)},
    (SELECT max(seq) FROM entry WHERE run_id = run.id) AS tail,
    (SELECT at FROM entry WHERE run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM run
  WHERE id = ?`;

/** Returns one row: the number of runs of each source, counted up to a limit. */
export function countQuery(
  namespace: string,
  request: FindRequest,
  listLimits: ListLimits,
  sources: readonly ListSource[],
): SqliteQuery {
  const list = new SqliteList(namespace, request, listLimits);
  const counts = sources.map((source, place) => {
    const all = source.parts.map((part) => `SELECT 1 ${list.part(part, source)}`).join(" UNION ALL ");
    return `(SELECT count(*) FROM (${all} LIMIT ${list.value(countedOf(listLimits))})) AS count_${place}`;
  });
  return list.query(`SELECT ${counts.join(", ")}`);
}

/**
 * Answers with the position of each row that may be examined, in order, and whether it belongs to the list. The caller
 * reads no more of them than it needs.
 */
export function examinedQuery(
  namespace: string,
  request: FindRequest,
  listLimits: ListLimits,
  source: ListSource,
): SqliteQuery {
  const list = new SqliteList(namespace, request, listLimits);
  const all = source.parts.map(
    (part) => `
  SELECT ${positionOf(part)}, ${list.filter(source)} AS fits ${list.part(part, source)}`,
  );
  const direction = list.direction;
  const most = source.isOrdered ? ` LIMIT ${list.value(listLimits.scan)}` : "";
  return list.query(`${all.join(" UNION ALL ")}
  ORDER BY 1 ${direction}, 2 ${direction}${most}`);
}

/** Composes the statements of one list. Values are bound in the order in which the methods are called. */
class SqliteList {
  readonly direction: "ASC" | "DESC";
  readonly #namespace: string;
  readonly #request: FindRequest;
  readonly #limits: ListLimits;
  readonly #values: Cell[] = [];

  constructor(namespace: string, request: FindRequest, listLimits: ListLimits) {
    this.#namespace = toText(namespace);
    this.#request = request;
    this.#limits = listLimits;
    this.direction = request.order === "oldest" ? "ASC" : "DESC";
  }

  query(sql: string): SqliteQuery {
    return { sql, values: this.#values };
  }

  value(value: Cell): "?" {
    this.#values.push(value);
    return "?";
  }

  /** Table, index and condition of a part. */
  part(part: SourcePart, source: ListSource): string {
    const { idPrefix, name, referenceId, parentId, errorCode } = this.#request;
    switch (part.type) {
      case "namespace":
        return this.#rows(source, "run_created", "follows >= 0");
      case "id":
        // The index of the primary key contains the runs of all namespaces.
        return `FROM run INDEXED BY sqlite_autoindex_run_1 WHERE ${this.#identified(idPrefix).join(" AND ")}`;
      case "name":
        return this.#rows(source, "run_name", "name = ?", textOrNull(name));
      case "reference":
        return this.#rows(source, "run_reference", "reference_id = ?", textOrNull(referenceId));
      case "parent":
        return this.#rows(source, "run_parent", "parent_id = ?", textOrNull(parentId));
      case "error":
        return this.#rows(source, "run_error", "error_code = ?", textOrNull(errorCode));
      case "status":
        // The index contains the runs of all namespaces.
        if (part.status === "running") return "FROM run INDEXED BY run_claimed WHERE status = 'running'";
        return this.#rows(source, ...statusPart(part.status));
      case "tag": {
        const namespace = `tagged.namespace = ${this.value(this.#namespace)}`;
        // The table's tags come from json_each: the value must come from it too, so that every text compares equal.
        const tag = `tagged.tag = (SELECT value FROM json_each(${this.value(JSON.stringify([part.tag]))}))`;
        const range = this.#range("tagged.created_at", "tagged.run_id");
        return `FROM run_tag AS tagged CROSS JOIN run ON run.id = tagged.run_id
    WHERE ${[namespace, tag, ...range].join(" AND ")}`;
      }
      default:
        return part satisfies never;
    }
  }

  /** The condition that a run in one of the parts must meet to be in the list. */
  filter({ isOrdered }: ListSource): string {
    const { idPrefix, name, versionId, status, referenceId, shardKey, parentId, tags, errorCode } = this.#request;
    const conditions = [
      ...(isOrdered
        ? []
        : [`run.namespace = ${this.value(this.#namespace)}`, ...this.#range("run.created_at", "run.id")]),
      ...this.#identified(idPrefix),
      ...this.#equal("name", name),
      ...this.#equal("version_id", versionId),
      ...this.#equal("reference_id", referenceId),
      ...this.#equal("shard_key", shardKey),
      ...this.#equal("parent_id", parentId),
      ...(errorCode === undefined ? [] : [this.#failed(errorCode)]),
      ...(status === undefined
        ? []
        : [`run.status IN (SELECT value FROM json_each(${this.value(JSON.stringify(status))}))`]),
      ...(tags === undefined || tags.length === 0 ? [] : [this.#tagged(tags)]),
    ];
    return conditions.length === 0 ? "1" : `(${conditions.join(" AND ")})`;
  }

  /** The run has all requested tags. */
  #tagged(tags: string[]): string {
    return `NOT EXISTS (
      SELECT 1
      FROM json_each(${this.value(JSON.stringify(tags))}) AS requested
      WHERE requested.value NOT IN (SELECT value FROM json_each(run.options, '$.tags'))
    )`;
  }

  /** Reads `error_code` from the index: in the row it follows the payloads, which SQLite would have to read first. */
  #failed(errorCode: string): string {
    return `EXISTS (
      SELECT 1
      FROM run AS failed INDEXED BY run_error
      WHERE failed.namespace = run.namespace AND failed.error_code = ${this.value(toText(errorCode))}
        AND failed.created_at = run.created_at AND failed.id = run.id
    )`;
  }

  #rows({ isOrdered }: ListSource, index: string, condition: string, ...values: Cell[]): string {
    const namespace = `namespace = ${this.value(this.#namespace)}`;
    for (const value of values) this.value(value);
    const range = isOrdered ? this.#range("created_at", "id") : [];
    return `FROM run INDEXED BY ${index} WHERE ${[namespace, condition, ...range].join(" AND ")}`;
  }

  #range(createdAt: string, id: string): string[] {
    const { createdAfter, createdBefore, order } = this.#request;
    const { after } = this.#limits;
    const behind = order === "oldest" ? ">" : "<";
    return [
      ...(createdAfter === undefined ? [] : [`${createdAt} >= ${this.value(createdAfter)}`]),
      ...(createdBefore === undefined ? [] : [`${createdAt} < ${this.value(createdBefore)}`]),
      ...(after === null
        ? []
        : [`(${createdAt}, ${id}) ${behind} (${this.value(after.createdAt)}, ${this.value(toText(after.id))})`]),
    ];
  }

  #identified(idPrefix: string | undefined): string[] {
    if (idPrefix === undefined) return [];
    return [`run.id >= ${this.value(idPrefix)}`, `run.id < ${this.value(afterIds(idPrefix))}`];
  }

  #equal(column: string, value: string | undefined): string[] {
    return value === undefined ? [] : [`run.${column} IS ${this.value(toText(value))}`];
  }
}

function positionOf({ type }: SourcePart): string {
  return type === "tag" ? "tagged.created_at, tagged.run_id AS id" : "created_at, id";
}

function textOrNull(value: string | undefined): string | null {
  return value === undefined ? null : toText(value);
}

/** SQLite uses a partial index only if the statement repeats the condition of the index. */
function statusPart(status: RunStatus): [index: string, condition: string, value: Cell] {
  if (status === "queued") return ["run_queued", "status = 'queued' AND status = ?", status];
  return ["run_status", "status NOT IN ('queued', 'running', 'completed') AND status = ?", status];
}
