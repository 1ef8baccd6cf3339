/** How every storage keeps API keys. Memory is the specification. */

import { scopes } from "@aikirun/lib/protocol";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Keys, NewKey } from "../../packages/server/src/storage/keys.ts";

export interface OpenedKeys {
  keys: Keys;
  /** Deletes all keys, closes the storage, and removes its files. */
  end(): Promise<void>;
}

const digest = "0123456789abcdef".repeat(4);

function newKey(n: number, more: Partial<NewKey> = {}): NewKey {
  const id = `key${n}`;
  return { id, digest, namespace: "default", name: "ci", scopes: ["runs:read"], expiresInMs: null, ...more };
}

export function keysSuite(title: string, open: () => Promise<OpenedKeys>): void {
  describe(`keys in ${title}`, () => {
    let keys: Keys;
    let end: () => Promise<void>;
    beforeEach(async () => {
      ({ keys, end } = await open());
    });
    afterEach(() => end());

    it("a key is loaded as it was inserted, with a date by the clock of the database", async () => {
      const before = (await keys.load([])).now;
      const key = newKey(1, {
        namespace: "a\0b",
        name: "\ud800 '; DROP TABLE",
        scopes: [...scopes],
        expiresInMs: 5_000,
      });
      const { expiresInMs: _, ...given } = key;
      const stored = await keys.insert(key);
      expect(stored).toMatchObject({ ...given, revokedAt: null, lastUsedAt: null });
      expect(stored?.createdAt).toBeGreaterThanOrEqual(before);
      expect(stored?.expiresAt).toBe((stored?.createdAt ?? 0) + 5_000);
      const { now, keys: loaded } = await keys.load([key.id]);
      expect(loaded).toEqual([stored]);
      expect(now).toBeGreaterThanOrEqual(stored?.createdAt ?? Number.POSITIVE_INFINITY);
    });

    it("a key may have no expiry, and may have no scopes", async () => {
      expect(await keys.insert(newKey(1, { scopes: [] }))).toMatchObject({ expiresAt: null, scopes: [] });
    });

    it("an insert does not change a key with the same id", async () => {
      const first = await keys.insert(newKey(1));
      expect(await keys.insert(newKey(1, { name: "other" }))).toBeNull();
      expect((await keys.load(["key1"])).keys).toEqual([first]);
    });

    it("load returns each existing key once, and omits the others", async () => {
      await keys.insert(newKey(1));
      await keys.insert(newKey(2));
      const { keys: loaded } = await keys.load(["key2", "nobody", "key1", "key2", "", "\0", "\ud800"]);
      expect(loaded.map(({ id }) => id).sort()).toEqual(["key1", "key2"]);
      expect((await keys.load([])).keys).toEqual([]);
    });

    it("keys are listed by id, in pages", async () => {
      for (const n of [2, 3, 1]) await keys.insert(newKey(n));
      expect((await keys.list(null, 2)).map(({ id }) => id)).toEqual(["key1", "key2"]);
      expect((await keys.list("key2", 2)).map(({ id }) => id)).toEqual(["key3"]);
      expect(await keys.list("key3", 2)).toEqual([]);
    });

    it("a revoked key stays revoked with its first date", async () => {
      await keys.insert(newKey(1));
      const revoked = await keys.revoke("key1");
      expect(revoked?.revokedAt).toBeGreaterThanOrEqual(revoked?.createdAt ?? Number.POSITIVE_INFINITY);
      expect(await keys.revoke("key1")).toEqual(revoked);
      expect((await keys.load(["key1"])).keys).toEqual([revoked]);
      expect(await keys.revoke("nobody")).toBeNull();
    });

    it("the last use is recorded for existing keys only", async () => {
      await keys.insert(newKey(1));
      await keys.insert(newKey(2));
      await keys.touch(["key1", "nobody"]);
      const { now, keys: loaded } = await keys.load(["key1", "key2"]);
      const used = new Map(loaded.map(({ id, lastUsedAt }) => [id, lastUsedAt]));
      expect(used.get("key1")).toBeGreaterThan(0);
      expect(used.get("key1")).toBeLessThanOrEqual(now);
      expect(used.get("key2")).toBeNull();
      await keys.touch([]);
    });

    it("keys are inserted, loaded and revoked concurrently", async () => {
      const all = Array.from({ length: 50 }, (_, n) => newKey(n));
      const inserted = await Promise.all(all.map((key) => keys.insert(key)));
      expect(inserted.every((key) => key !== null)).toBe(true);
      await Promise.all(Array.from({ length: 20 }, () => keys.touch(all.map(({ id }) => id))));
      expect((await keys.list(null, 100)).every(({ lastUsedAt }) => lastUsedAt !== null)).toBe(true);
    });
  });
}
