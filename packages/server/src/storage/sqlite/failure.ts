import { AikiError, type ErrorCode, isAikiError } from "@aikirun/lib";

/** Primary result codes of SQLite: https://www.sqlite.org/rescode.html */
const codes = { busy: 5, locked: 6, readonly: 8, io: 10, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 };

type SqliteAdvice = [code: ErrorCode, advice: string];

const full: SqliteAdvice = ["STORAGE_FULL", "the disk is full. Nothing was recorded; free some space and go on."];
const readOnly: SqliteAdvice = [
  "STORAGE_READ_ONLY",
  "it may not be written. Check the permissions of the file and its directory.",
];
const failingDisk: SqliteAdvice = ["STORAGE_IO", "the disk failed to read or write. Check the disk before going on."];
const noDirectory: SqliteAdvice = ["STORAGE_UNAVAILABLE", "a part of its path is a file and not a directory."];

/** What the operating system answers about a path, by the name of its error. */
const systemErrors: Readonly<Record<string, SqliteAdvice>> = {
  EACCES: readOnly,
  EPERM: readOnly,
  EROFS: readOnly,
  ENOSPC: full,
  EDQUOT: full,
  EIO: failingDisk,
  ENOTDIR: noDirectory,
  EEXIST: noDirectory,
  EISDIR: ["STORAGE_UNAVAILABLE", "it is a directory. Name a file."],
  ELOOP: ["STORAGE_UNAVAILABLE", "its path leads through symbolic links in a circle."],
  ENAMETOOLONG: ["STORAGE_UNAVAILABLE", "its name or its path is too long."],
};

/**
 * What SQLite or the file system threw, as an error with a stable code that says what to do; anything else comes back
 * as it is.
 */
export function explainFailure(thrown: unknown, path: string): unknown {
  if (isAikiError(thrown)) return thrown;
  const code = resultCode(thrown);
  const system = systemCode(thrown);
  if (code === null && system === null) return thrown;
  const [name, advice] = code === null ? explainSystem(system ?? "") : explain(code);
  const symptom = code === null ? ` (${system})` : "";
  return new AikiError(name, `SQLite could not use ${path}: ${advice}${symptom}`, { cause: thrown, ids: { path } });
}

/** Whether the file system found nothing under a path. */
export function isMissing(thrown: unknown): boolean {
  const code = systemCode(thrown);
  return code === "ENOENT" || code === "ENOTDIR";
}

export function isBusy(thrown: unknown): boolean {
  return resultCode(thrown) === codes.busy;
}

function explainSystem(code: string): SqliteAdvice {
  return systemErrors[code] ?? ["STORAGE_UNAVAILABLE", "the operating system does not let it be opened."];
}

function explain(code: number): SqliteAdvice {
  switch (code) {
    case codes.full:
      return full;
    case codes.corrupt:
    case codes.notADatabase:
      return ["STORAGE_CORRUPT", "the file is damaged. Stop, keep a copy of it, and restore a backup."];
    case codes.busy:
    case codes.locked:
      return ["STORAGE_BUSY", "another program holds it locked. Close whatever writes to it."];
    case codes.readonly:
      return readOnly;
    case codes.cannotOpen:
      return [
        "STORAGE_UNAVAILABLE",
        "it cannot be opened. Check that its directory exists, and that the directory and the file may be written.",
      ];
    case codes.io:
      return failingDisk;
    default:
      return [
        "STORAGE_FAILED",
        `SQLite answered ${code}. This is a fault of Aiki unless the file was changed by hand.`,
      ];
  }
}

/** `node:sqlite` puts the extended result code in `errcode`; its low byte is the primary one. */
function resultCode(thrown: unknown): number | null {
  if (typeof thrown !== "object" || thrown === null || !("errcode" in thrown)) return null;
  return typeof thrown.errcode === "number" ? thrown.errcode & 0xff : null;
}

/** The name of an error of the operating system, such as `EACCES`. */
function systemCode(thrown: unknown): string | null {
  if (!(thrown instanceof Error) || !("syscall" in thrown) || !("code" in thrown)) return null;
  return typeof thrown.code === "string" ? thrown.code : null;
}
