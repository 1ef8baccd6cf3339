/** The statements that runs need, constant and prepared once. A batch repeats one: twice as fast as `json_each`. */

import { type OutlineDialect, outlineColumns, reusedColumns } from "../entry-row.ts";
import { loadedColumns } from "../row.ts";

/** `octet_length` is missing before SQLite 3.43. */
const dialect: OutlineDialect = {
  bytesOf: (text) => `length(CAST(${text} AS BLOB))`,
  holds: (text, part) => `instr(${text}, '${part}') > 0`,
};

const loaded = loadedColumns(dialect.bytesOf, "many");

export const begin: string = "BEGIN IMMEDIATE";

export const commit: string = "COMMIT";

export const rollback: string = "ROLLBACK";

/** Writes a row as it was, so that the commit needs the disk. */
export const checkWritable: string = `
  UPDATE migration SET number = number WHERE number = 1`;

/** Changes nothing when the id or the reference is taken. */
export const insertRun: string = `
  INSERT INTO run (
    id, namespace, name, version_id, shard_key, priority, reference_id, parent_id, parent_address, follows, created_at,
    input, options, status, due_at, revision, fence, updated_at, session, claim_id, output, state, error_code,
    queued_at, stall_reason
  )
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT DO NOTHING`;

/** Compares and swaps on `revision`. */
export const updateRun: string = `
  UPDATE run
  SET
    status = ?, due_at = ?, revision = ?, fence = ?, updated_at = ?, session = ?, claim_id = ?, output = ?, state = ?,
    error_code = ?, queued_at = ?, stall_reason = ?
  WHERE id = ? AND revision = ?`;

/** No other transaction can write before the commit, so selecting a row holds it. */
export const holdRun: string = `
  SELECT 1 AS held FROM run WHERE id = ? AND revision = ?`;

/** Changes nothing when the address or the `seq` is taken. */
export const insertEntry: string = `
  INSERT INTO entry (run_id, seq, address, attempt, at, fence, worker, started_at, type, payload, detail, call_site)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT DO NOTHING`;

export const loadRun: string = `
  SELECT
    ${loaded},
    (SELECT max(seq) FROM entry WHERE run_id = run.id) AS tail,
    (SELECT at FROM entry WHERE run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM run
  WHERE id = ?`;

/** A row that was left out of `loadRun`, or of another statement that loads rows, because it is heavy. */
export const loadHeavy: string = `
  SELECT
    ${loadedColumns(dialect.bytesOf, "one")},
    (SELECT max(seq) FROM entry WHERE run_id = run.id) AS tail,
    (SELECT at FROM entry WHERE run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM run
  WHERE id = ?`;

export const selectPayloads: string = `
  SELECT id, input, output
  FROM run
  WHERE id = ?`;

/** No other transaction can write before the commit, so loading a run holds it. */
export const lockRun: string = `
  SELECT
    ${loaded},
    (SELECT max(seq) FROM entry WHERE run_id = run.id) AS tail,
    (SELECT at FROM entry WHERE run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM run
  WHERE id = ?`;

export const loadReferenced: string = `
  SELECT
    ${loaded},
    (SELECT max(seq) FROM entry WHERE run_id = run.id) AS tail,
    (SELECT at FROM entry WHERE run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM run
  WHERE namespace = ? AND name = ? AND reference_id = ?`;

export const selectJournal: string = `
  SELECT *
  FROM entry
  WHERE run_id = ? AND seq > ?
  ORDER BY seq
  LIMIT ?`;

export const selectEntryAt: string = `
  SELECT ${outlineColumns(dialect)}
  FROM entry
  WHERE run_id = ? AND address = ? AND attempt = ?`;

/** The entries that a retried run may reuse. */
export const selectOutline: string = `
  SELECT ${reusedColumns(dialect)}
  FROM entry
  WHERE run_id = ?
  ORDER BY seq`;

/** Copies an entry to another run, as attempt 0. Changes nothing when the address or the `seq` is taken. */
export const copyEntry: string = `
  INSERT INTO entry (run_id, seq, address, attempt, at, fence, worker, started_at, type, payload, detail, call_site)
  SELECT ?1, ?2, address, 0, at, 0, worker, started_at, type, payload, detail, ?3
  FROM entry
  WHERE run_id = ?4 AND seq = ?5
  ON CONFLICT DO NOTHING`;

/** One version in one shard, in the order of the index. */
export const selectQueued: string = `
  SELECT id, priority
  FROM run
  WHERE status = 'queued' AND namespace = ? AND name = ? AND version_id = ? AND shard_key IS ?
  ORDER BY priority DESC, id
  LIMIT ?`;

export const selectDue: string = `
  SELECT id
  FROM run
  WHERE due_at <= ?
  ORDER BY due_at, id
  LIMIT ?`;

export const selectNextDue: string = `
  SELECT due_at
  FROM run
  WHERE due_at IS NOT NULL
  ORDER BY due_at
  LIMIT 1`;

export const selectChildren: string = `
  SELECT id
  FROM run
  WHERE parent_id = ? AND follows = 1 AND status NOT IN ('completed', 'failed', 'cancelled')
  ORDER BY id
  LIMIT ?`;

export const selectStalledChild: string = `
  SELECT
    ${loaded},
    (SELECT max(seq) FROM entry WHERE run_id = run.id) AS tail,
    (SELECT at FROM entry WHERE run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM run
  WHERE parent_id = ? AND status = 'stalled'
  ORDER BY id
  LIMIT 1`;

export const selectClaimed: string = `
  SELECT id
  FROM run
  WHERE status = 'running' AND session = ? AND claim_id = ?
  ORDER BY id`;

export const selectInSession: string = `
  SELECT id
  FROM run
  WHERE status = 'running' AND session = ?1 AND namespace = ?2
  UNION ALL
  SELECT id
  FROM run
  WHERE status <> 'running' AND session = ?1 AND namespace = ?2
  LIMIT ?3`;

/** Ignores an older row, and does not replace a worker that has left. */
export const upsertWorker: string = `
  INSERT INTO worker (namespace, session, worker, serves, shard_keys, slots, busy, since, seen_at, live_until)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (namespace, session) DO UPDATE
  SET
    worker = excluded.worker, serves = excluded.serves, shard_keys = excluded.shard_keys, slots = excluded.slots,
    busy = excluded.busy, since = min(worker.since, excluded.since), seen_at = excluded.seen_at,
    live_until = excluded.live_until
  WHERE worker.live_until > 0 AND (excluded.live_until = 0 OR excluded.seen_at >= worker.seen_at)`;

export const selectWorkers: string = `
  SELECT *
  FROM worker
  WHERE namespace = ? AND live_until > ?`;

/**
 * A row for each queue: walks from queue to queue by index (to the next shard, or else version, name or namespace,
 * because SQLite compares only the first column of a row value by index), then counts the first runs of each. And a row
 * for each version and reason of stalled runs. ?1: queues at most; ?2, ?3: queued runs of each queue and stalled runs
 * to count.
 */
export const selectRunStats: string = `
  WITH RECURSIVE head (at) AS (
    SELECT *
    FROM (
      SELECT rowid FROM run WHERE status = 'queued' ORDER BY namespace, name, version_id, shard_key LIMIT 1
    )
    UNION ALL
    SELECT coalesce(
      (
        SELECT next.rowid
        FROM run AS next
        WHERE next.status = 'queued' AND next.namespace = run.namespace AND next.name = run.name
          AND next.version_id = run.version_id AND next.shard_key > coalesce(run.shard_key, '')
        ORDER BY next.shard_key
        LIMIT 1
      ),
      (
        SELECT next.rowid
        FROM run AS next
        WHERE next.status = 'queued' AND next.namespace = run.namespace AND next.name = run.name
          AND next.version_id > run.version_id
        ORDER BY next.version_id, next.shard_key
        LIMIT 1
      ),
      (
        SELECT next.rowid
        FROM run AS next
        WHERE next.status = 'queued' AND next.namespace = run.namespace AND next.name > run.name
        ORDER BY next.name, next.version_id, next.shard_key
        LIMIT 1
      ),
      (
        SELECT next.rowid
        FROM run AS next
        WHERE next.status = 'queued' AND next.namespace > run.namespace
        ORDER BY next.namespace, next.name, next.version_id, next.shard_key
        LIMIT 1
      )
    )
    FROM head
    JOIN run ON run.rowid = head.at
    LIMIT ?1
  )
  SELECT
    namespace, name, version_id, shard_key, NULL AS reason,
    (
      SELECT json_array(count(*), min(queued_at))
      FROM (
        SELECT queued_at
        FROM run AS one
        WHERE one.status = 'queued' AND one.namespace = run.namespace AND one.name = run.name
          AND one.version_id = run.version_id AND one.shard_key IS run.shard_key
        ORDER BY one.priority DESC, one.id
        LIMIT ?2
      )
    ) AS counted
  FROM head
  JOIN run ON run.rowid = head.at
  UNION ALL
  SELECT namespace, name, version_id, NULL, stall_reason, json_array(count(*), NULL)
  FROM (
    SELECT namespace, name, version_id, stall_reason
    FROM run
    WHERE stall_reason IS NOT NULL
    ORDER BY namespace, name, version_id, stall_reason
    LIMIT ?3
  )
  GROUP BY namespace, name, version_id, stall_reason`;

export const selectLiveWorkers: string = `
  SELECT *
  FROM worker
  WHERE live_until > ?`;

export const deleteWorkers: string = `
  DELETE FROM worker WHERE seen_at < ? AND live_until < ?`;

/** A page of the runs of all namespaces. */
export const selectAll: string = `
  SELECT
    *,
    (SELECT max(seq) FROM entry WHERE run_id = run.id) AS tail,
    (SELECT at FROM entry WHERE run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM run
  WHERE id > ?
  ORDER BY id
  LIMIT ?`;

/** Changes nothing when the id is taken. */
export const insertKey: string = `
  INSERT INTO api_key (id, digest, namespace, name, scopes, created_at, expires_at)
  VALUES (?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT DO NOTHING
  RETURNING *`;

export const selectKey: string = `
  SELECT *
  FROM api_key
  WHERE id = ?`;

export const selectKeys: string = `
  SELECT *
  FROM api_key
  WHERE id > ?
  ORDER BY id
  LIMIT ?`;

/** Keeps the time of an earlier revocation. */
export const revokeKey: string = `
  UPDATE api_key
  SET revoked_at = coalesce(revoked_at, ?)
  WHERE id = ?
  RETURNING *`;

/** Never moves a time back, because servers may report a use late. */
export const touchKey: string = `
  UPDATE api_key
  SET last_used_at = max(coalesce(last_used_at, 0), ?)
  WHERE id = ?`;
