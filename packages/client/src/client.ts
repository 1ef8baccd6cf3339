import { AikiError, type AnyClient, type Env, type Logger } from "@aikirun/lib";
import { keepAlive, starter } from "@aikirun/lib/internal";
import { type Api, wrapApi } from "@aikirun/lib/protocol";
import { type RedisConnector, type RedisParams, redisConnector } from "@aikirun/redis";
import { type ClientParams, type EmbeddedServer, parseConfig } from "./config.ts";
import { createHandle, type HandleContext } from "./handle.ts";
import { type HttpTarget, httpApi } from "./http.ts";
import { redisOf } from "./redis.ts";
import { retryingApi } from "./retrying-api.ts";
import { createRuns, type Runs } from "./runs.ts";
import { signals } from "./signals.ts";
import { starts } from "./start.ts";
import { transportFor } from "./transport.ts";
import { Watcher } from "./watcher.ts";
import { createWorkers, type Workers } from "./workers.ts";

/** A connection to a server: pass it to `version.start` and to `worker`. */
export interface Client extends AnyClient {
  /** Finds runs that were started before. */
  readonly runs: Runs;
  /** Lists the live workers. */
  readonly workers: Workers;
  /** The server's API; each call is tried once. Throws `AikiError` for faults of the whole request. */
  readonly api: Api;
  /** The server's URL; null for a server in this process. */
  readonly url: string | null;
  /** The address of Redis, if the client was given one. */
  readonly redis: Readonly<RedisParams> | null;
  /** Where log lines go. Workers of this client log there too. */
  readonly logger: Logger;
  /** Clock, randomness and ids. */
  readonly env: Env;
  /** For workers: opens connections to Redis, which `close` ends. Null if the client has no address of Redis. */
  readonly [redisOf]: RedisConnector | null;
  /**
   * Closes the client. Pending waits reject with `CLIENT_CLOSED`. Calls in progress are awaited, but not repeated any
   * more. Later calls throw `CLIENT_CLOSED`. May be called twice.
   */
  close(): Promise<void>;
}

/**
 * Creates a client of the server at `url`, or of an embedded server. Does not contact the server. While the server
 * is unreachable, calls are repeated for about 10 s and then throw `UNREACHABLE`. Throws `INVALID_CONFIG`, which names
 * the field.
 *
 * @example
 * ```ts
 * import { client } from "@aikirun/client";
 * import { workflow } from "@aikirun/workflow";
 *
 * const helloV1 = workflow({ name: "hello" }).v("1.0.0", { handler: async (_, name: string) => `Hello, ${name}!` });
 *
 * const aiki = await client({ url: "http://localhost:9090" });
 * const handle = await helloV1.start(aiki, "Ada", { referenceId: "hello-ada" });
 * console.log(await handle.result());
 * await aiki.close();
 * ```
 */
export async function client(params: ClientParams): Promise<Client> {
  const { target, redis, logger, env } = parseConfig(params);
  const { api, disconnect } = "server" in target ? embedded(target.server) : await remote(target, env);
  const closed = new AbortController();
  const pending = new Set<Promise<unknown>>();
  const retrying = retryingApi(tracked(api, closed.signal, pending), env, closed.signal);
  const context: HandleContext = {
    api: retrying,
    env,
    signals: signals(retrying, env),
    watcher: new Watcher(retrying, env),
  };
  const start = starts(retrying, env);
  const connector = redis === null ? null : redisConnector(redis, env);
  return {
    runs: createRuns(context),
    workers: createWorkers(retrying),
    api,
    url: "server" in target ? null : target.url,
    redis,
    logger,
    env,
    [redisOf]: connector,
    [starter]: async (version, input, options) =>
      createHandle(context, await start(version, input, options), version.events),
    async close() {
      const error = clientClosed();
      closed.abort(error);
      context.watcher.close(error);
      connector?.close();
      await Promise.allSettled(pending);
      disconnect();
    },
  };
}

/** The server's API and a function that closes its connections. */
interface Connected {
  api: Api;
  disconnect: () => void;
}

/**
 * Keeps the process alive during a long poll of an embedded server: the timers of an embedded server do not do this.
 */
function embedded(server: EmbeddedServer): Connected {
  const api = server.api();
  return {
    api: {
      ...api,
      claim: (request, options) => keepingAlive(api.claim(request, options)),
      watch: (request, options) => keepingAlive(api.watch(request, options)),
    },
    disconnect: () => {},
  };
}

function keepingAlive<Reply>(reply: Promise<Reply>): Promise<Reply> {
  return reply.finally(keepAlive());
}

async function remote(target: HttpTarget, env: Env): Promise<Connected> {
  const transport = await transportFor(target.url);
  return { api: httpApi(target, env, transport), disconnect: () => transport.close() };
}

/** Refuses calls after `close`, and tracks the calls in progress. */
function tracked(api: Api, closed: AbortSignal, pending: Set<Promise<unknown>>): Api {
  const track = <Reply>(call: () => Promise<Reply>): Promise<Reply> => {
    if (closed.aborted) {
      return Promise.reject(clientClosed());
    }
    const reply = call();
    pending.add(reply);
    const forget = () => pending.delete(reply);
    reply.then(forget, forget);
    return reply;
  };
  return wrapApi(api, (_, call) => (request, options) => track(() => call(request, options)));
}

function clientClosed(): AikiError {
  return new AikiError("CLIENT_CLOSED", "The client is closed; make a new one with client().");
}
