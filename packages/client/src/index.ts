export type { RedisParams, RedisTls } from "@aikirun/redis";
export { type Client, client } from "./client.ts";
export type { ClientParams, EmbeddedParams, EmbeddedServer, RemoteParams } from "./config.ts";
export type { AnyEvents, RunFilter, RunList, RunPage, Runs, VersionOf } from "./runs.ts";
export { ServerBusy } from "./transient.ts";
export type { Workers } from "./workers.ts";
