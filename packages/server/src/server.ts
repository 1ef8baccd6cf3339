import { setMaxListeners } from "node:events";
import { AikiError } from "@aikirun/lib";
import { checkName, Fields } from "@aikirun/lib/internal";
import type { Api } from "@aikirun/lib/protocol";
import { type Keyring, keyring } from "./auth/keyring.ts";
import { knownKeys } from "./auth/known-keys.ts";
import { type Config, invalid, parseConfig, parseListen, type ServerParams } from "./config.ts";
import { openDatabase } from "./database.ts";
import { createEngine, type Engine } from "./engine/engine.ts";
import { admitAll, admitKeys } from "./http/admit.ts";
import { checked } from "./http/answers.ts";
import { createApp } from "./http/app.ts";
import { countedBodies } from "./http/bodies.ts";
import { isLoopback, type Listener, listenOn } from "./http/listen.ts";
import { type Hosts, hostsAllowed } from "./http/origin.ts";
import type { HttpContext } from "./http/respond.ts";
import { openNotifier } from "./notifier.ts";
import { observedKeys, observedStorage, StorageFaults } from "./storage/faults.ts";
import type { KeyedStorage } from "./storage/keys.ts";

/**
 * An Aiki server inside this process: call it, mount it, or let it listen. It does not keep the process alive; its
 * listeners do, and so do workers and the waiting calls of clients in this process.
 */
export interface Server {
  /**
   * The eight verbs without HTTP and keys, for clients and workers of this process. Runs of two namespaces never meet.
   */
  api(namespace?: string): Api;
  /** The API keys that callers over HTTP show when `auth` is on. */
  readonly keys: Keyring;
  /** Answers one HTTP request, for mounting in another server. Never rejects. */
  fetch(request: Request): Promise<Response>;
  /**
   * Listens for HTTP; defaults come from `server()`. Throws `PORT_IN_USE`, `LISTEN_FAILED`, and `INVALID_CONFIG` for an
   * address beyond this machine without `auth`, unless `dangerouslyAllowUnauthenticated` is set.
   */
  listen(options?: ListenOptions): Promise<Listener>;
  /** Answers long polls, closes listeners, ends the work in flight, closes the database. May be called twice. */
  close(): Promise<void>;
}

/** Where to listen, if different from the parameters of `server()`. */
export interface ListenOptions {
  /** The port to bind; 0 takes any free one. Default: the `port` of `server()`. */
  port?: number;
  /** The address to bind. Default: the `host` of `server()`. */
  host?: string;
}

/**
 * Opens the database and starts the engine. Throws `INVALID_CONFIG`, or what the database says that cannot be opened:
 * `DATABASE_LOCKED`, `DATABASE_FOREIGN`, `DATABASE_UNSUPPORTED`, `SCHEMA_DRIFT`, `SCHEMA_TOO_NEW`, `SQLITE_MISSING` or
 * `STORAGE_*`.
 *
 * @example
 * ```ts
 * import { server } from "@aikirun/server";
 *
 * const aikiServer = await server({ database: "sqlite:aiki.db" });
 * const { url } = await aikiServer.listen({ port: 9090 });
 * console.log(`Clients and workers connect to ${url}`);
 * process.once("SIGTERM", () => aikiServer.close());
 * ```
 */
export async function server(params: ServerParams = {}): Promise<Server> {
  const config = parseConfig(params);
  const opened = await openDatabase(config.database, config);
  const faults = new StorageFaults(config);
  const storage: KeyedStorage = {
    ...observedStorage(opened, faults),
    checkWritable: () => faults.observe("write", opened.checkWritable()),
    keys: observedKeys(opened.keys, faults),
  };
  const { env, settings, logger } = config;
  const notifier = await openNotifier(config);
  const engine = createEngine({ storage, env, settings, logger, notifier });
  try {
    if (config.auth && (await storage.keys.list(null, 1)).length === 0) {
      config.logger.warn("no API key exists yet; create one with: aiki keys create --name <label>");
    }
    await engine.start();
  } catch (thrown) {
    await engine.close();
    await storage.close();
    throw thrown;
  }
  return assembled(config, storage, engine);
}

function assembled(config: Config, storage: KeyedStorage, engine: Engine): Server {
  const mounted = new AbortController();
  setMaxListeners(0, mounted.signal);
  const listeners = new Set<Listener>();
  const known = knownKeys({ keys: storage.keys, env: config.env, logger: config.logger });
  let closed: Promise<void> | null = null;

  const context: Omit<HttpContext, "hosts" | "closing"> = {
    basePath: config.basePath,
    admit: config.auth
      ? admitKeys({ known, api: engine.api, env: config.env, logger: config.logger })
      : admitAll(engine.api("default")),
    ready: oneAtATime(() => storage.checkWritable()),
    bodies: countedBodies(),
    logger: config.logger,
    id: config.env.id,
  };

  const listen = async (options: ListenOptions = {}): Promise<Listener> => {
    if (closed !== null) throw new AikiError("UNAVAILABLE", "The server is closed; make a new one with server().");
    const fields = new Fields(options, "listen options", "INVALID_CONFIG");
    const { port, host } = parseListen(fields, config);
    fields.done();
    checkReach(config, host);
    const listener = await listenOn({ ...context, hosts: hostsFor(config, host) }, port, host);
    listeners.add(listener);
    if (closed !== null) await listener.close();
    return listener;
  };

  const close = async (): Promise<void> => {
    mounted.abort();
    await Promise.all([...listeners].map((listener) => listener.close()));
    await engine.close();
    await storage.close();
  };

  return {
    api: (namespace = "default") => checked(engine.api(checkName(namespace, "namespace"))),
    keys: keyring(storage.keys, config.logger, known.forget),
    fetch: createApp({ ...context, hosts: hostsFor(config, null), closing: mounted.signal }),
    listen,
    close: () => {
      closed ??= close();
      return closed;
    },
  };
}

function checkReach(config: Config, host: string): void {
  if (isLoopback(host) || config.auth || config.dangerouslyAllowUnauthenticated) return;
  throw invalid(
    `Binding ${host} would let anyone who reaches it run workflows. Ask for API keys with auth: true, ` +
      "listen on 127.0.0.1, or say dangerouslyAllowUnauthenticated: true.",
  );
}

/**
 * With API keys, or bound beyond this machine, any host is allowed unless `allowedHosts` names some: a page that
 * rebinds its name has no key. `host` is null if the server is mounted in another.
 */
function hostsFor(config: Config, host: string | null): Hosts {
  const isKept = !config.auth && (host === null || isLoopback(host));
  return isKept || config.allowedHosts.length > 0 ? hostsAllowed(config.allowedHosts) : "any";
}

/** Callers that arrive while `work` runs share its result, so it runs at most once at a time. */
function oneAtATime(work: () => Promise<void>): () => Promise<void> {
  let current: Promise<void> | null = null;
  return () => {
    current ??= work().finally(() => {
      current = null;
    });
    return current;
  };
}
