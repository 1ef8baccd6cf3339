import { AikiError } from "@aikirun/lib";
import { isRecord } from "@aikirun/lib/internal";
import type { Cell, Row } from "../row.ts";

/** The part of the `node:sqlite` API that Aiki uses. */
export interface Driver {
  new (path: string): SqliteDatabase;
}

export interface SqliteDatabase {
  exec(sql: string): void;
  prepare(sql: string): PreparedStatement;
  close(): void;
}

export interface PreparedStatement {
  run(...values: Cell[]): { changes: number | bigint };
  get(...values: Cell[]): Row | undefined;
  all(...values: Cell[]): Row[];
  iterate(...values: Cell[]): IterableIterator<Row>;
}

const builtIn = "node:sqlite";
const prebuilt = "@photostructure/sqlite";

/**
 * What this runtime has: the built-in `node:sqlite` (Node 22.13, Deno, Bun), else the prebuilt package with the same
 * API, which needs no install script. Throws `SQLITE_MISSING`.
 */
export async function loadDriver(): Promise<Driver> {
  const failures: unknown[] = [];
  for (const name of hasBuiltIn() ? [builtIn, prebuilt] : [prebuilt]) {
    try {
      const module: unknown = builtInModule(name) ?? (await import(name));
      if (isRecord(module) && isDriver(module.DatabaseSync)) return module.DatabaseSync;
    } catch (thrown) {
      failures.push(thrown);
    }
  }
  throw new AikiError(
    "SQLITE_MISSING",
    `No SQLite: use Node 22.13 or later, or install ${prebuilt} (no install script is needed).`,
    { cause: failures.at(-1) },
  );
}

/**
 * Without the warning that Node 22 prints, once per process, when its SQLite is loaded: Aiki chose it, not the user.
 * Undefined for what is not built in.
 */
function builtInModule(name: string): unknown {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return process.getBuiltinModule?.(name);
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** Before 22.13 Node hides `node:sqlite` behind a flag. */
function hasBuiltIn(): boolean {
  if (process.versions.deno !== undefined || process.versions.bun !== undefined) return true;
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  return major > 22 || (major === 22 && minor >= 13);
}

/** The module comes from outside the types of Node 20; its API is Node's documented one. */
function isDriver(value: unknown): value is Driver {
  return typeof value === "function";
}
