import { connect } from "node:net";
import type { RedisParams } from "@aikirun/client";
import type { Logger } from "@aikirun/lib";

const connectMs = 1_000;

/** Says once, as a warning, why a worker that asked for Redis Streams works through polling. */
export async function noticeRedis(redis: Readonly<RedisParams> | null, logger: Logger): Promise<void> {
  if (redis === null) {
    logger.warn("the client knows of no Redis (pass redis: { host, port } to client()); working through polling");
    return;
  }
  const at = `${redis.host}:${redis.port}`;
  logger.warn(
    (await isReachable(redis))
      ? `Redis is reachable at ${at}, but the server does not deliver through it; working through polling`
      : `Redis is not reachable at ${at}; working on through polling`,
  );
}

function isReachable({ host, port }: Readonly<RedisParams>): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: connectMs });
    const end = (isUp: boolean) => () => {
      socket.destroy();
      resolve(isUp);
    };
    socket.once("connect", end(true));
    socket.once("timeout", end(false));
    socket.once("error", end(false));
    socket.unref();
  });
}
