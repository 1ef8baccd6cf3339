export type { Registrable, Registry } from "@aikirun/workflow/internal";
export type { WorkerParams } from "./config.ts";
export type {
  AdaptivePolling,
  CustomSubscriber,
  Polling,
  RedisStreams,
  SubscriberStrategy,
} from "./subscribers/strategy.ts";
export type { PollRequest, PollResult, Subscriber, SubscriberContext } from "./subscribers/subscriber.ts";
export { type Worker, worker } from "./worker.ts";
