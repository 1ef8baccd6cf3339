import { AikiError, type Env, type Logger } from "@aikirun/lib";
import { parseServiceUrl } from "@aikirun/lib/internal";
import type { RedisTarget } from "./delivery/redis/connection.ts";
import { type Doorbells, redisDoorbells } from "./delivery/redis/doorbells.ts";

const example = "redis://user:password@host:6379/0, rediss:// with TLS, ?cluster=true for a cluster";

/** Throws `INVALID_CONFIG` without showing what may be a password. */
export function parseRedis(text: string): RedisTarget {
  const field = "redis";
  const bad = (why: string) => new AikiError("INVALID_CONFIG", `redis ${why}. Write ${example}.`, { ids: { field } });
  const url = parseServiceUrl(text, { field, schemes: /^rediss?:\/\//i, example });
  const { protocol, hostname, port, username, password, pathname, searchParams } = url;
  const db = pathname.replace(/^\//, "");
  if (!/^\d{0,5}$/.test(db)) throw bad("has a path that is no number of a database");
  for (const name of searchParams.keys()) {
    if (name === "cluster" || name === "prefix") continue;
    throw bad(/^[a-z_]{1,20}$/i.test(name) ? `has an unknown parameter "${name}"` : "has an unknown parameter");
  }
  const isCluster = searchParams.get("cluster") === "true";
  if (isCluster && Number(db) !== 0) throw bad("names a database, and a cluster has only 0");
  return Object.freeze({
    host: hostname === "" ? "localhost" : hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? 6379 : Number(port),
    ...(username === "" ? {} : { username: decodeURIComponent(username) }),
    ...(password === "" ? {} : { password: decodeURIComponent(password) }),
    db: Number(db),
    tls: protocol === "rediss:",
    isCluster,
    prefix: searchParams.get("prefix") ?? "aiki",
  });
}

/** Redis that is not there now may come: the server starts without it. */
export async function openDoorbells(
  target: RedisTarget | null,
  { env, logger }: { env: Env; logger: Logger },
): Promise<Doorbells | null> {
  if (target === null) return null;
  const doorbells = redisDoorbells(target, env, logger);
  await doorbells.tried;
  return doorbells;
}
