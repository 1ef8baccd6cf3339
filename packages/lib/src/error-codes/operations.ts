/** Codes of who operates Aiki: the server's start, its database, and the command line. */

/** Errors of the server's start and of its database. */
export const databaseCodes = {
  PORT_IN_USE: {
    retryable: true,
    meaning: "Another program listens on the port already.",
    remedy: "Stop it, or pass another `port`; 0 takes any free one.",
  },
  LISTEN_FAILED: {
    retryable: false,
    meaning: "The server cannot listen on the address.",
    remedy: "Check `host` and permissions.",
  },
  DATABASE_LOCKED: {
    retryable: true,
    meaning:
      "Another Aiki server uses the file. `aiki keys` cannot always open it beside that server; see the message.",
    remedy: "Stop that server, or use another file.",
  },
  DATABASE_FOREIGN: {
    retryable: false,
    meaning: "The file, or the schema `aiki`, belongs to another program.",
    remedy: "Give Aiki a file or a database of its own.",
  },
  DATABASE_UNSUPPORTED: {
    retryable: false,
    meaning: "PostgreSQL is older than 14, its database is not in UTF8, or `array_nulls` is off for the role.",
    remedy: "Use another database, or reset the setting, as the message says.",
  },
  SCHEMA_TOO_NEW: {
    retryable: false,
    meaning: "A later version of Aiki has migrated this database.",
    remedy: "Run that version, or restore a backup.",
  },
  SCHEMA_DRIFT: {
    retryable: false,
    meaning: "A migration was applied here in another form.",
    remedy: "Use the build that applied it, or restore a backup.",
  },
  SQLITE_MISSING: {
    retryable: false,
    meaning: "There is no SQLite to load.",
    remedy: "Node 22.13 or later has one; else install `@photostructure/sqlite`.",
  },
  STORAGE_NOT_DURABLE: {
    retryable: false,
    meaning: "SQLite refused a setting that durability needs.",
    remedy: "Use a file on a local disk.",
  },
  STORAGE_UNAVAILABLE: {
    retryable: true,
    meaning:
      "The file cannot be opened or is not a file; or PostgreSQL cannot be reached, or had no free connection for 2 s.",
    remedy: "Check the directory, or the url and the load. Safe to retry.",
  },
  STORAGE_REFUSED: {
    retryable: true,
    meaning:
      "PostgreSQL refuses the login, a privilege or the database's name; or its certificate or pooler cannot be used.",
    remedy: "Do what the message says; it quotes the driver. docs/production.md lists privileges and explains TLS.",
  },
  STORAGE_READ_ONLY: {
    retryable: true,
    meaning:
      "The file or its directory is write-protected; or PostgreSQL is read-only, a standby or a replaced primary.",
    remedy: "Check the permissions, or `default_transaction_read_only`; connect to the current primary.",
  },
  STORAGE_BUSY: {
    retryable: true,
    meaning: "Another program holds the file, a row or a table locked, or a statement took longer than 10 s.",
    remedy: "Close whatever writes to it; look for long transactions.",
  },
  STORAGE_CONFLICT: {
    retryable: true,
    meaning:
      "Transactions of several servers were in each other's way. The server decides again; you see it in logs only.",
    remedy: "Nothing.",
  },
  STORAGE_FULL: {
    retryable: true,
    meaning: "The disk is full. Nothing was recorded.",
    remedy: "Free some space.",
  },
  STORAGE_IO: {
    retryable: true,
    meaning: "The disk failed to read or write.",
    remedy: "Check the disk before going on.",
  },
  STORAGE_CORRUPT: {
    retryable: false,
    meaning: "The database is damaged. On SQLite the server stops using it.",
    remedy: "Keep a copy, restore a backup.",
  },
  STORAGE_FILE_LOST: {
    retryable: false,
    meaning: "A SQLite file was deleted, moved or replaced in use. The server refuses all further reads and writes.",
    remedy: 'Before you stop the server, do as "SQLite" in the README of `@aikirun/server` says.',
  },
  STORAGE_FAILED: {
    retryable: true,
    meaning: "The database answered something unforeseen.",
    remedy: "Report it, unless the schema was changed by hand.",
  },
  STORAGE_CLOSED: {
    retryable: false,
    meaning: "The storage was used after `close()`.",
    remedy: "Open a new server.",
  },
  ROW_UNREADABLE: {
    retryable: false,
    meaning:
      "A row of the run that the log names is damaged. While the run is queued, nothing can be claimed from its queue.",
    remedy: "Mend the row, or restore a backup.",
  },
  RECALL_CONFLICT: {
    retryable: false,
    meaning: "A retried run met entries of its own: a fault of Aiki.",
    remedy: "Report it with the run's id.",
  },
} as const;

/** Errors of the command line. */
export const commandCodes = {
  OUTPUT_LOST: {
    retryable: true,
    meaning: "Standard output could not be written, as on a full disk: part of what the command printed is lost.",
    remedy: "Free some space, or write elsewhere; then run the command again.",
  },
  MOVE_SOURCE_EMPTY: {
    retryable: false,
    meaning: "`aiki move` was given a source that holds no run, or a file that does not exist.",
    remedy: "Check the name.",
  },
  MOVE_SOURCE_IN_USE: {
    retryable: true,
    meaning: "Servers are connected to the PostgreSQL that runs are moved from.",
    remedy: "Stop them all; restart a pooler that keeps their connections.",
  },
  MOVE_TARGET_NOT_EMPTY: {
    retryable: false,
    meaning: "The database that runs are moved to holds runs already. Nothing was changed.",
    remedy: "Name one that holds none.",
  },
  MOVE_DIFFERS: {
    retryable: true,
    meaning:
      "What was written is not what the source holds: another program wrote into one of them. Nothing was moved.",
    remedy: "Stop every server of both, then move again.",
  },
  KEY_NOT_FOUND: {
    retryable: false,
    meaning: "`aiki keys revoke`, or `keys.revoke()`, was given an id that no key has.",
    remedy: "`aiki keys list` shows the ids.",
  },
  NO_SUCH_FILE: {
    retryable: false,
    meaning: "`aiki dev` was given a path that is not a file.",
    remedy: "Check the path.",
  },
  SYSTEM_ERROR: {
    retryable: true,
    meaning: "The operating system refused what a command needs, such as one more open file; the message quotes it.",
    remedy: "Raise the limit or mend what it names.",
  },
  NOTHING_EXPORTED: {
    retryable: false,
    meaning: "The file of `aiki dev` exports no workflow.",
    remedy: "Export what `workflow()` or its `v()` returns.",
  },
} as const;
