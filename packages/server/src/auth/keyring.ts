/** Creates, lists and revokes the API keys of a database. */

import { AikiError, type Duration, type Logger } from "@aikirun/lib";
import { checkName, Fields } from "@aikirun/lib/internal";
import { type Scope, scopes } from "@aikirun/lib/protocol";
import type { Keys, NewKey, StoredKey } from "../storage/keys.ts";
import { mintSecret } from "./secret.ts";

/** An API key without its secret. Times are epoch milliseconds by the database's clock. */
export interface ApiKey extends Omit<StoredKey, "digest"> {}

/** The parameters of a new API key. */
export interface CreateKey {
  /** A label for people: whose key it is, or what for. 1 to 255 characters. */
  name: string;
  /** The one namespace that the key opens. Default `default`. */
  namespace?: string;
  /** Default: all but `admin` and `metrics:read`. */
  scopes?: readonly Scope[];
  /** How long the key is valid from now on. Default: it does not expire. */
  expiresIn?: Duration;
}

/** A new API key with its secret, which is not stored. */
export interface CreatedKey extends ApiKey {
  /** `ak_…`: what a client passes as `apiKey`. */
  secret: string;
}

/** The API keys of one database. */
export interface Keyring {
  /**
   * Creates a key and returns its secret, which cannot be read again. Throws `INVALID_CONFIG`, `INVALID_NAME`,
   * `INVALID_DURATION` or `STORAGE_*`.
   */
  create(options: CreateKey): Promise<CreatedKey>;
  /** All keys that were ever created, oldest first. Throws `STORAGE_*`. */
  list(): Promise<ApiKey[]>;
  /**
   * Revokes a key. Servers that have it in memory accept it for up to 5 s more; long polls in progress are not ended.
   * Does not change a revoked key. Throws `KEY_NOT_FOUND` or `STORAGE_*`.
   */
  revoke(id: string): Promise<ApiKey>;
}

const pageSize = 1_000;

/** Calls `onRevoked` with the id of a key as soon as it is revoked in storage. */
export function keyring(keys: Keys, logger: Logger, onRevoked: (id: string) => void = () => {}): Keyring {
  const insert = async (wanted: Omit<NewKey, "id" | "digest">): Promise<CreatedKey> => {
    const { id, digest, text } = mintSecret();
    const stored = await keys.insert({ ...wanted, id, digest });
    return stored === null ? insert(wanted) : { ...shown(stored), secret: text };
  };

  return {
    async create(options) {
      const created = await insert(parseCreate(options));
      const { id, name, namespace, scopes, expiresAt } = created;
      logger.info("API key created", { keyId: id, name, namespace, scopes: scopes.join(" "), expiresAt });
      return created;
    },
    async list() {
      const all: StoredKey[] = [];
      for (let page = await keys.list(null, pageSize); page.length > 0; ) {
        all.push(...page);
        page = await keys.list(all.at(-1)?.id ?? null, pageSize);
      }
      return all.sort((left, right) => left.createdAt - right.createdAt).map(shown);
    },
    async revoke(id) {
      const revoked = await keys.revoke(id);
      if (revoked === null) {
        throw new AikiError("KEY_NOT_FOUND", `There is no API key ${id}. List them to see their ids.`, {
          ids: { keyId: id },
        });
      }
      onRevoked(id);
      logger.info("API key revoked", { keyId: id, name: revoked.name, namespace: revoked.namespace });
      return shown(revoked);
    },
  };
}

function parseCreate(options: CreateKey): Omit<NewKey, "id" | "digest"> {
  const fields = new Fields(options, "API key", "INVALID_CONFIG");
  const wanted = {
    name: checkName(fields.required("name", fields.prose("name", 1_000)), "key"),
    namespace: checkName(fields.prose("namespace", 1_000) ?? "default", "namespace"),
    scopes: parseScopes(fields),
    expiresInMs: fields.timeout("expiresIn") ?? null,
  };
  fields.done();
  return wanted;
}

/** Scopes that a key has only if its creator names them: one allows everything, the other sees all namespaces. */
const onlyOnRequest: ReadonlySet<Scope> = new Set(["admin", "metrics:read"]);

function parseScopes(fields: Fields): Scope[] {
  const named = fields.texts("scopes", scopes.length);
  if (named === undefined) return scopes.filter((scope) => !onlyOnRequest.has(scope));
  const known = scopes.filter((scope) => named.includes(scope));
  if (named.length === 0 || known.length < named.length) fields.refuse("scopes", `some of ${scopes.join(", ")}`);
  return known;
}

function shown({ digest: _, ...key }: StoredKey): ApiKey {
  return key;
}
