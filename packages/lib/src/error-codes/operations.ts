/** Error codes for operators: the server's start, its database, and the command line. */

/** Errors of the server's start and of its database. */
export const databaseCodes = {
  PORT_IN_USE: {
    retryable: true,
    meaning: "Another program already listens on the port.",
    remedy: "Stop it, or pass another `port`; 0 takes any free port.",
  },
  LISTEN_FAILED: {
    retryable: false,
    meaning: "The server cannot listen on the address.",
    remedy: "Check `host` and the permissions of the process.",
  },
  DATABASE_LOCKED: {
    retryable: true,
    meaning:
      "Another Aiki server uses the file. `aiki keys` cannot always open it while that server runs; see the message.",
    remedy: "Stop that server, or use another file.",
  },
  DATABASE_FOREIGN: {
    retryable: false,
    meaning: "The file, or the schema `aiki`, belongs to another program.",
    remedy: "Use a separate file or database for Aiki.",
  },
  DATABASE_UNSUPPORTED: {
    retryable: false,
    meaning: "PostgreSQL is older than 14, its encoding is not UTF8, or `array_nulls` is off for the role.",
    remedy: "Use another database, or reset the setting, as the message says.",
  },
  SCHEMA_TOO_NEW: {
    retryable: false,
    meaning: "A later version of Aiki has migrated this database.",
    remedy: "Use that version, or restore a backup.",
  },
  SCHEMA_DRIFT: {
    retryable: false,
    meaning: "A migration that was applied to this database differs from the one in this build.",
    remedy: "Use the build that applied it, or restore a backup.",
  },
  SQLITE_MISSING: {
    retryable: false,
    meaning: "This version of Node has no SQLite.",
    remedy: "Use Node 22.13 or later, or install `@photostructure/sqlite`.",
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
    remedy: "Check the directory, or the url and the load. It is safe to retry.",
  },
  STORAGE_REFUSED: {
    retryable: true,
    meaning:
      "PostgreSQL refuses the login, a privilege or the database's name; or its certificate or pooler cannot be used.",
    remedy: "Do what the message says; it quotes the driver. docs/production.md lists privileges and explains TLS.",
  },
  STORAGE_READ_ONLY: {
    retryable: true,
    meaning: "The file or its directory is write-protected; or PostgreSQL is read-only, a standby or a former primary.",
    remedy: "Check the permissions, or `default_transaction_read_only`; connect to the current primary.",
  },
  STORAGE_BUSY: {
    retryable: true,
    meaning: "Another program has locked the file, a row or a table, or a statement took longer than 10 s.",
    remedy: "Stop the program that holds the lock; look for long transactions.",
  },
  STORAGE_CONFLICT: {
    retryable: true,
    meaning: "Transactions of several servers conflicted. The server decides again. This code occurs only in logs.",
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
    remedy: "Check the disk before you continue.",
  },
  STORAGE_CORRUPT: {
    retryable: false,
    meaning: "The database is damaged. A server on SQLite stops using it.",
    remedy: "Keep a copy, and restore a backup.",
  },
  STORAGE_FILE_LOST: {
    retryable: false,
    meaning: "A SQLite file was deleted, moved or replaced in use. The server refuses all further reads and writes.",
    remedy: 'Before you stop the server, follow "SQLite" in the README of `@aikirun/server`.',
  },
  STORAGE_FAILED: {
    retryable: true,
    meaning: "The database returned an error that Aiki does not know.",
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
      "A row of a run is damaged; the log names the run. While the run is queued, nothing in its queue can be claimed.",
    remedy: "Repair the row, or restore a backup.",
  },
  REUSE_CONFLICT: {
    retryable: false,
    meaning: "The new run that `retry()` starts already had entries of its own. This is a bug in Aiki.",
    remedy: "Report it with the run's id.",
  },
} as const;

/** Errors of the command line. */
export const commandCodes = {
  OUTPUT_LOST: {
    retryable: true,
    meaning: "Standard output could not be written, for example on a full disk. Part of the command's output is lost.",
    remedy: "Free some space, or write to another place; then run the command again.",
  },
  AMBIGUOUS_RUN: {
    retryable: false,
    meaning: "A command of `aiki` got the beginning of an id, and several runs have ids that begin with it.",
    remedy: "Write more characters of the id. The command lists the runs.",
  },
  MOVE_SOURCE_EMPTY: {
    retryable: false,
    meaning: "The source of `aiki move` holds no run, or its file does not exist.",
    remedy: "Check the name of the source.",
  },
  MOVE_SOURCE_IN_USE: {
    retryable: true,
    meaning: "Servers are connected to the PostgreSQL that is the source of the move.",
    remedy: "Stop all servers; restart a pooler that keeps their connections open.",
  },
  MOVE_TARGET_NOT_EMPTY: {
    retryable: false,
    meaning: "The target of the move already holds runs. Nothing was changed.",
    remedy: "Use a target that holds no runs.",
  },
  MOVE_DIFFERS: {
    retryable: true,
    meaning: "The target does not match the source: another program wrote into one of them. Nothing was moved.",
    remedy: "Stop all servers of both databases, then move again.",
  },
  KEY_NOT_FOUND: {
    retryable: false,
    meaning: "`aiki keys revoke`, or `keys.revoke()`, was called with an id that no key has.",
    remedy: "`aiki keys list` shows the ids.",
  },
  NO_SUCH_FILE: {
    retryable: false,
    meaning: "`aiki dev` was called with a path that is not a file.",
    remedy: "Check the path.",
  },
  SYSTEM_ERROR: {
    retryable: true,
    meaning:
      "The operating system refused what a command needs, for example one more open file; the message quotes it.",
    remedy: "Raise the limit, or fix what the message names.",
  },
  NOTHING_EXPORTED: {
    retryable: false,
    meaning: "The file of `aiki dev` exports no workflow.",
    remedy: "Export what `workflow()` or its `v()` returns.",
  },
} as const;
