/**
 * The constant statements of the storage. A batch is passed as arrays. `LIMIT 1` in a lateral join makes the planner
 * look rows up by index, whatever the statistics say.
 */

import { type OutlineDialect, outlineColumns, reusedColumns } from "../entry-row.ts";
import { loadedColumns } from "../row.ts";
import { insertGivenEntries, insertGivenRuns, lockAndChange } from "./writes.ts";

const dialect: OutlineDialect = {
  bytesOf: (text) => `octet_length(${text})`,
  holds: (text, part) => `strpos(${text}, '${part}') > 0`,
};

const loaded = loadedColumns(dialect.bytesOf, "many");

export const begin: string = "BEGIN ISOLATION LEVEL READ COMMITTED";

export const commit: string = "COMMIT";

export const rollback: string = "ROLLBACK";

/**
 * Changes no row, but needs what a change needs: privileges of the role, a server that is not a standby, space on the
 * disk (the series is larger than the `work_mem` of the session, so PostgreSQL writes it into a temporary file), and a
 * record in the write-ahead log, so that the commit waits for the disk and for synchronous standbys.
 */
export const checkWritable: string = `
  WITH
    inserted_run AS (INSERT INTO aiki.run SELECT * FROM aiki.run WHERE false),
    updated_run AS (UPDATE aiki.run SET revision = revision WHERE false),
    inserted_tag AS (INSERT INTO aiki.run_tag SELECT * FROM aiki.run_tag WHERE false),
    inserted_entry AS (INSERT INTO aiki.entry SELECT * FROM aiki.entry WHERE false),
    inserted_identity AS (INSERT INTO aiki.identity SELECT * FROM aiki.identity WHERE false),
    updated_identity AS (UPDATE aiki.identity SET fence_floor = fence_floor WHERE false)
  SELECT
    pg_logical_emit_message(true, 'aiki', 'check') AS position,
    (SELECT count(*) FROM generate_series(1, 10000)) AS written`;

/** Skips runs whose id or reference is taken, also by an earlier run of the batch. Returns the ids inserted. */
export const insertRun: string = `${insertGivenRuns}
  ORDER BY place
  ON CONFLICT DO NOTHING
  RETURNING id`;

/** Returns the ids locked. */
export const updateRun: string = `
  WITH ${lockAndChange}
  SELECT id FROM held`;

/** Takes the same locks without changes. */
export const holdRun: string = `
  SELECT run.id
  FROM unnest($1::text[], $2::bigint[]) AS given (id, revision)
  JOIN aiki.run ON run.id = given.id AND run.revision = given.revision
  ORDER BY run.id
  FOR NO KEY UPDATE OF run`;

/** Skips entries whose address or `seq` is taken, also by an earlier one of the batch. Returns the keys inserted. */
export const insertEntry: string = `${insertGivenEntries}
  ORDER BY place
  ON CONFLICT DO NOTHING
  RETURNING run_id, seq, address, attempt`;

export const loadRun: string = `
  SELECT
    ${loaded},
    (SELECT max(seq) FROM aiki.entry WHERE entry.run_id = run.id) AS tail,
    (SELECT at FROM aiki.entry WHERE entry.run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM unnest($1::text[]) AS given (id)
  CROSS JOIN LATERAL (SELECT * FROM aiki.run WHERE run.id = given.id LIMIT 1) AS run`;

/** Loads heavy rows, which `loadRun` and other statements that load rows leave out. */
export const loadHeavy: string = `
  SELECT
    ${loadedColumns(dialect.bytesOf, "one")},
    (SELECT max(seq) FROM aiki.entry WHERE entry.run_id = run.id) AS tail,
    (SELECT at FROM aiki.entry WHERE entry.run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM unnest($1::text[]) AS given (id)
  CROSS JOIN LATERAL (SELECT * FROM aiki.run WHERE run.id = given.id LIMIT 1) AS run`;

export const selectPayloads: string = `
  SELECT run.id, run.input, run.output
  FROM unnest($1::text[]) AS given (id)
  CROSS JOIN LATERAL (SELECT * FROM aiki.run WHERE run.id = given.id LIMIT 1) AS run`;

/** Locks and loads the rows that no other transaction has locked. */
export const lockRun: string = `
  SELECT
    ${loaded},
    (SELECT max(seq) FROM aiki.entry WHERE entry.run_id = run.id) AS tail,
    (SELECT at FROM aiki.entry WHERE entry.run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM unnest($1::text[]) AS given (id)
  CROSS JOIN LATERAL (
    SELECT * FROM aiki.run WHERE run.id = given.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
  ) AS run`;

export const loadReferenced: string = `
  SELECT
    ${loaded},
    (SELECT max(seq) FROM aiki.entry WHERE entry.run_id = run.id) AS tail,
    (SELECT at FROM aiki.entry WHERE entry.run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM unnest($1::text[], $2::text[], $3::text[]) AS given (namespace, name, reference_id)
  CROSS JOIN LATERAL (
    SELECT *
    FROM aiki.run
    WHERE run.namespace = given.namespace AND run.name = given.name AND run.reference_id = given.reference_id
    LIMIT 1
  ) AS run`;

/**
 * A page for each request, numbered by `place`; rows beyond the requested bytes are not sent. The sizes here are never
 * larger than those that `cutJournal` uses: an encoded payload counts as 0.
 */
export const selectJournal: string = `
  SELECT
    given.place, page.run_id, page.seq, page.address, page.attempt, page.at, page.fence, page.worker, page.started_at,
    page.type, page.payload, page.detail, page.call_site
  FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY
    AS given (run_id, after, most, bytes, place)
  CROSS JOIN LATERAL (
    SELECT *, coalesce(sum(bytes) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
    FROM (
      SELECT
        *,
        160 + coalesce(octet_length(call_site), 0)
          + coalesce(octet_length(payload), 0) / CASE WHEN left(payload, 1) = E'\\x01' THEN 6 ELSE 1 END AS bytes
      FROM aiki.entry
      WHERE entry.run_id = given.run_id AND entry.seq > given.after
      ORDER BY seq
      LIMIT given.most
    ) AS listed
  ) AS page
  WHERE page.before <= given.bytes
  ORDER BY given.place, page.seq`;

export const selectEntryAt: string = `
  SELECT ${outlineColumns(dialect)}
  FROM unnest($1::text[], $2::text[], $3::integer[]) AS given (run_id, address, attempt)
  CROSS JOIN LATERAL (
    SELECT *
    FROM aiki.entry
    WHERE entry.run_id = given.run_id AND entry.address = given.address AND entry.attempt = given.attempt
    LIMIT 1
  ) AS entry`;

/** The entries that a retried run may reuse. */
export const selectOutline: string = `
  SELECT ${reusedColumns(dialect)}
  FROM aiki.entry
  WHERE run_id = $1
  ORDER BY seq`;

/**
 * Copies entries ($3) to another run, as attempt 0. Skips entries whose address or `seq` is taken. Returns the entries
 * copied.
 */
export const copyEntry: string = `
  INSERT INTO aiki.entry (run_id, seq, address, attempt, at, fence, worker, started_at, type, payload, detail,
    call_site)
  SELECT
    $2::text, given.seq, entry.address, 0, entry.at, 0, entry.worker, entry.started_at, entry.type, entry.payload,
    entry.detail, given.call_site
  FROM unnest($3::bigint[], $4::bigint[], $5::text[]) AS given (from_seq, seq, call_site)
  CROSS JOIN LATERAL (SELECT * FROM aiki.entry WHERE entry.run_id = $1 AND entry.seq = given.from_seq LIMIT 1) AS entry
  ORDER BY given.seq
  ON CONFLICT DO NOTHING
  RETURNING seq`;

/**
 * Reads some more runs than requested ($5) from each queue in the order of the index, lets queues take turns, and takes
 * the first runs that no other transaction has locked. Every row says how many were read; if none was taken, there is
 * one row, with that number only.
 */
export const selectQueued: string = `
  WITH seen AS MATERIALIZED (
    SELECT
      run.id, run.priority, given.place,
      row_number() OVER (PARTITION BY given.place, run.priority ORDER BY run.id) AS rank
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
      WITH ORDINALITY AS given (namespace, name, version_id, shard_key, place)
    CROSS JOIN LATERAL (
      SELECT id, priority
      FROM aiki.run
      WHERE status = 'queued' AND namespace = given.namespace AND name = given.name AND version_id = given.version_id
        AND coalesce(shard_key, E'\\x01') = given.shard_key
      ORDER BY priority DESC, id
      LIMIT 2 * $5::integer + 8
    ) AS run
  ), ordered AS MATERIALIZED (
    SELECT id, row_number() OVER (ORDER BY priority DESC, rank, place) AS turn
    FROM seen
    ORDER BY turn
  ), taken AS MATERIALIZED (
    SELECT held.id, ordered.turn
    FROM ordered
    CROSS JOIN LATERAL (
      SELECT id
      FROM aiki.run
      WHERE run.id = ordered.id AND status = 'queued'
      LIMIT 1
      FOR NO KEY UPDATE SKIP LOCKED
    ) AS held
    LIMIT $5::integer
  )
  SELECT taken.id, counted.seen
  FROM (SELECT count(*) AS seen FROM seen) AS counted
  LEFT JOIN taken ON true
  ORDER BY taken.turn`;

/** Skips runs that another server has locked, so that several servers handle different runs. */
export const selectDue: string = `
  SELECT id
  FROM aiki.run
  WHERE due_at <= $1
  ORDER BY due_at, id
  LIMIT $2
  FOR NO KEY UPDATE SKIP LOCKED`;

export const selectNextDue: string = `
  SELECT due_at
  FROM aiki.run
  WHERE due_at IS NOT NULL
  ORDER BY due_at
  LIMIT 1`;

export const selectChildren: string = `
  SELECT child.id
  FROM unnest($1::text[]) AS given (parent_id)
  CROSS JOIN LATERAL (
    SELECT id
    FROM aiki.run
    WHERE parent_id = given.parent_id AND follows = 1 AND status NOT IN ('completed', 'failed', 'cancelled')
    ORDER BY id
    LIMIT $2
  ) AS child
  LIMIT $2`;

export const selectStalledChild: string = `
  SELECT
    ${loaded},
    (SELECT max(seq) FROM aiki.entry WHERE entry.run_id = run.id) AS tail,
    (SELECT at FROM aiki.entry WHERE entry.run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM unnest($1::text[]) AS given (parent_id)
  CROSS JOIN LATERAL (
    SELECT *
    FROM aiki.run
    WHERE run.parent_id = given.parent_id AND (status = 'stalled') IS TRUE
    ORDER BY id
    LIMIT 1
  ) AS run`;

export const selectClaimed: string = `
  SELECT id
  FROM aiki.run
  WHERE status = 'running' AND session = $1 AND claim_id = ANY($2)
  ORDER BY id`;

export const selectInSession: string = `
  SELECT id
  FROM aiki.run
  WHERE status = 'running' AND session = $1 AND namespace = $2
  UNION ALL
  SELECT id
  FROM aiki.run
  WHERE status <> 'running' AND session = $1 AND namespace = $2
  LIMIT $3`;

/** Ignores an older row, and does not replace a worker that has left. Locks in the order of the key. */
export const upsertWorker: string = `
  INSERT INTO aiki.worker (namespace, session, worker, serves, shard_keys, slots, busy, since, seen_at, live_until)
  SELECT namespace, session, worker, serves, shard_keys, slots, busy, since, seen_at, live_until
  FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
    $10::bigint[]
  ) AS given (namespace, session, worker, serves, shard_keys, slots, busy, since, seen_at, live_until)
  ORDER BY namespace COLLATE "C", session COLLATE "C"
  ON CONFLICT (namespace, session) DO UPDATE
  SET
    worker = excluded.worker, serves = excluded.serves, shard_keys = excluded.shard_keys, slots = excluded.slots,
    busy = excluded.busy, since = least(worker.since, excluded.since), seen_at = excluded.seen_at,
    live_until = excluded.live_until
  WHERE worker.live_until > 0 AND (excluded.live_until = 0 OR excluded.seen_at >= worker.seen_at)`;

export const selectWorkers: string = `
  SELECT *
  FROM aiki.worker
  WHERE namespace = $1 AND live_until > $2`;

/**
 * A row for each queue: walks from queue to queue by index, then counts the first runs of each. And a row for each
 * version and reason of stalled runs. $1: queues at most; $2, $3: queued runs of each queue and stalled runs to count.
 */
export const selectRunStats: string = `
  WITH RECURSIVE queue AS (
    (
      SELECT namespace, name, version_id, coalesce(shard_key, E'\\x01') AS shard_key
      FROM aiki.run
      WHERE status = 'queued'
      ORDER BY namespace, name, version_id, coalesce(shard_key, E'\\x01')
      LIMIT 1
    )
    UNION ALL
    SELECT next.*
    FROM queue
    CROSS JOIN LATERAL (
      SELECT namespace, name, version_id, coalesce(shard_key, E'\\x01') AS shard_key
      FROM aiki.run
      WHERE status = 'queued' AND (namespace, name, version_id, coalesce(shard_key, E'\\x01'))
        > (queue.namespace, queue.name, queue.version_id, queue.shard_key)
      ORDER BY namespace, name, version_id, coalesce(shard_key, E'\\x01')
      LIMIT 1
    ) AS next
  )
  SELECT
    queue.namespace, queue.name, queue.version_id, nullif(queue.shard_key, E'\\x01') AS shard_key, NULL AS reason,
    counted.count, counted.since
  FROM (SELECT * FROM queue LIMIT $1) AS queue
  CROSS JOIN LATERAL (
    SELECT count(*) AS count, min(queued_at) AS since
    FROM (
      SELECT queued_at
      FROM aiki.run
      WHERE status = 'queued' AND namespace = queue.namespace AND name = queue.name AND version_id = queue.version_id
        AND coalesce(shard_key, E'\\x01') = queue.shard_key
      ORDER BY priority DESC, id
      LIMIT $2
    ) AS one
  ) AS counted
  UNION ALL
  SELECT namespace, name, version_id, NULL, stall_reason, count(*), NULL
  FROM (
    SELECT namespace, name, version_id, stall_reason
    FROM aiki.run
    WHERE stall_reason IS NOT NULL
    ORDER BY namespace, name, version_id, stall_reason
    LIMIT $3
  ) AS stalled
  GROUP BY namespace, name, version_id, stall_reason`;

export const selectLiveWorkers: string = `
  SELECT *
  FROM aiki.worker
  WHERE live_until > $1`;

export const deleteWorkers: string = `
  DELETE FROM aiki.worker WHERE seen_at < $1 AND live_until < $1`;

/** A page of the runs of all namespaces. */
export const selectAll: string = `
  SELECT
    run.*,
    (SELECT max(seq) FROM aiki.entry WHERE entry.run_id = run.id) AS tail,
    (SELECT at FROM aiki.entry WHERE entry.run_id = run.id ORDER BY seq DESC LIMIT 1) AS recorded_at
  FROM aiki.run
  WHERE id > $1
  ORDER BY id
  LIMIT $2`;

/** Inserts nothing when the id is taken. */
export const insertKey: string = `
  INSERT INTO aiki.api_key (id, digest, namespace, name, scopes, created_at, expires_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7)
  ON CONFLICT DO NOTHING
  RETURNING *`;

export const selectKey: string = `
  SELECT *
  FROM aiki.api_key
  WHERE id = ANY ($1::text[])`;

export const selectKeys: string = `
  SELECT *
  FROM aiki.api_key
  WHERE id > $1
  ORDER BY id
  LIMIT $2`;

/** Keeps the time of an earlier revocation. */
export const revokeKey: string = `
  UPDATE aiki.api_key
  SET revoked_at = coalesce(revoked_at, $1)
  WHERE id = $2
  RETURNING *`;

/** Never moves a time back, as servers may report a use late. Skips locked rows: their holder records the same use. */
export const touchKey: string = `
  UPDATE aiki.api_key
  SET last_used_at = greatest(last_used_at, $1)
  FROM (
    SELECT id
    FROM aiki.api_key
    WHERE id = ANY ($2::text[])
    FOR NO KEY UPDATE SKIP LOCKED
  ) AS free
  WHERE api_key.id = free.id`;
