import type { Logger } from "@aikirun/lib";
import type { RedisRefusal } from "@aikirun/redis";

/** Logs each reason why wake-ups cannot be received once, and logs once that they are received again. */
export interface Notice {
  /** Redis cannot be reached, or refuses a required command. */
  unavailable(refusal: RedisRefusal): void;
  /** The server publishes no wake-ups through Redis. */
  noWakeUps(): void;
  /** Redis refuses an optional command. */
  commandRefused(command: string, refusal: RedisRefusal): void;
  /** Wake-ups are received. */
  available(): void;
}

export function redisNotice(at: string, logger: Logger): Notice {
  const logged = new Set<string>();
  const once = (reason: string, log: () => void) => {
    if (!logged.has(reason)) {
      logged.add(reason);
      log();
    }
  };
  let isUnavailable = false;
  return {
    unavailable({ code, message }) {
      isUnavailable = true;
      const line =
        code === "UNREACHABLE"
          ? `Redis is not reachable at ${at}`
          : `Redis at ${at} refuses what workers need (${code})`;
      once(code, () => logger.warn(`${line}; polling until it is available`, { reason: message }));
    },
    noWakeUps() {
      isUnavailable = true;
      const line = `Redis is reachable at ${at}, but the server publishes no wake-ups through it`;
      once("silent", () => logger.warn(`${line}; polling instead`));
    },
    commandRefused(command, { code, message }) {
      const line = `Redis at ${at} refuses ${command.toUpperCase()} (${code}); wake-ups of dead workers stay in Redis`;
      once(command, () => logger.warn(line, { reason: message }));
    },
    available() {
      if (isUnavailable) {
        isUnavailable = false;
        logged.clear();
        logger.info(`receiving wake-ups through Redis at ${at}`);
      }
    },
  };
}

/** Logged by a worker with the `redis_streams` subscriber whose client has no Redis address. */
export function noticeNoRedis(logger: Logger): void {
  logger.warn("the client has no Redis address (pass redis: { host, port } to client()); polling instead");
}
