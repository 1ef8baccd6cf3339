/**
 * The statements that list runs. Their text depends on the request and is composed of constant parts. They select ids
 * first, so that whole rows are read only for the page.
 */

import type { FindRequest, RunStatus } from "@aikirun/lib/protocol";
import { lightBytes } from "../../core/unread.ts";
import { afterIds, countedOf, type ListLimits, type ListSource, type SourcePart } from "../find.ts";
import { orBytes } from "../row.ts";
import { toText } from "../text.ts";

export interface PostgresQuery {
  sql: string;
  values: unknown[];
}

/**
 * Planner settings for the rest of the transaction. Each source has an index in the order of the list, and reading it
 * row by row stops at the end of the page. If the planner's estimates are wrong, it chooses a plan that reads the whole
 * source first, so such plans are disabled. Disabled plans look expensive and would be compiled, so `jit` is off.
 * Parallel workers are off because starting them takes longer than the query.
 */
export const readInOrder: string = `
  SELECT
    set_config('enable_seqscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true),
    set_config('enable_sort', 'off', true),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true),
    set_config('max_parallel_workers_per_gather', '0', true),
    set_config('jit', 'off', true)`;

/** Returns one row: how many runs each source contains, up to the limit of `countedOf`. */
export function countQuery(
  namespace: string,
  request: FindRequest,
  listLimits: ListLimits,
  sources: readonly ListSource[],
): PostgresQuery {
  const list = new PostgresList(namespace, request, listLimits);
  const counts = sources.map((source, place) => {
    const parts = source.parts.map((part) => `SELECT 1 FROM ${list.part(part, source)}`);
    const all = `${parts.join(" UNION ALL ")} LIMIT ${list.value(countedOf(listLimits))}`;
    return `(SELECT count(*) FROM (${all}) AS counted) AS count_${place}`;
  });
  return list.query(`SELECT ${counts.join(", ")}`);
}

/** Returns the runs of a page, and one more if there are more. */
export function pageQuery(
  namespace: string,
  request: FindRequest,
  listLimits: ListLimits,
  source: ListSource,
): PostgresQuery {
  const list = new PostgresList(namespace, request, listLimits);
  return list.query(`
  SELECT
    ${listed},
    (SELECT max(seq) FROM aiki.entry WHERE entry.run_id = run.id) AS tail,
    (SELECT at FROM aiki.entry WHERE entry.run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM (
    SELECT created_at, id
    FROM (${list.examined(source)}) AS examined
    WHERE ${list.filter(source)}
    ORDER BY ${list.order}
    LIMIT ${list.value(listLimits.limit + 1)}
  ) AS page
  JOIN aiki.run ON run.id = page.id
  ORDER BY ${list.orderOf("page")}`);
}

/** Returns the position of the last row that was examined; no row if the source was read to its end. */
export function reachedQuery(
  namespace: string,
  request: FindRequest,
  listLimits: ListLimits,
  source: ListSource,
): PostgresQuery {
  const list = new PostgresList(namespace, request, listLimits);
  return list.query(`
  SELECT created_at, id
  FROM (${list.examined(source)}) AS examined
  OFFSET ${list.value(mostExamined(source, listLimits) - 1)}`);
}

/** Columns of a run of a page: all except its payloads. */
const listed = `
    run.id, namespace, name, version_id, shard_key, priority, options, reference_id, parent_id, parent_address,
    run.created_at, updated_at, due_at, revision, fence, NULL AS input, NULL AS output,
    ${orBytes("state", lightBytes, (text) => `octet_length(${text})`)}`;

/** Columns that a filter compares. */
const compared =
  "created_at, id, namespace, name, version_id, status, reference_id, shard_key, parent_id, tags, error_code";

/** Builds the parts of the statements of one list, and collects their parameters. */
class PostgresList {
  readonly order: string;
  readonly #namespace: string;
  readonly #request: FindRequest;
  readonly #limits: ListLimits;
  readonly #values: unknown[] = [];

  constructor(namespace: string, request: FindRequest, listLimits: ListLimits) {
    this.#namespace = toText(namespace);
    this.#request = request;
    this.#limits = listLimits;
    this.order = this.orderOf("");
  }

  query(sql: string): PostgresQuery {
    return { sql, values: this.#values };
  }

  /** Adds a parameter and returns its placeholder. */
  value(value: unknown): string {
    this.#values.push(value);
    return `$${this.#values.length}`;
  }

  orderOf(table: string): string {
    const direction = this.#request.order === "oldest" ? "ASC" : "DESC";
    const prefix = table === "" ? "" : `${table}.`;
    return `${prefix}created_at ${direction}, ${prefix}id ${direction}`;
  }

  /** The rows of a source that may be examined: the first ones in order, or all of a source without order. */
  examined(source: ListSource): string {
    const parts = source.parts.map((part) => `SELECT ${columnsOf(part)} FROM ${this.part(part, source)}`);
    if (!source.isOrdered) return parts.join(" UNION ALL ");
    const first = ` ORDER BY ${this.order} LIMIT ${this.value(mostExamined(source, this.#limits))}`;
    const [only = "", ...others] = parts;
    return others.length === 0
      ? only + first
      : `${parts.map((part) => `(${part}${first})`).join(" UNION ALL ")}${first}`;
  }

  /** Table and condition of a part. PostgreSQL uses a partial index only if the statement contains its condition. */
  part(part: SourcePart, source: ListSource): string {
    const { idPrefix, name, referenceId, parentId, errorCode } = this.#request;
    switch (part.type) {
      case "namespace":
        return this.#rows(source, "fence >= 0");
      case "id":
        // The primary key covers all namespaces.
        return `aiki.run WHERE ${this.#identified(idPrefix).join(" AND ")}`;
      case "name":
        return this.#rows(source, `revision >= 0 AND name = ${this.#text(name)}`);
      case "reference":
        return this.#rows(source, `reference_id = ${this.#text(referenceId)}`);
      case "parent":
        return this.#rows(source, `parent_id = ${this.#text(parentId)}`);
      case "error":
        return this.#rows(source, `error_code = ${this.#text(errorCode)}`);
      case "status":
        // Its index covers all namespaces.
        if (part.status === "running") return "aiki.run WHERE status = 'running'";
        return this.#rows(source, statusCondition(part.status, this.value(part.status)));
      case "tag": {
        const tagged = `namespace = ${this.value(this.#namespace)} AND tag = ${this.#text(part.tag)}`;
        const range = this.#range("run_id");
        return `(
          SELECT created_at, run_id FROM aiki.run_tag WHERE ${[tagged, ...range].join(" AND ")}
        ) AS tagged LEFT JOIN aiki.run ON run.id = tagged.run_id`;
      }
      default:
        return part satisfies never;
    }
  }

  /** The conditions on a run of the list that its part does not guarantee. */
  filter({ isOrdered }: ListSource): string {
    const { idPrefix, name, versionId, status, referenceId, shardKey, parentId, tags, errorCode } = this.#request;
    const conditions = [
      ...(isOrdered ? [] : [`namespace = ${this.value(this.#namespace)}`, ...this.#range("id")]),
      ...this.#identified(idPrefix),
      ...this.#equal("name", name),
      ...this.#equal("version_id", versionId),
      ...this.#equal("reference_id", referenceId),
      ...this.#equal("shard_key", shardKey),
      ...this.#equal("parent_id", parentId),
      ...this.#equal("error_code", errorCode),
      ...(status === undefined ? [] : [`status = ANY (${this.value(status)}::text[])`]),
      ...(tags === undefined ? [] : [`tags @> ${this.value(tags.map(toText))}::text[]`]),
    ];
    return conditions.length === 0 ? "true" : conditions.join(" AND ");
  }

  #rows({ isOrdered }: ListSource, condition: string): string {
    const namespace = `namespace = ${this.value(this.#namespace)}`;
    const range = isOrdered ? this.#range("id") : [];
    return `aiki.run WHERE ${[namespace, condition, ...range].join(" AND ")}`;
  }

  #range(id: string): string[] {
    const { createdAfter, createdBefore, order } = this.#request;
    const { after } = this.#limits;
    const behind = order === "oldest" ? ">" : "<";
    return [
      ...(createdAfter === undefined ? [] : [`created_at >= ${this.value(createdAfter)}`]),
      ...(createdBefore === undefined ? [] : [`created_at < ${this.value(createdBefore)}`]),
      ...(after === null
        ? []
        : [`(created_at, ${id}) ${behind} (${this.value(after.createdAt)}, ${this.value(toText(after.id))})`]),
    ];
  }

  #identified(idPrefix: string | undefined): string[] {
    if (idPrefix === undefined) return [];
    return [`id >= ${this.value(idPrefix)}`, `id < ${this.value(afterIds(idPrefix))}`];
  }

  #equal(column: string, value: string | undefined): string[] {
    return value === undefined ? [] : [`${column} = ${this.#text(value)}`];
  }

  #text(value: string | undefined): string {
    return this.value(value === undefined ? null : toText(value));
  }
}

/** The maximum number of rows to examine in each part, so that all parts together stay within the limit. */
function mostExamined({ parts }: ListSource, { scan }: ListLimits): number {
  return Math.ceil(scan / parts.length);
}

function columnsOf({ type }: SourcePart): string {
  return type === "tag" ? compared.replace("created_at, id", "tagged.created_at, tagged.run_id AS id") : compared;
}

function statusCondition(status: RunStatus, value: string): string {
  if (status === "queued") return `status = 'queued' AND status = ${value}`;
  return `status NOT IN ('queued', 'running', 'completed') AND status = ${value}`;
}
