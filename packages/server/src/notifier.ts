import type { Config } from "./config.ts";
import { type Channel, ChannelNotifier, type Notifier } from "./delivery/notifier.ts";
import { RedisChannel } from "./delivery/redis-channel.ts";

/**
 * How this server notifies others on its database, and workers; null where there are none to notify. A Redis that is
 * missing now may come later: the server starts without it.
 */
export async function openNotifier(config: Config): Promise<Notifier | null> {
  const channel = await openChannel(config);
  return channel === null ? null : new ChannelNotifier(config.env, channel);
}

async function openChannel({ database, redis, env, logger }: Config): Promise<Channel | null> {
  if (redis !== null) {
    const channel = new RedisChannel({ target: redis, isShared: database.type === "postgres", env, logger });
    await channel.tried;
    return channel;
  }
  if (database.type !== "postgres") return null;
  const { PostgresChannel } = await import("./storage/postgres/channel.ts");
  const { url, directUrl } = database;
  return new PostgresChannel({ url: directUrl ?? url, isAssumedDirect: directUrl !== null, logger });
}
