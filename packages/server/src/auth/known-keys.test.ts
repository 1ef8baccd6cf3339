import { silentLogger } from "@aikirun/lib";
import { type VirtualEnv, virtualEnv } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import type { Keys, NewKey } from "../storage/keys.ts";
import { memoryStorage } from "../storage/memory/memory.ts";
import { freshMs, type KnownKeys, knownKeys } from "./known-keys.ts";
import { mintSecret, type PresentedKey } from "./secret.ts";

interface KnownKeysRig {
  env: VirtualEnv;
  keys: Keys;
  known: KnownKeys;
  /** The ids of each lookup in storage. */
  lookups: string[][];
  touched: string[][];
  /** The errors that storage throws, if any. */
  faults: { load: Error | null; touch: Error | null };
  create(more?: Partial<NewKey>): Promise<PresentedKey>;
}

function rig(): KnownKeysRig {
  const env = virtualEnv();
  const inner = memoryStorage({ env }).keys;
  const lookups: string[][] = [];
  const touched: string[][] = [];
  const faults: KnownKeysRig["faults"] = { load: null, touch: null };
  const keys: Keys = {
    ...inner,
    async load(ids) {
      lookups.push(ids);
      if (faults.load !== null) throw faults.load;
      return inner.load(ids);
    },
    async touch(ids) {
      touched.push(ids);
      if (faults.touch !== null) throw faults.touch;
      return inner.touch(ids);
    },
  };
  return {
    env,
    keys,
    known: knownKeys({ keys, env, logger: silentLogger }),
    lookups,
    touched,
    faults,
    async create(more = {}) {
      const { id, digest } = mintSecret();
      const wanted = { id, digest, namespace: "a", name: "n", scopes: ["runs:read"], expiresInMs: null } as const;
      await keys.insert({ ...wanted, scopes: ["runs:read"], ...more });
      return { id, digest };
    },
  };
}

describe("a key", () => {
  it("a key is recognised with its namespace and its scopes", async () => {
    const { known, create } = rig();
    const presented = await create({ namespace: "tenant", scopes: ["runs:read", "events:send"] });
    expect(await known.recognise(presented)).toEqual({
      ...presented,
      name: "n",
      namespace: "tenant",
      granted: new Set(["runs:read", "events:send"]),
    });
  });

  it("a key is looked up once in 5 s, however often it is presented", async () => {
    const { env, known, lookups, create } = rig();
    const presented = await create();
    await Promise.all(Array.from({ length: 100 }, () => known.recognise(presented)));
    await env.advance(freshMs - 1);
    await known.recognise(presented);
    expect(lookups).toEqual([[presented.id]]);
    await env.advance(1);
    await known.recognise(presented);
    expect(lookups).toHaveLength(2);
    expect(freshMs).toBe(5_000);
  });

  it("a key that another server revoked is accepted for less than 5 s more", async () => {
    const { env, keys, known, create } = rig();
    const presented = await create();
    await known.recognise(presented);
    await keys.revoke(presented.id);
    await env.advance(freshMs - 1);
    expect(await known.recognise(presented)).toMatchObject({ id: presented.id });
    await env.advance(1);
    expect(await known.recognise(presented)).toBe("revoked");
  });

  it("a key that this server revoked is refused at once, even if a lookup was in progress", async () => {
    const { keys, known, create } = rig();
    const presented = await create();
    const before = known.recognise(presented);
    await keys.revoke(presented.id);
    known.forget(presented.id);
    await before;
    expect(await known.recognise(presented)).toBe("revoked");
  });

  it("a key expires at its own moment, cached or not", async () => {
    const { env, known, lookups, create } = rig();
    const presented = await create({ expiresInMs: 2_000 });
    await env.advance(1_999);
    expect(await known.recognise(presented)).toMatchObject({ id: presented.id });
    await env.advance(1);
    expect(await known.recognise(presented)).toBe("expired");
    expect(lookups).toHaveLength(1);
  });

  it("an invalid key costs one lookup: unknown, wrong, revoked or expired", async () => {
    const { env, keys, known, lookups, create } = rig();
    const [wrong, revoked, expired] = [await create(), await create(), await create({ expiresInMs: 1 })];
    await keys.revoke(revoked.id);
    await env.advance(1);
    const shown: Array<[PresentedKey, string]> = [
      [mintSecret(), "unknown"],
      [{ ...wrong, digest: mintSecret().digest }, "wrong secret"],
      [revoked, "revoked"],
      [expired, "expired"],
    ];
    for (const [one, fault] of shown) {
      expect(await known.recognise(one)).toBe(fault);
      expect(await known.recognise(one)).toBe(fault);
    }
    expect(lookups).toEqual(shown.map(([{ id }]) => [id]));
  });

  it("an attempt with a wrong secret or a revoked key is not recorded as use of the key", async () => {
    const { keys, known, touched, create } = rig();
    const [wrong, revoked] = [await create(), await create()];
    await keys.revoke(revoked.id);
    await known.recognise({ ...wrong, digest: mintSecret().digest });
    await known.recognise(revoked);
    expect(touched).toEqual([]);
  });
});

describe("recording the use of a key", () => {
  it("the use of a key is recorded at most every 5 min", async () => {
    const { env, known, touched, create } = rig();
    const presented = await create();
    for (let second = 0; second < 301; second++) {
      await known.recognise(presented);
      await env.advance(1_000);
    }
    expect(touched).toHaveLength(2);
  });

  it("a key is accepted although its use cannot be recorded", async () => {
    const { known, faults, touched, create } = rig();
    const presented = await create();
    faults.touch = new Error("disk full");
    expect(await known.recognise(presented)).toMatchObject({ id: presented.id });
    expect(touched).toHaveLength(1);
  });
});

describe("failing storage", () => {
  it("if storage fails, cached keys are accepted, others fail, and later calls load again", async () => {
    const { env, known, faults, create } = rig();
    const presented = await create();
    await known.recognise(presented);
    faults.load = new Error("connection lost");
    await env.advance(freshMs - 1);
    expect(await known.recognise(presented)).toMatchObject({ id: presented.id });
    await env.advance(1);
    await expect(known.recognise(presented)).rejects.toThrow("connection lost");
    faults.load = null;
    expect(await known.recognise(presented)).toMatchObject({ id: presented.id });
  });
});

describe("unknown key ids", () => {
  it("unknown ids are looked up a hundred at a time, and do not displace known keys", async () => {
    const { known, lookups, create } = rig();
    const presented = await create();
    await known.recognise(presented);
    const unknownKeys = Array.from({ length: 5_000 }, () => mintSecret());
    await Promise.all(unknownKeys.map((unknownKey) => known.recognise(unknownKey)));
    expect(lookups.length).toBeLessThanOrEqual(1 + 51);
    expect(Math.max(...lookups.map((ids) => ids.length))).toBeLessThanOrEqual(100);
    const before = lookups.length;
    await known.recognise(presented);
    expect(lookups).toHaveLength(before);
  });

  it("at most a thousand unknown ids are cached", async () => {
    const { known, lookups } = rig();
    const unknownKeys = Array.from({ length: 1_001 }, () => mintSecret());
    for (const unknownKey of unknownKeys) await known.recognise(unknownKey);
    const before = lookups.length;
    await Promise.all(unknownKeys.slice(1).map((unknownKey) => known.recognise(unknownKey)));
    expect(lookups).toHaveLength(before);
    await Promise.all(unknownKeys.slice(0, 1).map((unknownKey) => known.recognise(unknownKey)));
    expect(lookups).toHaveLength(before + 1);
  });
});
