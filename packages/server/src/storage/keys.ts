/** The port to where API keys rest: beside the runs, and of no interest to the engine. */

import { type Scope, scopes } from "@aikirun/lib/protocol";
import { type Cell, numberOf, type Row, textOf } from "./row.ts";
import type { Storage } from "./storage.ts";
import { fromText, toText } from "./text.ts";

/** A key as it rests: enough to recognise it, nothing that could be used in its place. */
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
  /** Coarse: within minutes, and missing the last use before a crash. */
  lastUsedAt: number | null;
}

/** A key that is to be kept. */
export interface NewKey extends Pick<StoredKey, "id" | "digest" | "namespace" | "name" | "scopes"> {
  /** From now by the database's clock; null never ends. Milliseconds. */
  expiresInMs: number | null;
}

/** Memory is the specification; one suite proves every implementation. No method is called inside a transaction. */
export interface Keys {
  /** The key as it now rests; null when its id is taken. */
  insert(key: NewKey): Promise<StoredKey | null>;
  /** Those that exist, in any order, and the database's clock. Epoch milliseconds. */
  load(ids: string[]): Promise<{ now: number; keys: StoredKey[] }>;
  /** A page of all keys by id; `after` is the last id of the page before. */
  list(after: string | null, limit: number): Promise<StoredKey[]>;
  /** Revokes a key from now on, unless it is revoked already; null when there is none. */
  revoke(id: string): Promise<StoredKey | null>;
  /** Notes that these are in use; one that does not exist is passed over. */
  touch(ids: string[]): Promise<void>;
}

/** A storage with the keys beside it. */
export interface KeyedStorage extends Storage {
  readonly keys: Keys;
  /**
   * Commits a transaction that changes nothing, to find out whether one that changes something could be committed now.
   * Rejects with `STORAGE_*` when not. Does not wait for those who only read. Not to be called inside a transaction.
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

/** A scope that this version does not know opens nothing, and is left out. */
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
