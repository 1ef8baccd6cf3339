import type { RedisRefusal } from "@aikirun/client/internal";
import type { Logger } from "@aikirun/lib";

/** Tells people about Redis: each thing that keeps doorbells from being heard once, and once that all is well again. */
export interface Notice {
  /** Redis was not reached, or refused a command. */
  away(refusal: RedisRefusal): void;
  /** The server does not deliver through Redis. */
  silent(): void;
  /** Redis refuses what can be done without. */
  lacking(command: string, refusal: RedisRefusal): void;
  /** Doorbells are heard. */
  back(): void;
}

export function redisNotice(at: string, logger: Logger): Notice {
  const said = new Set<string>();
  const once = (what: string, say: () => void) => {
    if (!said.has(what)) {
      said.add(what);
      say();
    }
  };
  let isAway = false;
  return {
    away({ code, message }) {
      isAway = true;
      const line =
        code === "UNREACHABLE"
          ? `Redis is not reachable at ${at}`
          : `Redis at ${at} refuses what workers need (${code})`;
      once(code, () => logger.warn(`${line}; working on through polling`, { reason: message }));
    },
    silent() {
      isAway = true;
      const line = `Redis is reachable at ${at}, but the server does not deliver through it; working through polling`;
      once("silent", () => logger.warn(line));
    },
    lacking(command, { code, message }) {
      const line = `Redis at ${at} refuses ${command.toUpperCase()} (${code}); what dead workers leave behind stays`;
      once(command, () => logger.warn(line, { reason: message }));
    },
    back() {
      if (isAway) {
        isAway = false;
        said.clear();
        logger.info(`runs are heard of through Redis at ${at} from now on`);
      }
    },
  };
}

/** Said by a worker that asked for Redis Streams with a client that was not told of Redis. */
export function noticeNoRedis(logger: Logger): void {
  logger.warn("the client knows of no Redis (pass redis: { host, port } to client()); working through polling");
}
