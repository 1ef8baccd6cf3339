import type { Env, Logger } from "@aikirun/lib";
import { AikiError, consoleLogger, systemEnv } from "@aikirun/lib";
import { v7 } from "uuid";
import type { Settings } from "./core/run.ts";

/** How to run a server. Every field has a default: `server()` keeps runs in `aiki.db` in the working directory. */
export interface ServerParams {
  /** `sqlite:<path>` (default `sqlite:aiki.db`) or `memory:`, which forgets everything when the server closes. */
  database?: string;
  /** The port that `listen()` takes; 0 takes any free one. Default 9090. */
  port?: number;
  /** The address that `listen()` binds. Default 127.0.0.1. */
  host?: string;
  /** Host names, besides the loopback ones, under which requests may arrive (`aiki.example.com`), without a port. */
  allowedHosts?: readonly string[];
  /** This version has no authentication: only with `true` does `listen()` bind an address beyond this machine. */
  dangerouslyAllowUnauthenticated?: boolean;
  /** Where log lines go. Default: the console. */
  logger?: Logger;
  /** Clock, randomness and ids; for tests. */
  env?: Env;
  /** How patient the engine is; the defaults suit production. */
  settings?: Partial<Settings>;
}

/** The parameters, checked, with every default filled in. */
export interface Config {
  readonly database: Database;
  readonly port: number;
  readonly host: string;
  readonly allowedHosts: readonly string[];
  readonly dangerouslyAllowUnauthenticated: boolean;
  readonly logger: Logger;
  readonly env: Env;
  readonly settings: Partial<Settings>;
}

export type Database = { type: "memory" } | { type: "sqlite"; path: string };

const fields: Record<keyof ServerParams, true> = {
  database: true,
  port: true,
  host: true,
  allowedHosts: true,
  dangerouslyAllowUnauthenticated: true,
  logger: true,
  env: true,
  settings: true,
};

/** Throws `INVALID_CONFIG` naming the field and what it may be. */
export function parseConfig(params: ServerParams): Config {
  const unknown = Object.keys(params).find((field) => !Object.hasOwn(fields, field));
  if (unknown !== undefined) {
    throw invalid(`server() knows no field "${unknown}". It takes ${Object.keys(fields).join(", ")}.`);
  }
  return Object.freeze({
    database: parseDatabase(params.database ?? "sqlite:aiki.db"),
    port: parsePort(params.port ?? 9090),
    host: params.host ?? "127.0.0.1",
    allowedHosts: Object.freeze((params.allowedHosts ?? []).map(parseHostName)),
    dangerouslyAllowUnauthenticated: params.dangerouslyAllowUnauthenticated === true,
    logger: params.logger ?? consoleLogger({}),
    env: params.env ?? systemEnv({ id: v7 }),
    settings: Object.freeze({ ...params.settings }),
  });
}

/** Throws `INVALID_CONFIG` for what this version cannot open. */
export function parseDatabase(database: string): Database {
  if (database === "memory:") return { type: "memory" };
  if (database.startsWith("sqlite:")) {
    const path = database.slice("sqlite:".length);
    if (path === "")
      throw invalid('database "sqlite:" names no file. Write sqlite:aiki.db, or memory: to keep nothing.');
    return { type: "sqlite", path };
  }
  const supported = "This version supports sqlite:<path> and memory:.";
  if (/^postgres(ql)?:/i.test(database)) {
    throw invalid(`PostgreSQL is coming and not part of this version. ${supported}`);
  }
  throw invalid(`database ${JSON.stringify(redacted(database))} is not one that Aiki knows. ${supported}`);
}

export function parsePort(port: number): number {
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  throw invalid(`port must be a whole number from 0 to 65535, not ${String(port)}.`);
}

function parseHostName(name: string): string {
  if (/^(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)$/i.test(name)) return name.toLowerCase();
  throw invalid(
    `allowedHosts holds ${JSON.stringify(name)}. Write a host name without scheme and port: aiki.example.com.`,
  );
}

/** A connection string may hold a password; an error message must not. */
function redacted(database: string): string {
  return database.replace(/\/\/[^/@]*@/, "//***@");
}

export function invalid(message: string): AikiError {
  return new AikiError("INVALID_CONFIG", message);
}
