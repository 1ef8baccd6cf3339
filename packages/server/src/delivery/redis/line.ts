/** A connection to Redis that is opened again whenever it was lost, until it is closed. */

import type { Cancel, Env, Logger } from "@aikirun/lib";
import { connectRedis, type RedisConnection, type RedisTarget } from "./connection.ts";

export interface Line {
  /** Null while there is none. */
  readonly connection: RedisConnection | null;
  /** Resolves when the first try has come to something. */
  readonly tried: Promise<void>;
  /** The connection does not do what it should: a new one is opened after a pause. */
  drop(why: unknown): void;
  close(): void;
}

export interface LineOptions {
  target: RedisTarget;
  env: Env;
  logger: Logger;
  /** What goes on while there is no connection, to end a sentence. */
  meanwhile: string;
  /** A connection stands; when this rejects it is dropped. */
  opened: (connection: RedisConnection) => Promise<void>;
}

/** The pause before another try; doubles up to the longest. Milliseconds. */
const shortestPauseMs = 100;
const longestPauseMs = 2_000;

export function redisLine({ target, env, logger, meanwhile, opened }: LineOptions): Line {
  const at = `${target.host}:${target.port}`;
  let connection: RedisConnection | null = null;
  let failures = 0;
  let hasComplained = false;
  let isClosed = false;
  let cancel: Cancel = () => {};

  const open = async (): Promise<void> => {
    let made: RedisConnection | null = null;
    try {
      made = await connectRedis(target, () => {
        if (connection !== null && connection === made) drop("the connection has ended");
      });
      if (isClosed) return made.close();
      await opened(made);
      connection = made;
      failures = 0;
      if (hasComplained) logger.info("Redis is back", { redis: at });
      hasComplained = false;
    } catch (error) {
      made?.close();
      fail(error);
    }
  };

  const fail = (why: unknown): void => {
    if (isClosed) return;
    failures += 1;
    if (!hasComplained) logger.warn(`Redis fails; ${meanwhile}`, { redis: at, reason: messageOf(why) });
    hasComplained = true;
    const pauseMs = Math.min(longestPauseMs, shortestPauseMs * 2 ** Math.min(failures - 1, 10));
    cancel = env.after(pauseMs, () => void open());
  };

  const drop = (why: unknown): void => {
    const before = connection;
    if (before === null) return;
    connection = null;
    before.close();
    fail(why);
  };

  const tried = open();
  return {
    get connection() {
      return connection;
    },
    tried,
    drop,
    close() {
      isClosed = true;
      cancel();
      connection?.close();
      connection = null;
    },
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
