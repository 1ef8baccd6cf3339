import { describe, expect, it } from "vitest";
import { uuid } from "../../test/virtual-env.ts";
import { type Audience, type Hint, readyRuns } from "./ready.ts";

let now = 0;

const all: Audience = { namespace: "default", serves: [{ name: "order", versionId: "1" }], shardKeys: [] };

function hint(n: number, more: Partial<Hint> = {}): Hint {
  return { id: uuid(n), namespace: "default", name: "order", versionId: "1", shardKey: null, priority: 0, ...more };
}

describe("hints", () => {
  it("are taken highest priority first, then in order of arrival, across versions", () => {
    const ready = readyRuns({ elapsed: () => now });
    const both = { ...all, serves: [...all.serves, { name: "order", versionId: "2" }] };
    ready.push(hint(1));
    ready.push(hint(2, { versionId: "2" }));
    ready.push(hint(3, { priority: 9 }));
    ready.push(hint(4, { versionId: "2", priority: 9 }));
    expect(ready.take(both, 10)).toEqual([uuid(3), uuid(4), uuid(1), uuid(2)]);
    expect(ready.take(both, 10)).toEqual([]);
  });

  it("reach only who serves the workflow, version, shard and namespace", () => {
    const ready = readyRuns({ elapsed: () => now });
    ready.push(hint(1, { name: "other" }));
    ready.push(hint(2, { versionId: "2" }));
    ready.push(hint(3, { shardKey: "eu" }));
    ready.push(hint(4, { namespace: "other" }));
    expect(ready.has(all)).toBe(false);
    expect(ready.take(all, 10)).toEqual([]);
    expect(ready.take({ ...all, shardKeys: ["us", "eu"] }, 10)).toEqual([uuid(3)]);
  });

  it("never mix up names that hold each other's separators", () => {
    const ready = readyRuns({ elapsed: () => now });
    ready.push(hint(1, { name: 'a","b', versionId: "c" }));
    expect(ready.take({ ...all, serves: [{ name: "a", versionId: 'b","c' }] }, 10)).toEqual([]);
  });

  it("keep their order through tens of thousands pushed and taken", () => {
    const ready = readyRuns({ elapsed: () => now });
    const taken: string[] = [];
    for (let n = 0; n < 20_000; n++) {
      ready.push(hint(n));
      if (n % 3 === 2) {
        taken.push(...ready.take(all, 2));
      }
    }
    taken.push(...ready.take(all, 20_000));
    expect(taken).toEqual(Array.from({ length: 20_000 }, (_, n) => uuid(n)));
  });

  it("beyond ten thousand are dropped, and storage is asked instead", () => {
    const ready = readyRuns({ elapsed: () => now });
    ready.scanned(all, true);
    expect(ready.isStale(all)).toBe(false);
    for (let n = 0; n <= 10_000; n++) {
      ready.push(hint(n));
    }
    expect(ready.isStale(all)).toBe(true);
    expect(ready.take(all, 20_000)).toHaveLength(10_000);
  });
});

describe("storage", () => {
  it("is asked at first, every five seconds, and until it had no more", () => {
    const ready = readyRuns({ elapsed: () => now });
    expect(ready.isStale(all)).toBe(true);
    ready.scanned(all, true);
    now += 4_999;
    expect(ready.isStale(all)).toBe(false);
    now += 1;
    expect(ready.isStale(all)).toBe(true);
    ready.scanned(all, false);
    expect(ready.isStale(all)).toBe(true);
  });
});

describe("a waiter", () => {
  function waiting(ready: ReturnType<typeof readyRuns>, audience: Audience = all) {
    const woken = { times: 0, leave: () => {} };
    woken.leave = ready.wait({
      keys: ready.keysOf(audience),
      wake: () => {
        woken.times += 1;
        woken.leave();
      },
    });
    return woken;
  }

  it("is woken once, the longest waiting first, one per hint", () => {
    const ready = readyRuns({ elapsed: () => now });
    const [first, second] = [waiting(ready), waiting(ready)];
    ready.push(hint(1));
    expect([first.times, second.times]).toEqual([1, 0]);
    ready.push(hint(2));
    ready.push(hint(3));
    expect([first.times, second.times]).toEqual([1, 1]);
  });

  it("that left is not woken, on any of its streams", () => {
    const ready = readyRuns({ elapsed: () => now });
    const both = { ...all, shardKeys: ["eu", "us"] };
    const gone = waiting(ready, both);
    const stays = waiting(ready, both);
    gone.leave();
    ready.push(hint(1, { shardKey: "us" }));
    expect([gone.times, stays.times]).toEqual([0, 1]);
  });

  it("takes the place of one who was woken and goes without a run", () => {
    const ready = readyRuns({ elapsed: () => now });
    const [first, second] = [waiting(ready), waiting(ready)];
    ready.push(hint(1));
    expect(first.times).toBe(1);
    ready.pass(all);
    expect(second.times).toBe(1);
  });

  it("is left alone when there is nothing to pass on", () => {
    const ready = readyRuns({ elapsed: () => now });
    const waiter = waiting(ready);
    ready.pass(all);
    expect(waiter.times).toBe(0);
  });
});
