import type { Logger } from "@aikirun/lib";
import type { RedisRefusal } from "@aikirun/redis";

/** Logs what keeps wake-ups from being received, each thing once, and once that they are received again. */
export interface Notice {
  /** Redis was not reached, or refused a command. */
  away(refusal: RedisRefusal): void;
  /** The server publishes no wake-ups through Redis. */
  silent(): void;
  /** Redis refuses a command that is dispensable. */
  lacking(command: string, refusal: RedisRefusal): void;
  /** Wake-ups are received. */
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
      const line = `Redis is reachable at ${at}, but the server publishes no wake-ups through it`;
      once("silent", () => logger.warn(`${line}; working through polling`));
    },
    lacking(command, { code, message }) {
      const line = `Redis at ${at} refuses ${command.toUpperCase()} (${code}); what dead workers leave behind stays`;
      once(command, () => logger.warn(line, { reason: message }));
    },
    back() {
      if (isAway) {
        isAway = false;
        said.clear();
        logger.info(`wake-ups are received through Redis at ${at} from now on`);
      }
    },
  };
}

/** Logged by a worker with the `redis_streams` subscriber whose client was not told where Redis is. */
export function noticeNoRedis(logger: Logger): void {
  logger.warn("the client knows of no Redis (pass redis: { host, port } to client()); working through polling");
}
