import type { Migration } from "../migration.ts";

/**
 * Text is compared byte by byte (`COLLATE "C"`), as in the other dialect. A run without shard key stands in its queue's
 * index under U+0001, which is no other key's text: `IS NOT DISTINCT FROM` would use no index. No revision is below
 * 0: only the list of a workflow's runs says so, so that nothing else is looked up through that index.
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

/** Small and often written: no column that changes is indexed, so that a change stays on its page. */
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

const addAskToEntry = `
  ALTER TABLE aiki.entry ADD COLUMN ask text;`;

/** `IS TRUE` keeps this index to the look-up of stalled children: the list of all stalled runs is not read from it. */
const indexStalledChildren = `
  CREATE INDEX run_stalled_child ON aiki.run (parent_id, id)
    WHERE (status = 'stalled') IS TRUE AND parent_id IS NOT NULL;`;

export const migrations: readonly Migration[] = [
  { number: 1, name: "create run and entry", sql: createRunAndEntry },
  { number: 2, name: "create worker", sql: createWorker },
  { number: 3, name: "create api key", sql: createApiKey },
  { number: 4, name: "add ask to entry", sql: addAskToEntry },
  { number: 5, name: "index stalled children", sql: indexStalledChildren },
];
