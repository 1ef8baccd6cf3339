import { homedir } from "node:os";
import { join } from "node:path";
import { AikiError, consoleLogger, type Env, type Logger } from "@aikirun/lib";
import { Fields, redactUrl, systemEnv } from "@aikirun/lib/internal";
import { parseRedisUrl, type RedisTarget } from "@aikirun/redis";
import { v7 } from "uuid";
import type { Settings } from "./core/run.ts";
import { parsePostgresUrl } from "./storage/postgres/url.ts";

/** How to run a server. Every field has a default: `server()` keeps runs in `aiki.db` in the working directory. */
export interface ServerParams {
  /**
   * `sqlite:<path>` (default `sqlite:aiki.db`), `postgres://…` for any number of servers, or `memory:`, which forgets
   * everything when the server closes. A path is absolute, relative to the working directory, or begins with `~/`.
   */
  database?: string;
  /** Connections to PostgreSQL at most, from 2. With none free for 2 s a call is `UNAVAILABLE`. Default 10. */
  databaseConnections?: number;
  /**
   * A url of the same PostgreSQL without a pooler in transaction mode, for the one connection that receives
   * notifications. A pooler in session mode also works here. Default: `database`, unless that leads through a pooler.
   */
  databaseDirect?: string;
  /**
   * `redis://user:password@host:port/db`, `rediss://` for TLS, with `?cluster=true` for a cluster and `?prefix=`
   * (default `aiki`) for several databases beside one another: carries wake-ups to workers with the `redis_streams`
   * subscriber, and notifications between servers. It may be missing at any moment. Default: none.
   */
  redis?: string;
  /** The port that `listen()` takes; 0 takes any free one. Default 9090. */
  port?: number;
  /** The address that `listen()` binds. Default 127.0.0.1. */
  host?: string;
  /**
   * Host names in addition to the loopback ones under which requests may arrive (`aiki.example.com`), without a port.
   * Default: none.
   */
  allowedHosts?: readonly string[];
  /**
   * The path below which the server is reachable, if a proxy serves it there: `/x/y`. Requests may arrive with it or
   * without it. Default: the root.
   */
  basePath?: string;
  /** Whether each call over HTTP needs an API key, whose namespace it sees. Default `false`: all see `default`. */
  auth?: boolean;
  /** Whether `listen()` may bind an address beyond this machine without `auth`. Default false. */
  dangerouslyAllowUnauthenticated?: boolean;
  /** Where log lines go. Default: the console. */
  logger?: Logger;
  /** Clock, randomness and ids; for tests. Default: the system's. */
  env?: Env;
  /** Timeouts and limits of the engine. Default: the default of each field, which suits production. */
  settings?: Partial<Settings>;
}

/** Where a server listens. */
export interface Listen {
  readonly port: number;
  readonly host: string;
}

/** The parameters, checked, with every default filled in. */
export interface Config extends Listen {
  readonly database: Database;
  readonly redis: RedisTarget | null;
  readonly allowedHosts: readonly string[];
  /** Empty for the root. */
  readonly basePath: string;
  readonly auth: boolean;
  readonly dangerouslyAllowUnauthenticated: boolean;
  readonly logger: Logger;
  readonly env: Env;
  readonly settings: Partial<Settings>;
}

export type Database =
  | { type: "memory" }
  | { type: "sqlite"; path: string }
  | { type: "postgres"; url: string; directUrl: string | null; connections: number };

const defaultConnections = 10;

/** Characters of a url. */
const urlLength = { min: 1, max: 4_000 };

/** Throws `INVALID_CONFIG` naming the field and what it may be. */
export function parseConfig(params: unknown): Config {
  const fields = new Fields(params, "server", "INVALID_CONFIG");
  const config: Config = {
    database: parseDatabase(fields.secret("database", urlLength) ?? "sqlite:aiki.db", {
      connections: fields.integer("databaseConnections", { min: 2, max: 10_000 }),
      direct: fields.secret("databaseDirect", urlLength),
    }),
    redis: fields.has("redis") ? parseRedisUrl(fields.secret("redis", urlLength) ?? "") : null,
    ...parseListen(fields, { port: 9090, host: "127.0.0.1" }),
    allowedHosts: Object.freeze((fields.texts("allowedHosts", 1_000) ?? []).map(parseHostName)),
    basePath: parseBasePath(fields.text("basePath") ?? ""),
    ...parseAuth(fields),
    logger: fields.logger("logger") ?? consoleLogger({}),
    env: fields.env("env") ?? systemEnv({ id: v7 }),
    settings: fields.has("settings") ? parseSettings(fields.take("settings")) : {},
  };
  fields.done();
  return Object.freeze(config);
}

/** Where to listen; what is not given is as in `otherwise`. */
export function parseListen(fields: Fields, otherwise: Listen): Listen {
  return {
    port: fields.integer("port", { min: 0, max: 65_535 }) ?? otherwise.port,
    host: fields.text("host") ?? otherwise.host,
  };
}

function parseAuth(fields: Fields): Pick<Config, "auth" | "dangerouslyAllowUnauthenticated"> {
  const auth = fields.flag("auth") ?? false;
  const dangerouslyAllowUnauthenticated = fields.flag("dangerouslyAllowUnauthenticated") ?? false;
  if (auth && dangerouslyAllowUnauthenticated) {
    throw invalid("auth requires API keys, and dangerouslyAllowUnauthenticated does not. Remove one of them.");
  }
  return { auth, dangerouslyAllowUnauthenticated };
}

const settingNames = [
  "unconfirmedLeaseMs",
  "redeliverMs",
  "maxRedeliverMs",
  "maxCrashes",
  "maxOpenWaits",
  "aliveMs",
] as const satisfies ReadonlyArray<keyof Settings>;

function parseSettings(value: unknown): Partial<Settings> {
  const fields = new Fields(value, "server.settings", "INVALID_CONFIG");
  const settings: Partial<Settings> = {};
  for (const name of settingNames) {
    const setting = fields.integer(name, { min: 0, max: 2 ** 31 - 1 });
    if (setting !== undefined) settings[name] = setting;
  }
  fields.done();
  return Object.freeze(settings);
}

/** Options of a database in addition to its url. */
export interface DatabaseOptions {
  /** The option that names the database, as errors call it. Default `database`. */
  field?: string;
  /** Connections to PostgreSQL at most. Default 10. */
  connections?: number | undefined;
  /** A url of the same PostgreSQL past a pooler. Default: none. */
  direct?: string | undefined;
}

/** Throws `INVALID_CONFIG` for what this version cannot open. Shows no text in which a password may stand. */
export function parseDatabase(text: string, options: DatabaseOptions = {}): Database {
  const { field = "database", connections = defaultConnections, direct } = options;
  const database = text.trim();
  if (database === "memory:") return { type: "memory" };
  if (database.startsWith("sqlite:"))
    return { type: "sqlite", path: parsePath(database.slice("sqlite:".length), field) };
  if (/^postgres(ql)?:/i.test(database)) {
    const directUrl = direct === undefined ? null : parsePostgresUrl(direct, "databaseDirect");
    return { type: "postgres", url: parsePostgresUrl(database, field), directUrl, connections };
  }
  const shown = database === "" ? "is empty" : `${redactUrl(database)} is not one that Aiki knows`;
  throw invalid(`${field} ${shown}. Write sqlite:<path>, postgres://… or memory:.`, field);
}

/** Forms of a path that other programs accept and Aiki does not, and what to write instead. */
const otherForms: ReadonlyArray<[form: RegExp, advice: string]> = [
  [/^$|[\\/]$|(^|[\\/])\.{1,2}$/, "names no file. Write sqlite:aiki.db, or memory: to keep nothing"],
  [/:memory:|mode=memory/, "would keep nothing. Write memory: for a database in memory"],
  [/^file:/i, "holds a URI of SQLite. Write the path alone: sqlite:aiki.db or sqlite:/data/aiki.db"],
  [/^\/\//, "holds a url. Write sqlite:aiki.db for a path from the working directory, or sqlite:/data/aiki.db"],
  [/\?/, "has parameters, and SQLite takes none here. Write the path alone: sqlite:aiki.db"],
  [/^~($|[^\\/])/, "begins with the home directory of a user. Write the whole path: sqlite:/home/ada/aiki.db"],
  [/^\s|\s$/, "begins or ends with a space. Write the path alone: sqlite:aiki.db"],
  [/\p{Cc}/u, "holds a control character. Write the path alone: sqlite:aiki.db"],
];

/** A path relative to the working directory, absolute, or below the home directory (`~/`), which no shell fills in. */
function parsePath(path: string, field: string): string {
  // A password may stand in what was meant as a url.
  const written = JSON.stringify(/[@?]|\/\//.test(path) ? "sqlite:…" : `sqlite:${path}`);
  const other = otherForms.find(([form]) => form.test(path));
  if (other !== undefined) throw invalid(`${field} ${written} ${other[1]}.`, field);
  if (!/^~[\\/]/.test(path)) return path;
  try {
    return join(homedir(), path.slice(2));
  } catch {
    throw invalid(
      `${field} ${written} is below the home directory, and this user has none. Write the whole path.`,
      field,
    );
  }
}

function parseBasePath(path: string): string {
  const text = path.replace(/\/$/, "");
  if (/^(\/[\w.~-]+)*$/.test(text) && !/\/\.\.?(\/|$)/.test(text)) return text;
  throw invalid(`basePath is ${JSON.stringify(path)}. Write a path such as /aiki or /x/y.`, "basePath");
}

function parseHostName(name: string): string {
  if (/^(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)$/i.test(name)) return name.toLowerCase();
  throw invalid(
    `allowedHosts holds ${JSON.stringify(name)}. Write a host name without scheme and port: aiki.example.com.`,
  );
}

/** A database as it may be shown: of a url only scheme, host, port and path, or less if it is not a valid url. */
export function withoutPassword(database: string): string {
  const trimmed = database.trim();
  return /^(sqlite|memory):/.test(trimmed) ? trimmed : redactUrl(trimmed);
}

/** `field`: the option that is wrong. */
export function invalid(message: string, field?: string): AikiError {
  return new AikiError("INVALID_CONFIG", message, field === undefined ? {} : { ids: { field } });
}
