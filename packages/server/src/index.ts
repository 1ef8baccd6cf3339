export { type ServerParams, withoutPassword } from "./config.ts";
export type { Settings } from "./core/run.ts";
export type { Listener } from "./http/listen.ts";
export { type JsonLoggerOptions, jsonLogger } from "./log.ts";
export { type MigrateParams, migrate } from "./migrate.ts";
export type { Tally } from "./move/tally.ts";
export type { Moved, MoveProgress } from "./move/transfer.ts";
export { type MoveParams, move } from "./move.ts";
export { type ListenOptions, type Server, server } from "./server.ts";
