/** The port for stored API keys. They are stored in the same database as runs; the engine does not use them. */

import { type Scope, scopes } from "@aikirun/lib/protocol";
import { type Cell, numberOf, type Row, textOf } from "./row.ts";
import type { Storage } from "./storage.ts";
import { fromText, toText } from "./text.ts";

/** A key as it is stored: enough to recognise it, but not enough to use it. */
export interface StoredKey {
  id: string;
  /** SHA-256 of the whole key, as 64 hex digits. */
  digest: string;
  namespace: string;
  /** A label for people. */
  name: string;
  scopes: Scope[];
  /** Epoch milliseconds by the database's clock, as are those below. */
  createdAt: number;
  expiresAt: number | null;
  revokedAt: number | null;
  /** Accurate to minutes; the last use before a crash may be missing. */
  lastUsedAt: number | null;
}

/** A key to insert. */
export interface NewKey extends Pick<StoredKey, "id" | "digest" | "namespace" | "name" | "scopes"> {
  /** From now by the database's clock; null: the key does not expire. Milliseconds. */
  expiresInMs: number | null;
}

/** Memory is the specification; one suite proves every implementation. No method is called inside a transaction. */
export interface Keys {
  /** The key as it is now stored; null when its id is taken. */
  insert(key: NewKey): Promise<StoredKey | null>;
  /** The keys that exist, in any order, and the time of the database's clock in epoch milliseconds. */
  load(ids: string[]): Promise<{ now: number; keys: StoredKey[] }>;
  /** A page of all keys by id; `after` is the last id of the previous page. */
  list(after: string | null, limit: number): Promise<StoredKey[]>;
  /** Revokes a key, unless it is already revoked; null when there is no such key. */
  revoke(id: string): Promise<StoredKey | null>;
  /** Records that these keys are in use; ignores ids that do not exist. */
  touch(ids: string[]): Promise<void>;
}

/** A storage of runs and API keys. */
export interface KeyedStorage extends Storage {
  readonly keys: Keys;
  /**
   * Commits a transaction without changes, to check whether storage can commit writes now. Rejects with `STORAGE_*` if
   * it cannot. Does not wait for readers. Must not be called inside a transaction.
   */
  checkWritable(): Promise<void>;
}

/** The columns of a new key, in the order of the statement that inserts it. */
export function newKeyColumns(key: NewKey, now: number): Cell[] {
  const { expiresInMs } = key;
  return [
    toText(key.id),
    key.digest,
    toText(key.namespace),
    toText(key.name),
    key.scopes.join(" "),
    now,
    expiresInMs === null ? null : now + expiresInMs,
  ];
}

/** Scopes that this version does not know are left out, because they grant nothing. */
export function keyOf(row: Row): StoredKey {
  const granted = new Set(textOf(row, "scopes").split(" "));
  return {
    id: fromText(textOf(row, "id")),
    digest: textOf(row, "digest"),
    namespace: fromText(textOf(row, "namespace")),
    name: fromText(textOf(row, "name")),
    scopes: scopes.filter((scope) => granted.has(scope)),
    createdAt: numberOf(row, "created_at"),
    expiresAt: optionalNumber(row, "expires_at"),
    revokedAt: optionalNumber(row, "revoked_at"),
    lastUsedAt: optionalNumber(row, "last_used_at"),
  };
}

function optionalNumber(row: Row, column: string): number | null {
  return row[column] === null ? null : numberOf(row, column);
}
