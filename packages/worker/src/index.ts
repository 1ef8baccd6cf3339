export type { WorkerParams } from "./config.ts";
export type { AdaptivePolling, Polling, RedisStreams, SubscriberStrategy } from "./subscriber.ts";
export { type Worker, worker } from "./worker.ts";
