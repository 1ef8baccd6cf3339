/** What is measured: where runs rest, how the server is reached, and how the worker hears of runs. */

export interface Mode {
  readonly name: string;
  readonly database: "sqlite" | "postgres";
  /** With `http` the server is a process of its own. */
  readonly transport: "in-process" | "http";
  readonly subscriber: "adaptive_polling" | "redis_streams";
}

export const modes: readonly Mode[] = [
  { name: "sqlite", database: "sqlite", transport: "in-process", subscriber: "adaptive_polling" },
  { name: "sqlite-http", database: "sqlite", transport: "http", subscriber: "adaptive_polling" },
  { name: "postgres", database: "postgres", transport: "http", subscriber: "adaptive_polling" },
  { name: "postgres-redis", database: "postgres", transport: "http", subscriber: "redis_streams" },
];

/** What runs beside the measurement and is started before it. */
export interface BenchEngines {
  /** Of a role that may create databases. */
  readonly postgres: string | null;
  /** Where `pgbench` is. */
  readonly binaries: string | null;
  readonly redis: { readonly host: string; readonly port: number } | null;
}
