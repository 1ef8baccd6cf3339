import type { Config } from "./config.ts";
import { RedisChannel } from "./delivery/redis/channel.ts";
import type { Channel } from "./engine/news.ts";

/** How this server hears of others on its database; null where there can be no other. */
export async function openChannel({ database, redis, env, logger }: Config): Promise<Channel | null> {
  if (database.type !== "postgres") return null;
  if (redis !== null) return new RedisChannel({ target: redis, env, logger });
  const { PostgresChannel } = await import("./storage/postgres/channel.ts");
  const { url, directUrl } = database;
  return new PostgresChannel({ url: directUrl ?? url, isVouchedFor: directUrl !== null, logger });
}
