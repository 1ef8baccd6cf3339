/**
 * Connections to Redis. The driver is loaded when the first connection is opened, so a process without Redis does not
 * load it. A lost connection does not reconnect: the caller opens another one. So a command is sent twice only if its
 * caller repeats it, and all promises of a connection settle when its socket closes.
 */

import { isIP } from "node:net";
import type { Env } from "@aikirun/lib";
import type { Cluster, Redis, RedisOptions } from "ioredis";
import type { RedisParams } from "./params.ts";

/** The result of a command: its value, or why there is none. */
export type RedisAnswer = { ok: true; value: unknown } | RedisRefusal;

/** Why a command has no value, or why a connection was not opened or was lost. */
export interface RedisRefusal {
  /** Redis refused the command or did not answer it, or there is no connection. */
  ok: false;
  /** The first word of Redis' error message, for example `NOGROUP`; `UNREACHABLE` if Redis did not answer. */
  code: string;
  /** Redis' error message, or what happened to the connection. */
  message: string;
}

/** One connection to Redis, or to a cluster of them. */
export interface RedisConnection {
  /**
   * Sends a command with its arguments; commands of one moment are sent together. Never rejects. If Redis does not
   * answer within `withinMs` milliseconds, the connection is lost.
   */
  send(command: readonly [string, ...Array<string | number>], withinMs: number): Promise<RedisAnswer>;
  /**
   * Calls `receive` with every later message of the channel. From then on, the connection cannot send commands. Never
   * rejects.
   */
  subscribe(channel: string, receive: (text: string) => void, withinMs: number): Promise<RedisAnswer>;
  /** Resolves to the reason when the connection is lost or closed. */
  readonly lost: Promise<RedisRefusal>;
  /** Answers pending commands with `reason`, by default `UNREACHABLE`. A second call has no effect. */
  close(reason?: RedisRefusal): void;
}

/** The result of `connect`. */
export type Connecting = { ok: true; connection: RedisConnection } | RedisRefusal;

/** Opens connections to one Redis. */
export interface RedisConnector {
  /** `host:port`, for messages. */
  readonly at: string;
  /** Opens a connection within `withinMs` milliseconds. Never rejects. */
  connect(withinMs: number): Promise<Connecting>;
  /** Closes all connections; later calls of `connect` are refused. */
  close(): void;
}

/** The connector for these parameters. */
export function redisConnector(params: Readonly<RedisParams>, env: Env): RedisConnector {
  const open = new Set<RedisConnection>();
  let isClosed = false;
  const driverOf = params.cluster === true ? clusterDriver(params) : singleDriver(params);
  const connect = async (withinMs: number): Promise<Connecting> => {
    const driver = await driverOf(withinMs);
    const connection = connectionOver(driver, env, () => open.delete(connection));
    open.add(connection);
    const refusal = isClosed
      ? unreachable("the connector is closed")
      : await begin(driver, params, connection, withinMs, env);
    if (refusal === null) {
      return { ok: true, connection };
    }
    connection.close();
    return refusal;
  };
  return {
    at: `${params.host}:${params.port}`,
    connect,
    close() {
      isClosed = true;
      for (const connection of open) connection.close();
    },
  };
}

/** The part of the driver that this file uses. */
interface RedisDriver {
  connect(): Promise<void>;
  call(command: string, args: Array<string | number>): Promise<unknown>;
  subscribe(channel: string, receive: (text: string) => void): Promise<unknown>;
  disconnect(): void;
  on(event: "error" | "end", listener: (error?: unknown) => void): unknown;
}

/** The options of both drivers: with them, the driver never sends a command twice. */
function plainOptions({ username, password, tls }: Readonly<RedisParams>, connectTimeout: number) {
  return {
    connectTimeout,
    keepAlive: 5_000,
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
      // Servers with several certificates choose one by this name.
      ...(plain.tls === undefined ? {} : { tls: { ...(isIP(host) === 0 ? { servername: host } : {}), ...plain.tls } }),
    });
    return driver(redis);
  };
}

/** Each connection also tries the nodes that the previous one found, because the configured node may be down. */
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
      // Do not resolve names to IP addresses: certificates are issued for names.
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
    subscribe: (channel, receive) => {
      made.on("message", (_: string, text: string) => receive(text));
      return made.subscribe(channel);
    },
    disconnect: () => made.disconnect(),
    on: (event, listener) => made.on(event, listener),
  };
}

/** Connects and selects the database; null if the connection can be used. */
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

/** How long to wait after the timeout, in milliseconds: the answer may have arrived while this process was busy. */
const lateMs = 100;

function connectionOver(driver: RedisDriver, env: Env, onEnd: () => void): RedisConnection {
  const pending = new Set<(answer: RedisAnswer) => void>();
  let loss: RedisRefusal | null = null;
  let resolveLost: (reason: RedisRefusal) => void = () => {};
  const lost = new Promise<RedisRefusal>((resolve) => {
    resolveLost = resolve;
  });

  const lose = (reason: RedisRefusal): void => {
    if (loss !== null) {
      return;
    }
    loss = reason;
    driver.disconnect();
    onEnd();
    for (const settle of pending) settle(reason);
    resolveLost(reason);
  };
  driver.on("end", () => lose(unreachable("the connection has ended")));

  const answered = (name: string, withinMs: number, call: () => Promise<unknown>): Promise<RedisAnswer> =>
    new Promise((resolve) => {
      if (loss !== null) {
        resolve(loss);
        return;
      }
      const late = () => lose(unreachable(`no answer to ${name} within ${withinMs} ms`));
      let cancel = env.after(withinMs, () => {
        cancel = env.after(lateMs, late);
      });
      const settle = (answer: RedisAnswer): void => {
        cancel();
        pending.delete(settle);
        resolve(answer);
      };
      pending.add(settle);
      call().then(
        (value) => settle({ ok: true, value }),
        (error: unknown) => {
          const refusal = refusalOf(error);
          if (refusal === null) lose(unreachable(messageOf(error)));
          else settle(refusal);
        },
      );
    });

  return {
    send: ([command, ...args], withinMs) => answered(command, withinMs, () => driver.call(command, args)),
    subscribe: (channel, receive, withinMs) =>
      answered("subscribe", withinMs, () => driver.subscribe(channel, receive)),
    lost,
    close: (reason = unreachable("the connection was closed")) => lose(reason),
  };
}

/** The error that Redis returned; null for any other error. */
function refusalOf(error: unknown): RedisRefusal | null {
  if (!(error instanceof Error) || error.name !== "ReplyError") {
    return null;
  }
  const { message } = error;
  return { ok: false, code: /^[A-Z]+/.exec(message)?.[0] ?? "", message };
}

/** A refusal with the code `UNREACHABLE`. */
export function unreachable(message: string): RedisRefusal {
  return { ok: false, code: "UNREACHABLE", message };
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  // For a cluster, and for a host with several addresses, the reason is in the error of a single attempt.
  const cause =
    "lastNodeError" in error ? error.lastNodeError : error instanceof AggregateError ? error.errors[0] : null;
  return cause instanceof Error && cause !== error ? messageOf(cause) : error.message;
}
