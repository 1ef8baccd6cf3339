/**
 * Connections to Redis. The driver is loaded when the first one is opened, so that a process which needs no Redis does
 * not load it. A connection is never repaired: once lost it stays lost, and another one is opened. So no command is
 * sent twice without its caller's knowledge, and no promise outlives its socket.
 */

import { isIP } from "node:net";
import type { Env } from "@aikirun/lib";
import type { Cluster, Redis, RedisOptions } from "ioredis";
import type { RedisParams } from "./params.ts";

/** What came of a command: its value, or why there is none. */
export type RedisAnswer = { ok: true; value: unknown } | RedisRefusal;

/** Why a command has no value, or why there is no connection. */
export interface RedisRefusal {
  /** The command was refused, or was not answered. */
  ok: false;
  /** The first word of what Redis said, like `NOGROUP`; `UNREACHABLE` when it said nothing. */
  code: string;
  /** What Redis said, or what happened to the connection. */
  message: string;
}

/** One connection to Redis, or to a cluster of them. */
export interface RedisConnection {
  /**
   * Sends a command and its arguments; those of one moment travel together. Never rejects. No answer within `withinMs`
   * milliseconds means that the connection is lost.
   */
  send(command: readonly [string, ...Array<string | number>], withinMs: number): Promise<RedisAnswer>;
  /**
   * Calls `receive` with every message that is published to the channel from now on. The connection is for receiving
   * alone then. Never rejects.
   */
  subscribe(channel: string, receive: (text: string) => void, withinMs: number): Promise<RedisAnswer>;
  /** Resolves when the connection is lost or closed, to the reason. */
  readonly lost: Promise<RedisRefusal>;
  /** Commands under way are answered with `reason`, by default `UNREACHABLE`. May be called twice. */
  close(reason?: RedisRefusal): void;
}

/** The result of `connect`. */
export type Connecting = { ok: true; connection: RedisConnection } | RedisRefusal;

/** Opens connections to one Redis. */
export interface RedisConnector {
  /** `host:port`, for messages. */
  readonly at: string;
  /** Never rejects. Gives up after `withinMs` milliseconds. */
  connect(withinMs: number): Promise<Connecting>;
  /** Closes all its connections; later ones are refused. */
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

/** What of the driver is used. */
interface RedisDriver {
  connect(): Promise<void>;
  call(command: string, args: Array<string | number>): Promise<unknown>;
  subscribe(channel: string, receive: (text: string) => void): Promise<unknown>;
  disconnect(): void;
  on(event: "error" | "end", listener: (error?: unknown) => void): unknown;
}

/** Options of the driver with which it neither repeats commands, nor queues them, nor connects again. */
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
      // Many hosts choose their certificate by this name.
      ...(plain.tls === undefined ? {} : { tls: { ...(isIP(host) === 0 ? { servername: host } : {}), ...plain.tls } }),
    });
    return driver(redis);
  };
}

/** The next connection also tries the nodes that this one has found: the named node may be the one that is down. */
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
      // Certificates are issued for names, not for the addresses behind them.
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

/** Null once the connection can be used. */
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

/** How much longer to wait for an answer that a busy process may not have read yet. Milliseconds. */
const lateMs = 100;

function connectionOver(driver: RedisDriver, env: Env, onEnd: () => void): RedisConnection {
  const pending = new Set<(answer: RedisAnswer) => void>();
  let loss: RedisRefusal | null = null;
  let tellLoss: (reason: RedisRefusal) => void = () => {};
  const lost = new Promise<RedisRefusal>((resolve) => {
    tellLoss = resolve;
  });

  const lose = (reason: RedisRefusal): void => {
    if (loss !== null) {
      return;
    }
    loss = reason;
    driver.disconnect();
    onEnd();
    for (const settle of pending) settle(reason);
    tellLoss(reason);
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

/** What Redis itself said; null for anything else that went wrong. */
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
