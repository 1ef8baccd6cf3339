/** Where a client keeps its connector to Redis. */
export const redisOf: unique symbol = Symbol.for("@aikirun/redis-of-client");
