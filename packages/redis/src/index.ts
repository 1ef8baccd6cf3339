export {
  type Connecting,
  type RedisAnswer,
  type RedisConnection,
  type RedisConnector,
  type RedisRefusal,
  redisConnector,
  unreachable,
} from "./connection.ts";
export { type Linked, type RedisLink, type RedisLinkOptions, redisLink } from "./link.ts";
export { parseRedisParams, parseRedisUrl, type RedisParams, type RedisTarget, type RedisTls } from "./params.ts";
