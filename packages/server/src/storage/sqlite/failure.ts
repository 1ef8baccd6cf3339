import { AikiError, isAikiError } from "@aikirun/lib";

/** Primary result codes of SQLite: https://www.sqlite.org/rescode.html */
const codes = { busy: 5, locked: 6, readonly: 8, io: 10, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 };

/** What SQLite threw, as an error with a stable code that says what to do; anything else comes back as it is. */
export function explainFailure(thrown: unknown, path: string): unknown {
  const code = resultCode(thrown);
  if (code === null || isAikiError(thrown)) return thrown;
  const [name, advice] = explain(code);
  return new AikiError(name, `SQLite could not use ${path}: ${advice}`, { cause: thrown, ids: { path } });
}

export function isBusy(thrown: unknown): boolean {
  return resultCode(thrown) === codes.busy;
}

function explain(code: number): [name: string, advice: string] {
  switch (code) {
    case codes.full:
      return ["STORAGE_FULL", "the disk is full. Nothing was recorded; free some space and go on."];
    case codes.corrupt:
    case codes.notADatabase:
      return ["STORAGE_CORRUPT", "the file is damaged. Stop, keep a copy of it, and restore a backup."];
    case codes.busy:
    case codes.locked:
      return ["STORAGE_BUSY", "another program holds it locked. Close whatever writes to it."];
    case codes.readonly:
      return ["STORAGE_READ_ONLY", "it may not be written. Check the permissions of the file and its directory."];
    case codes.cannotOpen:
      return ["STORAGE_UNAVAILABLE", "it cannot be opened. Check that the directory exists and may be written."];
    case codes.io:
      return ["STORAGE_IO", "the disk failed to read or write. Check the disk before going on."];
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
