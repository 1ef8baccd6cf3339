/** The key under which a client stores its connector to Redis. */
export const redisOf: unique symbol = Symbol.for("@aikirun/redis-of-client");
