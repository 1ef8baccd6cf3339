/**
 * Connections to Redis, for servers. The driver is loaded when the first one is opened. A connection is never mended:
 * one that is lost stays lost and another is opened, so that nothing is sent twice behind anybody's back.
 */

import { isIP } from "node:net";
import type { Cluster, Redis, RedisOptions } from "ioredis";

/** Where Redis is, and what the keys of this server begin with. */
export interface RedisTarget {
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
  readonly tls: boolean;
  readonly isCluster: boolean;
  readonly prefix: string;
}

export interface RedisConnection {
  /** Commands of one moment travel together. Rejects with what Redis said, or when there is no answer in time. */
  send(command: string, ...args: Array<string | number>): Promise<unknown>;
  /** From then on the connection is for hearing alone. */
  subscribe(channel: string, hear: (text: string) => void): Promise<void>;
  close(): void;
}

/** No answer within this time means that the connection is lost. Milliseconds. */
const answerMs = 1_000;

/** Rejects within two seconds when Redis cannot be reached. `lost` is called once, however the connection ends. */
export async function connectRedis(target: RedisTarget, lost: () => void): Promise<RedisConnection> {
  const redis = target.isCluster ? await cluster(target) : await single(target);
  let reason: unknown = null;
  redis.on("error", (error: unknown) => {
    reason = error;
  });
  redis.once("end", lost);
  try {
    await redis.connect();
    if (target.db !== 0) await redis.call("SELECT", target.db);
  } catch (error) {
    redis.disconnect();
    throw reasonOf(reason ?? error);
  }
  return {
    send: (command, ...args) => redis.call(command, args),
    async subscribe(channel, hear) {
      redis.on("message", (_channel: string, text: string) => hear(text));
      await redis.subscribe(channel);
    },
    close: () => redis.disconnect(),
  };
}

/** A connection that does nothing by itself: no repeats, no queue, no second life. */
function plainOptions({ username, password, tls, host }: RedisTarget) {
  return {
    connectTimeout: 2_000,
    keepAlive: 5_000,
    commandTimeout: answerMs,
    protocol: 2,
    enableReadyCheck: false,
    disableClientInfo: true,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: isIP(host) === 0 ? { servername: host } : {} } : {}),
  } satisfies RedisOptions;
}

async function single(target: RedisTarget): Promise<Redis> {
  const { Redis } = await import("ioredis");
  const { host, port } = target;
  return new Redis({
    ...plainOptions(target),
    host,
    port,
    lazyConnect: true,
    enableAutoPipelining: true,
    retryStrategy: null,
  });
}

async function cluster(target: RedisTarget): Promise<Cluster> {
  const { Cluster } = await import("ioredis");
  return new Cluster([{ host: target.host, port: target.port }], {
    lazyConnect: true,
    enableAutoPipelining: true,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    clusterRetryStrategy: () => null,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: answerMs,
    // Certificates are for names, not for what they resolve to.
    dnsLookup: (address, found) => found(null, address),
    redisOptions: plainOptions(target),
  });
}

/** A cluster says that all nodes failed and keeps the reason to itself; several addresses of one host do alike. */
function reasonOf(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const cause =
    "lastNodeError" in error ? error.lastNodeError : error instanceof AggregateError ? error.errors[0] : null;
  return cause instanceof Error && cause !== error ? reasonOf(cause) : error;
}
