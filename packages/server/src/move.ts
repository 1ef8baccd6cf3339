import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { AikiError, consoleLogger, type Env, type Logger } from "@aikirun/lib";
import { systemEnv } from "@aikirun/lib/internal";
import { v7 } from "uuid";
import { type Database, invalid, parseDatabase } from "./config.ts";
import { openDatabase } from "./database.ts";
import { type Moved, type MoveProgress, transfer } from "./move/transfer.ts";
import type { Storage } from "./storage/storage.ts";

/** The databases of a move: `sqlite:<path>` or `postgres://…`, in any combination. */
export interface MoveParams {
  /** Only read, except that its schema is brought up to date. No server may be using it. */
  from: string;
  /** Holds no runs yet. */
  to: string;
  /** Where log lines go. Default: the console. */
  logger?: Logger;
  /** Called after each page; what it returns is awaited. Default: nothing. */
  onProgress?: (progress: MoveProgress) => void | Promise<void>;
}

/**
 * Copies all runs of all namespaces, also live ones, with their journals to another database. It is one transaction of
 * the target, which commits when every run has been read back and is the same. An interrupted move changes nothing and
 * can be repeated. Throws `INVALID_CONFIG`, `MOVE_SOURCE_EMPTY`,
 * `MOVE_SOURCE_IN_USE`, `MOVE_TARGET_NOT_EMPTY`, `MOVE_DIFFERS`, or what `server()` throws of a database that cannot be
 * opened, `DATABASE_LOCKED` for a file in use among it.
 *
 * @example
 * ```ts
 * import { move } from "@aikirun/server";
 *
 * const moved = await move({ from: "sqlite:aiki.db", to: "postgres://aiki@localhost/aiki" });
 * console.log(`${moved.runs} runs with ${moved.entries} entries`);
 * ```
 */
export async function move({ from, to, logger = consoleLogger({}), onProgress }: MoveParams): Promise<Moved> {
  const [source, target] = [movable(from, "from"), movable(to, "to")];
  if (isSame(source, target)) throw invalid("from and to name the same database. Name another one to move to.");
  const env = systemEnv({ id: v7 });
  const around = { env, logger };
  await checkUnused(source);
  return withOpen(source, around, (opened) =>
    withOpen(target, around, (empty) =>
      transfer({
        from: opened,
        to: empty,
        progress: async (progress) => onProgress?.(progress),
        last: () => checkUnused(source),
      }),
    ),
  );
}

/** How often to look for connections of servers: those of a stopped server remain for a moment. Milliseconds. */
const lingering = { looks: 11, pauseMs: 200 };

type Movable = Exclude<Database, { type: "memory" }>;

function movable(database: string, field: string): Movable {
  // What writes is one transaction and what reads another.
  const parsed = parseDatabase(database, { field, connections: 2 });
  if (parsed.type !== "memory") return parsed;
  throw invalid(`${field} is memory:, which is gone when its server ends. Name sqlite:<path> or postgres://….`, field);
}

function isSame(source: Movable, target: Movable): boolean {
  return addressOf(source) === addressOf(target);
}

/** A database may have further names: then the move fails at its own lock, or because the target is not empty. */
function addressOf(database: Movable): string {
  if (database.type === "sqlite") return `sqlite:${resolve(database.path)}`;
  const { hostname, port, pathname } = new URL(database.url);
  return `postgres:${hostname}:${port || "5432"}${pathname}`;
}

/**
 * The lock of a SQLite file excludes servers. On PostgreSQL, servers are recognised by the application name of their
 * connections. A server whose url sets another name is not recognised, but its writes during the move are detected.
 */
async function checkUnused(source: Movable): Promise<void> {
  if (source.type === "sqlite") return checkExists(source.path);
  const { serversOn } = await import("./storage/postgres/servers.ts");
  let addresses = await serversOn(named(source.url));
  for (let looks = 1; addresses.length > 0 && looks < lingering.looks; looks += 1) {
    await pause(lingering.pauseMs);
    addresses = await serversOn(named(source.url));
  }
  if (addresses.length === 0) return;
  throw new AikiError(
    "MOVE_SOURCE_IN_USE",
    `Servers are connected to the source, from ${addresses.join(", ")}. Stop every server that uses it, then move. ` +
      "A pooler may keep connections for a while after that; restart it, or wait.",
  );
}

/** Checks this first, because opening a missing file would create an empty one. */
async function checkExists(path: string): Promise<void> {
  const isThere = await stat(path).then(
    () => true,
    // What else is wrong with the path is said when it is opened.
    (thrown: NodeJS.ErrnoException) => thrown.code !== "ENOENT",
  );
  if (!isThere) throw new AikiError("MOVE_SOURCE_EMPTY", `There is no file ${path}. Check the name.`);
}

async function withOpen<Result>(
  database: Movable,
  around: { env: Env; logger: Logger },
  work: (storage: Storage) => Promise<Result>,
): Promise<Result> {
  const own = database.type === "postgres" ? { ...database, url: named(database.url) } : database;
  const storage = await openDatabase(own, around);
  try {
    return await work(storage);
  } finally {
    await storage.close();
  }
}

/** Gives the connections of the move another application name than servers; the last of equal parameters is used. */
function named(url: string): string {
  return `${url}${url.includes("?") ? "&" : "?"}application_name=aiki-move`;
}
