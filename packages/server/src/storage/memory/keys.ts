import type { Env } from "@aikirun/lib";
import type { Keys, StoredKey } from "../keys.ts";
import { byId } from "./sorted.ts";

/** Keys in memory. `inTurn` runs one function at a time, and only while the storage is open. */
export function memoryKeys(env: Pick<Env, "now">, inTurn: <T>(work: () => T) => Promise<T>): Keys {
  const rows = new Map<string, StoredKey>();

  const change = (id: string, changed: (key: StoredKey) => StoredKey): StoredKey | null => {
    const key = rows.get(id);
    if (key === undefined) return null;
    const next = changed(key);
    rows.set(id, next);
    return copyKey(next);
  };

  return {
    insert: ({ expiresInMs, ...key }) =>
      inTurn(() => {
        if (rows.has(key.id)) return null;
        const createdAt = env.now();
        const expiresAt = expiresInMs === null ? null : createdAt + expiresInMs;
        const row: StoredKey = { ...key, createdAt, expiresAt, revokedAt: null, lastUsedAt: null };
        rows.set(key.id, copyKey(row));
        return row;
      }),
    load: (ids) =>
      inTurn(() => {
        const keys = [...new Set(ids)].flatMap((id) => rows.get(id) ?? []).map(copyKey);
        return { now: env.now(), keys };
      }),
    list: (after, limit) =>
      inTurn(() => {
        const ids = [...rows.keys()].filter((id) => after === null || id > after).sort(byId);
        return ids
          .slice(0, limit)
          .flatMap((id) => rows.get(id) ?? [])
          .map(copyKey);
      }),
    revoke: (id) => inTurn(() => change(id, (key) => ({ ...key, revokedAt: key.revokedAt ?? env.now() }))),
    touch: (ids) =>
      inTurn(() => {
        for (const id of ids) {
          change(id, (key) => ({ ...key, lastUsedAt: Math.max(key.lastUsedAt ?? 0, env.now()) }));
        }
      }),
  };
}

function copyKey(key: StoredKey): StoredKey {
  return { ...key, scopes: [...key.scopes] };
}
