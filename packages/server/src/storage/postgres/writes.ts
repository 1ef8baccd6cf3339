/** SQL that transactions and optimistic writes share. */

/**
 * Part of a `WITH`: locks the rows of changes and holds in id order if they are at their revision ($1, $2), then writes
 * the changes. A hold has no status. Every join uses a key of `run`, so that a plan for ten rows also suits hundreds.
 */
export const lockAndChange: string = `held AS MATERIALIZED (
    SELECT given.*
    FROM unnest(
      $1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
      $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::text[]
    ) AS given (
      id, stood_at, status, due_at, revision, fence, updated_at, session, claim_id, output, state, error_code,
      queued_at, stall_reason
    )
    JOIN aiki.run ON run.id = given.id AND run.revision = given.stood_at
    ORDER BY run.id
    FOR NO KEY UPDATE OF run
  ), changed AS (
    UPDATE aiki.run
    SET
      status = held.status, due_at = held.due_at, revision = held.revision, fence = held.fence,
      updated_at = held.updated_at, session = held.session, claim_id = held.claim_id, output = held.output,
      state = held.state, error_code = held.error_code, queued_at = held.queued_at, stall_reason = held.stall_reason
    FROM held
    WHERE run.id = held.id AND held.status IS NOT NULL
  )`;

/** Inserts in the order of the arrays. */
export const insertGivenRuns: string = `
  INSERT INTO aiki.run (
    id, namespace, name, version_id, shard_key, priority, reference_id, parent_id, parent_address, follows, created_at,
    input, options, status, due_at, revision, fence, updated_at, session, claim_id, output, state, error_code,
    queued_at, stall_reason, tags
  )
  SELECT
    id, namespace, name, version_id, shard_key, priority, reference_id, parent_id, parent_address, follows, created_at,
    input, options, status, due_at, revision, fence, updated_at, session, claim_id, output, state, error_code,
    queued_at, stall_reason, tags::text[]
  FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::text[], $8::text[], $9::text[],
    $10::integer[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::bigint[],
    $18::bigint[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::bigint[], $25::text[],
    $26::text[]
  ) WITH ORDINALITY AS given (
    id, namespace, name, version_id, shard_key, priority, reference_id, parent_id, parent_address, follows, created_at,
    input, options, status, due_at, revision, fence, updated_at, session, claim_id, output, state, error_code,
    queued_at, stall_reason, tags, place
  )`;

/** Inserts in the order of the arrays. */
export const insertGivenEntries: string = `
  INSERT INTO aiki.entry
    (run_id, seq, address, attempt, at, fence, worker, started_at, type, payload, detail, call_site)
  SELECT run_id, seq, address, attempt, at, fence, worker, started_at, type, payload, detail, call_site
  FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::integer[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[],
    $9::text[], $10::text[], $11::text[], $12::text[]
  ) WITH ORDINALITY AS given (
    run_id, seq, address, attempt, at, fence, worker, started_at, type, payload, detail, call_site, place
  )`;
