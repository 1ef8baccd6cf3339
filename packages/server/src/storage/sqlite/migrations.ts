import type { Migration } from "../migration.ts";

const createRunAndEntry = `
  CREATE TABLE run (
    id             TEXT NOT NULL PRIMARY KEY,
    namespace      TEXT NOT NULL,
    name           TEXT NOT NULL,
    version_id     TEXT NOT NULL,
    shard_key      TEXT,
    priority       INTEGER NOT NULL,
    status         TEXT NOT NULL,
    due_at         INTEGER,
    revision       INTEGER NOT NULL,
    fence          INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    reference_id   TEXT,
    parent_id      TEXT,
    parent_address TEXT,
    follows        INTEGER NOT NULL,
    session        TEXT,
    claim_id       TEXT,
    options        TEXT NOT NULL,
    state          TEXT NOT NULL,
    input          TEXT,
    output         TEXT
  ) STRICT;

  CREATE INDEX run_queued ON run (namespace, name, version_id, shard_key, priority DESC, id)
    WHERE status = 'queued';
  CREATE INDEX run_due ON run (due_at, id)
    WHERE due_at IS NOT NULL;
  CREATE INDEX run_claimed ON run (session, claim_id, id)
    WHERE status = 'running';
  CREATE INDEX run_suspended ON run (session, id)
    WHERE session IS NOT NULL AND status <> 'running';
  CREATE UNIQUE INDEX run_reference ON run (namespace, name, reference_id)
    WHERE reference_id IS NOT NULL;
  CREATE INDEX run_parent ON run (parent_id, id)
    WHERE parent_id IS NOT NULL;
  CREATE INDEX run_live_child ON run (parent_id, id)
    WHERE follows = 1 AND status NOT IN ('completed', 'failed', 'cancelled');
  CREATE INDEX run_name ON run (namespace, name, id);
  CREATE INDEX run_status ON run (namespace, status, id)
    WHERE status NOT IN ('queued', 'running', 'completed');

  CREATE TABLE entry (
    run_id     TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    address    TEXT NOT NULL,
    attempt    INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    fence      INTEGER NOT NULL,
    worker     TEXT,
    started_at INTEGER,
    type       TEXT NOT NULL,
    payload    TEXT,
    detail     TEXT,
    PRIMARY KEY (run_id, seq)
  ) STRICT, WITHOUT ROWID;

  CREATE UNIQUE INDEX entry_address ON entry (run_id, address, attempt);`;

const createWorker = `
  CREATE TABLE worker (
    namespace  TEXT NOT NULL,
    session    TEXT NOT NULL,
    worker     TEXT NOT NULL,
    serves     TEXT NOT NULL,
    shard_keys TEXT NOT NULL,
    slots      INTEGER,
    busy       INTEGER,
    since      INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    live_until INTEGER NOT NULL,
    PRIMARY KEY (namespace, session)
  ) STRICT, WITHOUT ROWID;`;

const createApiKey = `
  CREATE TABLE api_key (
    id           TEXT NOT NULL PRIMARY KEY,
    digest       TEXT NOT NULL,
    namespace    TEXT NOT NULL,
    name         TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER
  ) STRICT, WITHOUT ROWID;`;

const addCallSiteToEntry = `
  ALTER TABLE entry ADD COLUMN call_site TEXT;`;

const indexStalledChildren = `
  CREATE INDEX run_stalled_child ON run (parent_id, id)
    WHERE status = 'stalled' AND parent_id IS NOT NULL;`;

/**
 * What lists are read from: an index for each filter that few runs meet, in the order of the list. Tags have a table of
 * their own, which is written when a run is, and never again. `follows` is never below 0, and only the list of all runs
 * of a namespace says so: no other statement uses its index. Nor does it change, so that no change of a run writes
 * there.
 */
const indexLists = `
  ALTER TABLE run ADD COLUMN error_code TEXT;
  UPDATE run
  SET error_code = CAST(json_extract(state, '$.state.error.code') AS TEXT)
  WHERE status = 'failed' AND length(json_extract(state, '$.state.error.code')) <= 255;

  DROP INDEX run_reference;
  DROP INDEX run_parent;
  DROP INDEX run_name;
  DROP INDEX run_status;
  CREATE UNIQUE INDEX run_reference ON run (namespace, reference_id, name)
    WHERE reference_id IS NOT NULL;
  CREATE INDEX run_parent ON run (namespace, parent_id, created_at, id)
    WHERE parent_id IS NOT NULL;
  CREATE INDEX run_name ON run (namespace, name, created_at, id);
  CREATE INDEX run_status ON run (namespace, status, created_at, id)
    WHERE status NOT IN ('queued', 'running', 'completed');
  CREATE INDEX run_error ON run (namespace, error_code, created_at, id)
    WHERE error_code IS NOT NULL;
  CREATE INDEX run_created ON run (namespace, created_at, id)
    WHERE follows >= 0;

  CREATE TABLE run_tag (
    namespace  TEXT NOT NULL,
    tag        TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    run_id     TEXT NOT NULL,
    PRIMARY KEY (namespace, tag, created_at, run_id)
  ) STRICT, WITHOUT ROWID;

  INSERT INTO run_tag (namespace, tag, created_at, run_id)
  SELECT DISTINCT run.namespace, tag.value, run.created_at, run.id
  FROM run CROSS JOIN json_each(run.options, '$.tags') AS tag;

  CREATE TRIGGER run_tag_inserted AFTER INSERT ON run
  WHEN json_extract(NEW.options, '$.tags[0]') IS NOT NULL
  BEGIN
    INSERT INTO run_tag (namespace, tag, created_at, run_id)
    SELECT DISTINCT NEW.namespace, value, NEW.created_at, NEW.id
    FROM json_each(NEW.options, '$.tags');
  END;

  CREATE TRIGGER run_tag_deleted AFTER DELETE ON run
  WHEN json_extract(OLD.options, '$.tags[0]') IS NOT NULL
  BEGIN
    DELETE FROM run_tag
    WHERE namespace = OLD.namespace AND created_at = OLD.created_at AND run_id = OLD.id
      AND tag IN (SELECT value FROM json_each(OLD.options, '$.tags'));
  END;`;

/**
 * Indexes from which queued and stalled runs are counted without reading their rows. `queued_at` is in the index of the
 * queues, so that the age of a queue needs no further index.
 */
const indexStats = `
  ALTER TABLE run ADD COLUMN queued_at INTEGER;
  ALTER TABLE run ADD COLUMN stall_reason TEXT;
  UPDATE run SET queued_at = json_extract(state, '$.since') WHERE status = 'queued';
  UPDATE run SET stall_reason = json_extract(state, '$.state.reason') WHERE status = 'stalled';

  DROP INDEX run_queued;
  CREATE INDEX run_queued ON run (namespace, name, version_id, shard_key, priority DESC, id, queued_at)
    WHERE status = 'queued';
  CREATE INDEX run_stalled ON run (namespace, name, version_id, stall_reason)
    WHERE stall_reason IS NOT NULL;`;

export const migrations: readonly Migration[] = [
  { number: 1, name: "create run and entry", sql: createRunAndEntry },
  { number: 2, name: "create worker", sql: createWorker },
  { number: 3, name: "create api key", sql: createApiKey },
  { number: 4, name: "add call_site to entry", sql: addCallSiteToEntry },
  { number: 5, name: "index stalled children", sql: indexStalledChildren },
  { number: 6, name: "index lists", sql: indexLists },
  { number: 7, name: "index stats", sql: indexStats },
];
