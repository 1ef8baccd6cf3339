import type { SqliteFile } from "../storage/sqlite/inspect.ts";
import { type Finding, findingsOf } from "./finding.ts";
import { schemaFinding } from "./schema.ts";

const { ok, error } = findingsOf("database");

/** What to think of a database file. */
export function sqliteFindings(file: SqliteFile, path: string): Finding[] {
  switch (file.type) {
    case "missing":
      return [
        file.isWritable
          ? ok(`${path} does not exist yet; the server creates it.`)
          : error(
              `${path} does not exist, and this user cannot create it.`,
              "Create its directory, or make the directory writable for the user who runs the server.",
            ),
      ];
    case "in_use":
      return [ok(`A server uses ${path} (${file.holder}).`)];
    case "free": {
      const writable = file.isWritable
        ? ok(`${path} can be opened with SQLite ${file.sqlite}; no server uses it now.`)
        : error(`This user cannot write to ${path}.`, "Make it writable for the user who runs the server.");
      return [writable, schemaFinding(file.schema)];
    }
    default:
      return file satisfies never;
  }
}
