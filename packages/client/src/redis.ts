/**
 * Connections to Redis, for workers. The driver is loaded when the first one is opened, so that who needs no Redis pays
 * nothing for it. A connection is never mended: one that is lost stays lost, and whoever needs another opens it. So
 * nothing is sent twice behind anybody's back, and no promise outlives its socket.
 */

import { isIP } from "node:net";
import type { Env } from "@aikirun/lib";
import type { Cluster, Redis, RedisOptions } from "ioredis";
import type { RedisParams } from "./redis-params.ts";

/** What came of a command: its value, or why there is none. */
export type RedisAnswer = { ok: true; value: unknown } | RedisRefusal;

/** `code` is the first word of what Redis said, like `NOGROUP`; `UNREACHABLE` when it said nothing. */
export interface RedisRefusal {
  ok: false;
  code: string;
  message: string;
}

/** One connection to Redis, or to a cluster of them. */
export interface RedisConnection {
  /**
   * Sends a command and its arguments; those of one moment travel together. Never rejects. No answer within `withinMs`
   * milliseconds means that the connection is lost.
   */
  send(command: readonly [string, ...Array<string | number>], withinMs: number): Promise<RedisAnswer>;
  /** Commands under way are answered `UNREACHABLE`. May be called twice. */
  close(): void;
}

/** What `connect` comes to. */
export type Connecting = { ok: true; connection: RedisConnection } | RedisRefusal;

/** Opens connections, which end with the client. */
export interface RedisConnector {
  /** `host:port`, as people call it. */
  readonly at: string;
  /** Never rejects. Gives up after `withinMs` milliseconds. */
  connect(withinMs: number): Promise<Connecting>;
}

/** Where a client keeps its connector. */
export const redisConnector: unique symbol = Symbol.for("@aikirun/redis-connector");

/** The connector of these parameters, and the end of all its connections. */
export function createConnector(
  params: Readonly<RedisParams>,
  env: Env,
): { connector: RedisConnector; close: () => void } {
  const open = new Set<RedisConnection>();
  let isClosed = false;
  const driverOf = params.cluster === true ? clusterDriver(params) : singleDriver(params);
  const connect = async (withinMs: number): Promise<Connecting> => {
    const driver = await driverOf(withinMs);
    const connection = connectionOver(driver, env, () => open.delete(connection));
    open.add(connection);
    const refusal = isClosed
      ? unreachable("the client is closed")
      : await begin(driver, params, connection, withinMs, env);
    if (refusal === null) {
      return { ok: true, connection };
    }
    connection.close();
    return refusal;
  };
  return {
    connector: { at: `${params.host}:${params.port}`, connect },
    close() {
      isClosed = true;
      for (const connection of open) connection.close();
    },
  };
}

/** What of the driver is used. */
interface RedisDriver {
  connect(): Promise<void>;
  call(command: string, args: Array<string | number>): Promise<unknown>;
  disconnect(): void;
  on(event: "error" | "end", listener: (error?: unknown) => void): unknown;
}

/** A connection that does nothing by itself: no repeats, no queue, no second life. */
function plainOptions({ username, password, tls }: Readonly<RedisParams>, connectTimeout: number) {
  return {
    connectTimeout,
    protocol: 2,
    enableReadyCheck: false,
    disableClientInfo: true,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined || tls === false ? {} : { tls: tls === true ? {} : { ...tls } }),
  } satisfies RedisOptions;
}

function singleDriver(params: Readonly<RedisParams>): (withinMs: number) => Promise<RedisDriver> {
  const { host, port } = params;
  return async (withinMs) => {
    const { Redis } = await import("ioredis");
    const plain = plainOptions(params, withinMs);
    const redis: Redis = new Redis({
      ...plain,
      host,
      port,
      lazyConnect: true,
      enableOfflineQueue: false,
      retryStrategy: null,
      // The name that is asked for, which many hosts need to choose a certificate by.
      ...(plain.tls === undefined ? {} : { tls: { ...(isIP(host) === 0 ? { servername: host } : {}), ...plain.tls } }),
    });
    return driver(redis);
  };
}

/** Nodes that were seen are asked too the next time: the one that was named may be the one that is down. */
function clusterDriver(params: Readonly<RedisParams>): (withinMs: number) => Promise<RedisDriver> {
  const named = { host: params.host, port: params.port };
  let seen: Array<{ host: string; port: number }> = [];
  return async (withinMs) => {
    const { Cluster } = await import("ioredis");
    const cluster: Cluster = new Cluster([named, ...seen], {
      lazyConnect: true,
      enableOfflineQueue: false,
      enableReadyCheck: false,
      clusterRetryStrategy: () => null,
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      slotsRefreshTimeout: withinMs,
      // Certificates are for names, not for what they resolve to.
      dnsLookup: (address, found) => found(null, address),
      redisOptions: plainOptions(params, withinMs),
    });
    cluster.once("ready", () => {
      seen = cluster.nodes().map(({ options: { host = named.host, port = named.port } }) => ({ host, port }));
    });
    return driver(cluster);
  };
}

function driver(made: Redis | Cluster): RedisDriver {
  return {
    connect: () => made.connect(),
    call: (command, args) => made.call(command, args),
    disconnect: () => made.disconnect(),
    on: (event, listener) => made.on(event, listener),
  };
}

/** Null once it serves. */
async function begin(
  driver: RedisDriver,
  { db = 0 }: Readonly<RedisParams>,
  connection: RedisConnection,
  withinMs: number,
  env: Env,
): Promise<RedisRefusal | null> {
  let reason: unknown = null;
  driver.on("error", (error) => {
    reason = error;
  });
  const connected = await new Promise<RedisRefusal | null>((resolve) => {
    const cancel = env.after(withinMs, () => resolve(unreachable(`no answer within ${withinMs} ms`)));
    const settle = (refusal: RedisRefusal | null) => {
      cancel();
      resolve(refusal);
    };
    driver.connect().then(
      () => settle(null),
      (error) => settle(refusalOf(reason ?? error) ?? unreachable(messageOf(reason ?? error))),
    );
  });
  if (connected !== null || db === 0) {
    return connected;
  }
  const selected = await connection.send(["select", db], withinMs);
  return selected.ok ? null : selected;
}

/** A late answer may lie ready to be read when the time is up, in a process that was busy: it gets this long. */
const lateMs = 100;

function connectionOver(driver: RedisDriver, env: Env, onEnd: () => void): RedisConnection {
  const pending = new Set<(answer: RedisAnswer) => void>();
  let loss: RedisRefusal | null = null;

  const lose = (why: string): void => {
    if (loss !== null) {
      return;
    }
    loss = unreachable(why);
    driver.disconnect();
    onEnd();
    for (const settle of pending) settle(loss);
  };
  driver.on("end", () => lose("the connection has ended"));

  return {
    send: ([command, ...args], withinMs) =>
      new Promise((resolve) => {
        if (loss !== null) {
          resolve(loss);
          return;
        }
        const late = () => lose(`no answer to ${command} within ${withinMs} ms`);
        let cancel = env.after(withinMs, () => {
          cancel = env.after(lateMs, late);
        });
        const settle = (answer: RedisAnswer): void => {
          cancel();
          pending.delete(settle);
          resolve(answer);
        };
        pending.add(settle);
        driver.call(command, args).then(
          (value) => settle({ ok: true, value }),
          (error: unknown) => {
            const refusal = refusalOf(error);
            if (refusal === null) lose(messageOf(error));
            else settle(refusal);
          },
        );
      }),
    close: () => lose("the connection was closed"),
  };
}

/** What Redis itself said; null for anything else that went wrong. */
function refusalOf(error: unknown): RedisRefusal | null {
  if (!(error instanceof Error) || error.name !== "ReplyError") {
    return null;
  }
  const { message } = error;
  return { ok: false, code: /^[A-Z]+/.exec(message)?.[0] ?? "", message };
}

function unreachable(message: string): RedisRefusal {
  return { ok: false, code: "UNREACHABLE", message };
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  // A cluster says that all failed, and keeps the reason to itself; several addresses of one host do alike.
  const cause =
    "lastNodeError" in error ? error.lastNodeError : error instanceof AggregateError ? error.errors[0] : null;
  return cause instanceof Error && cause !== error ? messageOf(cause) : error.message;
}
