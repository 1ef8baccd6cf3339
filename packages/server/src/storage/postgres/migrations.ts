import type { Migration } from "../migration.ts";

/**
 * Text is compared byte by byte (`COLLATE "C"`), as in the other dialect. The index of queues contains a run without
 * shard key under U+0001, which is no shard key: `IS NOT DISTINCT FROM` would use no index.
 */
const createRunAndEntry = `
  CREATE TABLE aiki.run (
    id             text COLLATE "C" NOT NULL PRIMARY KEY,
    namespace      text COLLATE "C" NOT NULL,
    name           text COLLATE "C" NOT NULL,
    version_id     text COLLATE "C" NOT NULL,
    shard_key      text COLLATE "C",
    priority       integer NOT NULL,
    status         text COLLATE "C" NOT NULL,
    due_at         bigint,
    revision       bigint NOT NULL CHECK (revision >= 0),
    fence          bigint NOT NULL,
    created_at     bigint NOT NULL,
    updated_at     bigint NOT NULL,
    reference_id   text COLLATE "C",
    parent_id      text COLLATE "C",
    parent_address text COLLATE "C",
    follows        integer NOT NULL,
    session        text COLLATE "C",
    claim_id       text COLLATE "C",
    tags           text[] COLLATE "C" NOT NULL,
    options        text NOT NULL,
    state          text NOT NULL,
    input          text,
    output         text
  ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

  CREATE INDEX run_queued
    ON aiki.run (namespace, name, version_id, (coalesce(shard_key, U&'\\0001')), priority DESC, id)
    WHERE status = 'queued';
  CREATE INDEX run_due ON aiki.run (due_at, id)
    WHERE due_at IS NOT NULL;
  CREATE INDEX run_claimed ON aiki.run (session, claim_id, id)
    WHERE status = 'running';
  CREATE INDEX run_suspended ON aiki.run (session, id)
    WHERE session IS NOT NULL AND status <> 'running';
  CREATE UNIQUE INDEX run_reference ON aiki.run (namespace, name, reference_id)
    WHERE reference_id IS NOT NULL;
  CREATE INDEX run_parent ON aiki.run (parent_id, id)
    WHERE parent_id IS NOT NULL;
  CREATE INDEX run_live_child ON aiki.run (parent_id, id)
    WHERE follows = 1 AND status NOT IN ('completed', 'failed', 'cancelled');
  CREATE INDEX run_name ON aiki.run (namespace, name, id)
    WHERE revision >= 0;
  CREATE INDEX run_status ON aiki.run (namespace, status, id)
    WHERE status NOT IN ('queued', 'running', 'completed');

  CREATE TABLE aiki.entry (
    run_id     text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    address    text COLLATE "C" NOT NULL,
    attempt    integer NOT NULL,
    at         bigint NOT NULL,
    fence      bigint NOT NULL,
    worker     text COLLATE "C",
    started_at bigint,
    type       text COLLATE "C" NOT NULL,
    payload    text,
    detail     text,
    PRIMARY KEY (run_id, seq)
  );

  CREATE UNIQUE INDEX entry_address ON aiki.entry (run_id, address, attempt);`;

/** Small and often updated: no changing column is indexed, so that an update stays on its page. */
const createWorker = `
  CREATE TABLE aiki.worker (
    namespace  text COLLATE "C" NOT NULL,
    session    text COLLATE "C" NOT NULL,
    worker     text COLLATE "C" NOT NULL,
    serves     text NOT NULL,
    shard_keys text NOT NULL,
    slots      bigint,
    busy       bigint,
    since      bigint NOT NULL,
    seen_at    bigint NOT NULL,
    live_until bigint NOT NULL,
    PRIMARY KEY (namespace, session)
  ) WITH (fillfactor = 50);`;

const createApiKey = `
  CREATE TABLE aiki.api_key (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    digest       text COLLATE "C" NOT NULL,
    namespace    text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    scopes       text COLLATE "C" NOT NULL,
    created_at   bigint NOT NULL,
    expires_at   bigint,
    revoked_at   bigint,
    last_used_at bigint
  );`;

const addCallSiteToEntry = `
  ALTER TABLE aiki.entry ADD COLUMN call_site text;`;

/** `IS TRUE` reserves this index for looking up stalled children: lists of stalled runs do not use it. */
const indexStalledChildren = `
  CREATE INDEX run_stalled_child ON aiki.run (parent_id, id)
    WHERE (status = 'stalled') IS TRUE AND parent_id IS NOT NULL;`;

/**
 * The indexes for lists: one for each selective filter, in the order of the list. Tags have a separate table, which is
 * written only when a run is inserted. No revision and no fence is below 0, and only lists state this condition, so no
 * other statement uses the two largest indexes, and each list uses only its own. States that the JSON functions of
 * PostgreSQL cannot read get no error code.
 */
const indexLists = `
  ALTER TABLE aiki.run ADD COLUMN error_code text COLLATE "C";
  UPDATE aiki.run
  SET error_code = state::json #>> '{state,error,code}'
  WHERE status = 'failed' AND CASE
    WHEN state ~* '\\\\u(0000|d[89a-f])' THEN false
    ELSE length(state::json #>> '{state,error,code}') <= 255
  END;

  DROP INDEX aiki.run_reference;
  DROP INDEX aiki.run_parent;
  DROP INDEX aiki.run_name;
  DROP INDEX aiki.run_status;
  CREATE UNIQUE INDEX run_reference ON aiki.run (namespace, reference_id, name)
    WHERE reference_id IS NOT NULL;
  CREATE INDEX run_parent ON aiki.run (namespace, parent_id, created_at, id)
    WHERE parent_id IS NOT NULL;
  CREATE INDEX run_name ON aiki.run (namespace, name, created_at, id)
    WHERE revision >= 0;
  CREATE INDEX run_status ON aiki.run (namespace, status, created_at, id)
    WHERE status NOT IN ('queued', 'running', 'completed');
  CREATE INDEX run_error ON aiki.run (namespace, error_code, created_at, id)
    WHERE error_code IS NOT NULL;
  CREATE INDEX run_created ON aiki.run (namespace, created_at, id)
    WHERE fence >= 0;

  CREATE TABLE aiki.run_tag (
    namespace  text COLLATE "C" NOT NULL,
    tag        text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    run_id     text COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace, tag, created_at, run_id)
  );

  INSERT INTO aiki.run_tag (namespace, tag, created_at, run_id)
  SELECT DISTINCT namespace, tag, created_at, id
  FROM aiki.run CROSS JOIN unnest(tags) AS tag;

  CREATE FUNCTION aiki.insert_run_tag() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO aiki.run_tag (namespace, tag, created_at, run_id)
    SELECT DISTINCT NEW.namespace, tag, NEW.created_at, NEW.id
    FROM unnest(NEW.tags) AS tag;
    RETURN NULL;
  END $$;
  CREATE TRIGGER run_tag_inserted AFTER INSERT ON aiki.run
    FOR EACH ROW WHEN (NEW.tags <> '{}') EXECUTE FUNCTION aiki.insert_run_tag();

  CREATE FUNCTION aiki.delete_run_tag() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    DELETE FROM aiki.run_tag
    WHERE namespace = OLD.namespace AND tag = ANY (OLD.tags) AND created_at = OLD.created_at AND run_id = OLD.id;
    RETURN NULL;
  END $$;
  CREATE TRIGGER run_tag_deleted AFTER DELETE ON aiki.run
    FOR EACH ROW WHEN (OLD.tags <> '{}') EXECUTE FUNCTION aiki.delete_run_tag();`;

/** One row: the identity of the database, null until a server records it, and the fence floor. */
const createIdentity = `
  CREATE TABLE aiki.identity (
    single      boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (single),
    database    text COLLATE "C",
    fence_floor bigint NOT NULL
  );

  INSERT INTO aiki.identity (fence_floor) VALUES (0);`;

/**
 * Indexes from which queued and stalled runs are counted without reading their rows. `queued_at` is in the index of the
 * queues, so that the age of a queue needs no further index. PostgreSQL reads an expression from an index only if the
 * index also includes its column. Patterns read the states, because the JSON functions of PostgreSQL cannot read all of
 * them; no JSON string contains an unescaped quote.
 */
const indexStats = `
  ALTER TABLE aiki.run ADD COLUMN queued_at bigint, ADD COLUMN stall_reason text COLLATE "C";
  UPDATE aiki.run SET queued_at = substring(state FROM '"since":([0-9]+),"waits":')::bigint WHERE status = 'queued';
  UPDATE aiki.run SET stall_reason = substring(state FROM '"reason":"([a-z_]+)"') WHERE status = 'stalled';

  DROP INDEX aiki.run_queued;
  CREATE INDEX run_queued
    ON aiki.run (namespace, name, version_id, (coalesce(shard_key, U&'\\0001')), priority DESC, id)
    INCLUDE (shard_key, queued_at)
    WHERE status = 'queued';
  CREATE INDEX run_stalled ON aiki.run (namespace, name, version_id, stall_reason)
    WHERE stall_reason IS NOT NULL;`;

export const migrations: readonly Migration[] = [
  { number: 1, name: "create run and entry", sql: createRunAndEntry },
  { number: 2, name: "create worker", sql: createWorker },
  { number: 3, name: "create api key", sql: createApiKey },
  { number: 4, name: "add call_site to entry", sql: addCallSiteToEntry },
  { number: 5, name: "index stalled children", sql: indexStalledChildren },
  { number: 6, name: "index lists", sql: indexLists },
  { number: 7, name: "create identity", sql: createIdentity },
  { number: 8, name: "index stats", sql: indexStats },
];
