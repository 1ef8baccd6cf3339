/** The measured configurations: the database, the transport, and the worker's subscriber. */

export interface Mode {
  readonly name: string;
  readonly database: "sqlite" | "postgres";
  /** With `http` the server has its own process. */
  readonly transport: "in-process" | "http";
  readonly subscriber: "adaptive_polling" | "redis_streams";
}

export const modes: readonly Mode[] = [
  { name: "sqlite", database: "sqlite", transport: "in-process", subscriber: "adaptive_polling" },
  { name: "sqlite-http", database: "sqlite", transport: "http", subscriber: "adaptive_polling" },
  { name: "postgres", database: "postgres", transport: "http", subscriber: "adaptive_polling" },
  { name: "postgres-redis", database: "postgres", transport: "http", subscriber: "redis_streams" },
];

/** The engines, which are started before the measurement. */
export interface BenchEngines {
  /** The url of a role that may create databases. */
  readonly postgres: string | null;
  /** The directory of `pgbench`. */
  readonly binaries: string | null;
  readonly redis: { readonly host: string; readonly port: number } | null;
}
