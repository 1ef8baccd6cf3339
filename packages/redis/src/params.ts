import { AikiError } from "@aikirun/lib";
import { Fields, parseServiceUrl } from "@aikirun/lib/internal";

/** Where Redis is. It may be missing at any moment. */
export interface RedisParams {
  /** A host name or an IP address. */
  host: string;
  /** 1 to 65535. */
  port: number;
  /** The user of an access control list. Default: the default user. Needs a `password`. */
  username?: string;
  /** The password of the user. Default: none. */
  password?: string;
  /** The database's number, from 0. A cluster has only 0. Default 0. */
  db?: number;
  /** Uses TLS and verifies the certificate: `true`, or which certificates to trust. Default false. */
  tls?: boolean | RedisTls;
  /** `host` is a node of a Redis Cluster, or a name for all of them. Default false. */
  cluster?: boolean;
}

/** Certificates for TLS. Texts are in PEM format. */
export interface RedisTls {
  /** Authorities to trust instead of the well-known ones. Default: the well-known ones. */
  ca?: string;
  /** The client's own certificate, for a Redis that requires one. Default: none. */
  cert?: string;
  /** The key of `cert`. Default: none. */
  key?: string;
  /** Opens an encrypted `key`. Default: the key is not encrypted. */
  passphrase?: string;
  /** The name that the certificate must be for. Default: `host`; in a cluster, each node's own. */
  servername?: string;
  /** False accepts any certificate. Default true. */
  rejectUnauthorized?: boolean;
}

/** Checks parameters that a program gives. Throws `INVALID_CONFIG`, naming the field. */
export function parseRedisParams(value: unknown): Readonly<RedisParams> {
  const fields = new Fields(value, "client.redis", "INVALID_CONFIG");
  const username = fields.text("username");
  const password = fields.secret("password", { min: 0, max: 1_000 });
  const db = fields.integer("db", { min: 0, max: 65_535 });
  const tls = parseTls(fields);
  const cluster = fields.flag("cluster");
  const redis: RedisParams = {
    host: fields.required("host", fields.text("host")),
    port: fields.required("port", fields.integer("port", { min: 1, max: 65_535 })),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(db === undefined ? {} : { db }),
    ...(tls === undefined ? {} : { tls }),
    ...(cluster === undefined ? {} : { cluster }),
  };
  if (username !== undefined && password === undefined) {
    fields.refuse("password", "there beside username");
  }
  if (cluster === true && db !== undefined && db !== 0) {
    fields.refuse("db", "0 in a cluster, which has no other");
  }
  fields.done();
  return Object.freeze(redis);
}

function parseTls(fields: Fields): RedisParams["tls"] {
  const value = fields.take("tls");
  if (typeof value !== "object" || value === null) {
    return fields.flag("tls");
  }
  const options = new Fields(value, `${fields.where}.tls`, "INVALID_CONFIG");
  const pem = (name: string) => options.secret(name, { min: 1, max: 1_000_000 });
  const [ca, cert, key] = [pem("ca"), pem("cert"), pem("key")];
  const passphrase = options.secret("passphrase", { min: 0, max: 1_000 });
  const servername = options.text("servername");
  const rejectUnauthorized = options.flag("rejectUnauthorized");
  options.done();
  return Object.freeze({
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(servername === undefined ? {} : { servername }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  });
}

/** Where Redis is, and what the keys of this engine begin with. */
export interface RedisTarget {
  /** How to connect to it. */
  readonly params: Readonly<RedisParams>;
  /** What the keys begin with. */
  readonly prefix: string;
}

const example = "redis://user:password@host:6379/0, rediss:// with TLS, ?cluster=true for a cluster";

/** Parses the url of a Redis. Throws `INVALID_CONFIG` without showing what may be a password. */
export function parseRedisUrl(text: string): RedisTarget {
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
  const cluster = searchParams.get("cluster") === "true";
  if (cluster && Number(db) !== 0) throw bad("names a database, and a cluster has only 0");
  const params = Object.freeze({
    host: hostname === "" ? "localhost" : hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? 6379 : Number(port),
    ...(username === "" ? {} : { username: decodeURIComponent(username) }),
    ...(password === "" ? {} : { password: decodeURIComponent(password) }),
    db: Number(db),
    tls: protocol === "rediss:",
    cluster,
  });
  return Object.freeze({ params, prefix: searchParams.get("prefix") ?? "aiki" });
}
