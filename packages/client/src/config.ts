import { AikiError, consoleLogger, type Env, type Logger } from "@aikirun/lib";
import { Fields, hasMethods, redactUrl, systemEnv } from "@aikirun/lib/internal";
import type { Api } from "@aikirun/lib/protocol";
import { parseRedisParams, type RedisParams } from "@aikirun/redis";
import { v7 } from "uuid";

/** An embedded server, as `server()` of `@aikirun/server` returns it. */
export interface EmbeddedServer {
  /** The eight verbs for one namespace. Default: `default`. */
  api(namespace?: string): Api;
}

/** Parameters for a server in another process. */
export interface RemoteParams {
  /** `http://…` or `https://…`; a path is kept, for servers mounted below one. */
  url: string;
  /** The address of Redis, for workers with the `redis_streams` subscriber. Default: none. */
  redis?: RedisParams;
  /**
   * The API key of a server with `auth`, as `aiki keys create` prints it; sent as `authorization: Bearer …`. Default:
   * none.
   */
  apiKey?: string;
  /** Default: the console. */
  logger?: Logger;
  /** Clock, randomness and ids; for simulations. Default: the system's. */
  env?: Env;
}

/** Parameters for a server in the same process. */
export interface EmbeddedParams {
  /** The server that `server()` of `@aikirun/server` returned. */
  server: EmbeddedServer;
  /** Default: the console. */
  logger?: Logger;
  /** Clock, randomness and ids; for simulations. Default: the system's. */
  env?: Env;
}

/** Parameters of a client: for a server in another process, or in this process. */
export type ClientParams = RemoteParams | EmbeddedParams;

export interface ClientConfig {
  readonly target: { readonly url: string; readonly apiKey: string | null } | { readonly server: EmbeddedServer };
  readonly redis: Readonly<RedisParams> | null;
  readonly logger: Logger;
  readonly env: Env;
}

export function parseConfig(params: unknown): ClientConfig {
  const fields = new Fields(params, "client", "INVALID_CONFIG");
  const config: ClientConfig = {
    target: parseTarget(fields),
    redis: fields.has("redis") ? parseRedisParams(fields.take("redis")) : null,
    logger: fields.logger("logger") ?? consoleLogger({}),
    env: fields.env("env") ?? systemEnv({ id: () => v7() }),
  };
  fields.done();
  return Object.freeze(config);
}

function parseTarget(fields: Fields): ClientConfig["target"] {
  const server = fields.shaped("server", isServer, "an embedded server, as server() of @aikirun/server resolves to");
  if (server === undefined) {
    const url = parseUrl(fields.required("url", fields.secret("url", { min: 1, max: 2_000 })));
    return Object.freeze({ url, apiKey: parseApiKey(fields) });
  }
  for (const name of ["url", "apiKey", "redis"]) {
    if (fields.has(name)) {
      const message = `client.${name} must not be set together with server: an embedded server is called directly.`;
      throw new AikiError("INVALID_CONFIG", message, { ids: { field: name } });
    }
  }
  return Object.freeze({ server });
}

/** Removes the line end of a key that was read from a file. Errors do not contain the key. */
function parseApiKey(fields: Fields): string | null {
  const given = fields.take("apiKey");
  if (given === undefined) return null;
  const key = typeof given === "string" ? given.trim() : "";
  if (/^[\x21-\x7e]{1,1000}$/.test(key)) return key;
  throw new AikiError("INVALID_CONFIG", "client.apiKey must be a key as `aiki keys create` prints it.", {
    ids: { field: "apiKey" },
  });
}

function parseUrl(text: string): string {
  const bad = (why: string) =>
    new AikiError("INVALID_CONFIG", `client.url ${redactUrl(text)} ${why}`, { ids: { field: "url" } });
  // The parser's error would contain the whole text, which may include a password.
  if (!URL.canParse(text)) throw bad("is not a URL; write for example http://localhost:9090.");
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw bad("must begin with http:// or https://.");
  }
  if (url.username !== "" || url.password !== "") {
    throw bad("must not hold credentials; pass apiKey instead.");
  }
  if (url.pathname.includes("@")) {
    throw bad("has an @ after the host; write it as %40 in a path, and pass credentials as apiKey.");
  }
  if (url.search !== "" || url.hash !== "") {
    throw bad("must have no query (?) and no fragment (#).");
  }
  return url.href.replace(/\/+$/, "");
}

function isServer(value: unknown): value is EmbeddedServer {
  return hasMethods(value, ["api"]);
}
