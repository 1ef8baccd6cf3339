/**
 * Caches API keys for a few seconds. The cache is bounded however many ids are invented: unknown ids have a separate
 * cache, and storage loads many ids with one query, one query at a time.
 */

import type { Env, Logger } from "@aikirun/lib";
import { batcher } from "@aikirun/lib/internal";
import type { Scope } from "@aikirun/lib/protocol";
import type { Keys, StoredKey } from "../storage/keys.ts";
import { isSameDigest, type PresentedKey } from "./secret.ts";

/** A key that is valid now. */
export interface KnownKey extends Pick<StoredKey, "id" | "name" | "namespace" | "digest"> {
  readonly granted: ReadonlySet<Scope>;
}

/** Why a key is not accepted: for the log only, the reply does not contain it. */
export type Fault = "unknown" | "wrong secret" | "revoked" | "expired";

export interface KnownKeys {
  /** Throws what storage throws. */
  recognise(shown: PresentedKey): Promise<KnownKey | Fault>;
  /** Removes a key from the cache, so that it is loaded again. */
  forget(id: string): void;
}

/** How long a key is cached, so how long a revoked key may still be accepted. Milliseconds. */
export const freshMs = 5_000;
const maxKeys = 10_000;
const maxUnknownIds = 1_000;
const idsAtOnce = 100;
/** A use is recorded if the last recorded one is older than this. Milliseconds. */
const usedWithinMs = 300_000;
/** The digest to compare with when there is no key, so that both cases take equally long. */
const noDigest = "0".repeat(64);

interface Memory {
  key: KnownKey | null;
  isRevoked: boolean;
  /** By the monotonic clock, as are those below. */
  endsAt: number;
  reloadAt: number;
  /** Whether the next use must be recorded, because the last recorded one is long ago. */
  isUseUnrecorded: boolean;
}

export function knownKeys({ keys, env, logger }: { keys: Keys; env: Env; logger: Logger }): KnownKeys {
  const members = new Map<string, Memory>();
  const unknownIds = new Map<string, Memory>();
  const loading = new Map<string, Promise<Memory>>();

  const load = async (ids: string[]): Promise<Memory[]> => {
    const askedAt = env.elapsed();
    const loaded = await keys.load(ids);
    const found = new Map(loaded.keys.map((key) => [key.id, key]));
    return ids.map((id) => memoryOf(found.get(id), loaded.now, askedAt));
  };
  const enqueue = batcher<string, Memory>({ max: idsAtOnce, soon: env.soon, send: load });

  /** Loads a key. If `forget` is called meanwhile, the result is returned but not cached. */
  const ask = (id: string): Promise<Memory> => {
    const isLatest = () => loading.get(id) === asked;
    const asked: Promise<Memory> = enqueue(id)
      .then((memory) => {
        if (isLatest()) remember(id, memory);
        return memory;
      })
      .finally(() => {
        if (isLatest()) loading.delete(id);
      });
    loading.set(id, asked);
    return asked;
  };

  const remember = (id: string, memory: Memory): void => {
    members.delete(id);
    unknownIds.delete(id);
    if (memory.key === null) keep(unknownIds, maxUnknownIds, id, memory);
    else keep(members, maxKeys, id, memory);
  };

  const reuse = (id: string): Memory | Promise<Memory> => {
    const memory = members.get(id) ?? unknownIds.get(id);
    if (memory !== undefined && env.elapsed() < memory.reloadAt) return memory;
    return loading.get(id) ?? ask(id);
  };

  const noteUse = (id: string, memory: Memory): void => {
    if (!memory.isUseUnrecorded) return;
    memory.isUseUnrecorded = false;
    keys.touch([id]).catch((error) => logger.debug("the use of an API key was not noted", { keyId: id, error }));
  };

  return {
    async recognise({ id, digest }) {
      const memory = await reuse(id);
      const isSame = isSameDigest(digest, memory.key?.digest ?? noDigest);
      if (memory.key === null) return "unknown";
      if (!isSame) return "wrong secret";
      if (memory.isRevoked) return "revoked";
      if (env.elapsed() >= memory.endsAt) return "expired";
      noteUse(id, memory);
      return memory.key;
    },
    forget(id) {
      members.delete(id);
      unknownIds.delete(id);
      loading.delete(id);
    },
  };
}

function memoryOf(key: StoredKey | undefined, now: number, askedAt: number): Memory {
  const reloadAt = askedAt + freshMs;
  if (key === undefined) return { key: null, isRevoked: false, endsAt: 0, reloadAt, isUseUnrecorded: false };
  const { id, name, digest, namespace, scopes, expiresAt, revokedAt, lastUsedAt } = key;
  return {
    key: { id, name, digest, namespace, granted: new Set(scopes) },
    isRevoked: revokedAt !== null,
    endsAt: expiresAt === null ? Number.POSITIVE_INFINITY : askedAt + (expiresAt - now),
    reloadAt,
    isUseUnrecorded: lastUsedAt === null || now - lastUsedAt >= usedWithinMs,
  };
}

/** Removes the entries that were loaded first if there are too many. */
function keep(memories: Map<string, Memory>, most: number, id: string, memory: Memory): void {
  memories.set(id, memory);
  for (const oldest of memories.keys()) {
    if (memories.size <= most) return;
    memories.delete(oldest);
  }
}
