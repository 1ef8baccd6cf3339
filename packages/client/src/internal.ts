/** For the other packages of Aiki; may change in any release. */

export { redisOf } from "./redis.ts";
export { type RetryOptions, retryWithBackoff } from "./retry-with-backoff.ts";
export { backoffMs, isTransient, keepAlive, pause, retryAfterOf } from "./transient.ts";
