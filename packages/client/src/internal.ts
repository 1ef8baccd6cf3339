/** For the other packages of Aiki; may change in any release. */

export { redisOf } from "./redis.ts";
export { type RetryOptions, retryWithBackoff } from "./retry-with-backoff.ts";
export { isTransient, retryAfterOf } from "./transient.ts";
