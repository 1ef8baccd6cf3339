import type { QueueKey } from "@aikirun/lib/protocol";
import { settled, uuid, type VirtualEnv, virtualEnv } from "@aikirun/testing/virtual-env";
import { beforeEach, describe, expect, it } from "vitest";
import { QueueCache, type QueueEntry } from "./queue-cache.ts";

let env: VirtualEnv;
beforeEach(() => {
  env = virtualEnv();
});

const order: QueueKey = { namespace: "default", name: "order", versionId: "1", shardKey: null };
const ship: QueueKey = { ...order, name: "ship" };
const inShards = (...shardKeys: string[]): QueueKey[] => shardKeys.map((shardKey) => ({ ...order, shardKey }));

/** The cache of a server that has just scanned these queues and found no runs. */
function complete(...keys: QueueKey[]): QueueCache {
  const cache = new QueueCache(env);
  scan(cache, ...keys);
  return cache;
}

function scan(cache: QueueCache, ...keys: QueueKey[]): void {
  cache.scanned(cache.plan(keys, 0), [], "nothing");
}

function entry(n: number, more: Partial<QueueEntry> = {}): QueueEntry {
  return { ...order, id: uuid(n), priority: 0, ...more };
}

const take = (cache: QueueCache, keys: QueueKey[], limit: number) => cache.plan(keys, limit).ids;
const mustScan = (cache: QueueCache, ...keys: QueueKey[]) => cache.plan(keys, 0).mustScan;

describe("cached runs", () => {
  it("cached runs are taken by priority, then in order of arrival, across queues", () => {
    const both = [order, { ...order, versionId: "2" }];
    const cache = complete(...both);
    cache.enqueue(entry(1));
    cache.enqueue(entry(2, { versionId: "2" }));
    cache.enqueue(entry(3, { priority: 9 }));
    cache.enqueue(entry(4, { versionId: "2", priority: 9 }));
    expect(take(cache, both, 10)).toEqual([uuid(3), uuid(4), uuid(1), uuid(2)]);
    expect(take(cache, both, 10)).toEqual([]);
  });

  it("a long queue does not delay another, however many runs are taken at once", () => {
    for (const limit of [1, 3]) {
      const cache = complete(order, ship);
      for (let n = 0; n < 1_000; n++) cache.enqueue(entry(n));
      for (let n = 1_000; n < 1_010; n++) cache.enqueue(entry(n, { name: "ship" }));
      const taken: string[] = [];
      while (taken.length < 21) taken.push(...take(cache, [order, ship], limit));
      expect(taken.filter((id) => id >= uuid(1_000))).toHaveLength(10);
    }
  });

  it("invalidating everything drops all cached runs, and storage is scanned", () => {
    const cache = complete(order);
    cache.enqueue(entry(1));
    cache.invalidate();
    expect([mustScan(cache, order), take(cache, [order], 1)]).toEqual([true, []]);
    scan(cache, order);
    cache.enqueue(entry(1));
    expect(take(cache, [order], 2)).toEqual([uuid(1)]);
  });

  it("runs that are no longer queued are removed, and no others", () => {
    const cache = complete(order);
    for (let n = 0; n < 5_000; n++) cache.enqueue(entry(n, { priority: n % 2 }));
    for (let n = 0; n < 5_000; n++) if (n % 5 !== 0) cache.remove(uuid(n));
    cache.remove(uuid(9_999));
    const left = Array.from({ length: 1_000 }, (_, n) => n * 5);
    const ranked = [...left.filter((n) => n % 2 === 1), ...left.filter((n) => n % 2 === 0)];
    expect(take(cache, [order], 10_000)).toEqual(ranked.map((n) => uuid(n)));
    expect(cache.plan([order], 0).waitMs).toBeGreaterThan(0);
  });

  it("a cached run counts once, however often it is added", () => {
    const cache = complete(order);
    cache.enqueue(entry(1));
    cache.enqueue(entry(1));
    expect(take(cache, [order], 10)).toEqual([uuid(1)]);
    cache.enqueue(entry(1));
    expect(take(cache, [order], 10)).toEqual([uuid(1)]);
  });

  it("cached runs are taken only for their workflow, version, shard and namespace", () => {
    const shards = inShards("us", "eu");
    const cache = complete(order, ...shards);
    cache.enqueue(entry(1, { name: "other" }));
    cache.enqueue(entry(2, { versionId: "2" }));
    cache.enqueue(entry(3, { shardKey: "eu" }));
    cache.enqueue(entry(4, { namespace: "other" }));
    expect(take(cache, [order], 10)).toEqual([]);
    expect(take(cache, shards, 10)).toEqual([uuid(3)]);
  });

  it("queue keys that contain separators are not confused", () => {
    const odd = { ...order, name: "a", versionId: "b:c" };
    const cache = complete(odd);
    cache.enqueue(entry(1, { name: "a:b", versionId: "c" }));
    cache.enqueue(entry(2, { name: "a", versionId: "b", shardKey: "c" }));
    expect(take(cache, [odd], 10)).toEqual([]);
  });

  it("tens of thousands of runs keep their order while they are added and taken", () => {
    const cache = complete(order);
    const taken: string[] = [];
    for (let n = 0; n < 20_000; n++) {
      cache.enqueue(entry(n));
      if (n % 3 === 2) taken.push(...take(cache, [order], 2));
    }
    taken.push(...take(cache, [order], 20_000));
    expect(taken).toEqual(Array.from({ length: 20_000 }, (_, n) => uuid(n)));
  });

  it("a queue with more than ten thousand cached runs is scanned instead", () => {
    const cache = complete(order);
    for (let n = 0; n < 10_000; n++) cache.enqueue(entry(n));
    expect(mustScan(cache, order)).toBe(false);
    cache.enqueue(entry(10_000));
    expect([mustScan(cache, order), take(cache, [order], 20_000)]).toEqual([true, []]);
  });
});

describe("a scan", () => {
  it("a scan is due at first, and every five seconds", async () => {
    const cache = new QueueCache(env);
    expect(cache.plan([order], 0)).toMatchObject({ mustScan: true, waitMs: 0 });
    scan(cache, order);
    expect(cache.plan([order], 0)).toMatchObject({ mustScan: false, waitMs: 5_000 });
    await env.advance(4_999);
    expect(mustScan(cache, order)).toBe(false);
    await env.advance(1);
    expect(mustScan(cache, order)).toBe(true);
  });

  it("a scan is due at once if storage has more, and soon if other transactions lock runs", () => {
    const cache = complete(order);
    cache.scanned(cache.plan([order], 0), [], "held");
    expect(cache.plan([order], 0)).toMatchObject({ mustScan: false, waitMs: 50 });
    cache.scanned(cache.plan([order], 0), [], "more");
    expect(cache.plan([order], 0)).toMatchObject({ mustScan: true, waitMs: 0 });
  });

  it("a scan is due before the runs of an incomplete queue, and after those of a long-scanned one", async () => {
    const other = { ...order, versionId: "2" };
    const cache = complete(order, other);
    cache.enqueue(entry(1));
    await env.advance(5_000);
    expect(cache.plan([order, other], 1)).toMatchObject({ ids: [uuid(1)], mustScan: true });
    cache.enqueue(entry(2));
    cache.invalidate([other]);
    expect(take(cache, [order, other], 1)).toEqual([]);
    expect(take(cache, [order], 1)).toEqual([uuid(2)]);
  });

  it("a scan does not complete a queue that was invalidated after it began", () => {
    const cache = complete(order);
    const plan = cache.plan([order], 0);
    cache.invalidate([order]);
    cache.scanned(plan, [], "nothing");
    expect(mustScan(cache, order)).toBe(true);
    scan(cache, order);
    expect(mustScan(cache, order)).toBe(false);
  });

  it("a notification about a queue without claims causes no scan", () => {
    const cache = complete(order);
    cache.invalidate([ship]);
    expect(mustScan(cache, order)).toBe(false);
  });

  it("scans take queues in turn: first the one whose runs were claimed longest ago", () => {
    const cache = new QueueCache(env);
    const inTurn = () => {
      cache.invalidate([order, ship]);
      return cache.plan([order, ship], 0).queues;
    };
    expect(inTurn()).toEqual([order, ship]);
    cache.scanned(cache.plan([order, ship], 0), [entry(1)], "nothing");
    cache.enqueue(entry(2, { name: "ship" }));
    expect(inTurn()).toEqual([ship, order]);
    scan(cache, order, ship);
    expect(take(cache, [order, ship], 1)).toEqual([uuid(2)]);
    expect(inTurn()).toEqual([order, ship]);
  });
});

describe("a pending claim", () => {
  function pending(cache: QueueCache, keys: QueueKey[] = [order], waitMs = 1_000) {
    const controller = new AbortController();
    const claim: { isWoken: boolean | null; end: () => void } = { isWoken: null, end: () => controller.abort() };
    void cache.wait(keys, waitMs, controller.signal).then((isWoken) => {
      claim.isWoken = isWoken;
    });
    return claim;
  }

  it("each run wakes one pending claim, the one that has waited longest first", async () => {
    const cache = complete(order);
    const claims = [pending(cache), pending(cache), pending(cache)];
    const woke = [cache.enqueue(entry(1)), cache.enqueue(entry(2))];
    await settled();
    expect([woke, claims.map(({ isWoken }) => isWoken)]).toEqual([
      [true, true],
      [true, true, null],
    ]);
    cache.enqueue(entry(3));
    expect(cache.enqueue(entry(4))).toBe(false);
  });

  it("a pending claim that has ended is not woken, for any of its queues", async () => {
    const cache = complete(...inShards("eu", "us"));
    const [ended, waiting] = [pending(cache, inShards("eu", "us")), pending(cache, inShards("eu", "us"))];
    ended.end();
    cache.enqueue(entry(1, { shardKey: "us" }));
    await settled();
    expect([ended.isWoken, waiting.isWoken]).toEqual([false, true]);
  });

  it("a pending claim ends after its waitMs", async () => {
    const claim = pending(complete(order), [order], 1_000);
    await env.advance(999);
    expect(claim.isWoken).toBeNull();
    await env.advance(1);
    expect(claim.isWoken).toBe(false);
  });

  it("an invalidated queue wakes one pending claim to scan", async () => {
    const cache = complete(order);
    const claims = [pending(cache), pending(cache)];
    cache.invalidate([order]);
    await settled();
    expect(claims.map(({ isWoken }) => isWoken)).toEqual([true, null]);
  });

  it("a woken claim that ends without a run passes its wake-up to another claim", async () => {
    const cache = complete(order);
    const [first, second] = [pending(cache), pending(cache)];
    cache.enqueue(entry(1));
    expect(cache.passOn([order])).toEqual([]);
    await settled();
    expect([first.isWoken, second.isWoken]).toEqual([true, true]);
    // No claim is pending any more: a wake-up for the run must be published.
    expect(cache.passOn([order, ship])).toEqual([order]);
  });

  it("a claim that ends wakes no other if no run is left", async () => {
    const cache = complete(order);
    const claim = pending(cache);
    expect(cache.passOn([order])).toEqual([]);
    await settled();
    expect(claim.isWoken).toBeNull();
  });
});
