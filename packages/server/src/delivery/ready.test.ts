import { uuid } from "@aikirun/testing/virtual-env";
import { describe, expect, it } from "vitest";
import { type Audience, type Hint, type Ready, readyRuns } from "./ready.ts";
import type { StreamName } from "./streams.ts";

let now = 0;

const order: StreamName = { name: "order", versionId: "1", shardKey: null };
const all: Audience = { namespace: "default", streams: [order] };

function shards(...shardKeys: string[]): Audience {
  return { ...all, streams: shardKeys.map((shardKey) => ({ ...order, shardKey })) };
}

/** Of a server that has just found storage without any runs for these. */
function whole(...audiences: Audience[]): Ready {
  const ready = readyRuns({ elapsed: () => now });
  for (const audience of audiences) ready.scanned(audience, ready.asking(), "nothing");
  return ready;
}

function hint(n: number, more: Partial<Hint> = {}): Hint {
  return { id: uuid(n), namespace: "default", name: "order", versionId: "1", shardKey: null, priority: 0, ...more };
}

describe("hints", () => {
  it("are taken highest priority first, then in order of arrival, across versions", () => {
    const both = { ...all, streams: [order, { ...order, versionId: "2" }] };
    const ready = whole(both);
    ready.push(hint(1));
    ready.push(hint(2, { versionId: "2" }));
    ready.push(hint(3, { priority: 9 }));
    ready.push(hint(4, { versionId: "2", priority: 9 }));
    expect(ready.take(both, 10)).toEqual([uuid(3), uuid(4), uuid(1), uuid(2)]);
    expect(ready.take(both, 10)).toEqual([]);
  });

  it("of a long queue keep no other stream waiting, whatever is taken at once", () => {
    for (const limit of [1, 3]) {
      const both = { ...all, streams: [order, { ...order, name: "ship" }] };
      const ready = whole(both);
      for (let n = 0; n < 1_000; n++) ready.push(hint(n));
      for (let n = 1_000; n < 1_010; n++) ready.push(hint(n, { name: "ship" }));
      const taken: string[] = [];
      while (taken.length < 21) taken.push(...ready.take(both, limit));
      const ships = taken.filter((id) => id >= uuid(1_000));
      expect(ships).toHaveLength(10);
    }
  });

  it("are all forgotten at once, and storage is asked for what is queued", () => {
    const ready = whole(all);
    ready.push(hint(1));
    ready.forget();
    expect([ready.isListed(uuid(1)), ready.isStale(all), ready.take(all, 1)]).toEqual([false, true, []]);
    ready.scanned(all, ready.asking(), "nothing");
    ready.push(hint(1));
    expect(ready.take(all, 2)).toEqual([uuid(1)]);
  });

  it("are dropped when their run is not queued any more, and leave no others out", () => {
    const ready = whole(all);
    for (let n = 0; n < 5_000; n++) ready.push(hint(n, { priority: n % 2 }));
    for (let n = 0; n < 5_000; n++) if (n % 5 !== 0) ready.drop(uuid(n));
    ready.drop(uuid(9_999));
    const left = Array.from({ length: 1_000 }, (_, n) => n * 5);
    const ranked = [...left.filter((n) => n % 2 === 1), ...left.filter((n) => n % 2 === 0)];
    expect(ready.take(all, 10_000)).toEqual(ranked.map((n) => uuid(n)));
    expect(ready.isHopeful(all)).toBe(false);
  });

  it("of one run count once, however often they come", () => {
    const ready = whole(all);
    ready.push(hint(1));
    ready.push(hint(1));
    expect(ready.take(all, 10)).toEqual([uuid(1)]);
    ready.push(hint(1));
    expect(ready.take(all, 10)).toEqual([uuid(1)]);
  });

  it("from another server say that storage holds more, and wake one who waits here to look", () => {
    const ready = whole(all);
    ready.hear(hint(1));
    expect([ready.take(all, 9), ready.isStale(all)]).toEqual([[], true]);
    ready.scanned(all, ready.asking(), "nothing");
    let woken = 0;
    const leave = ready.wait({ audience: all, wake: () => (woken += 1) });
    ready.hear(hint(2));
    ready.hear(hint(3));
    leave();
    expect([woken, ready.isStale(all)]).toEqual([1, true]);
  });

  it("reach only who serves the workflow, version, shard and namespace", () => {
    const ready = whole(all, shards("us", "eu"));
    ready.push(hint(1, { name: "other" }));
    ready.push(hint(2, { versionId: "2" }));
    ready.push(hint(3, { shardKey: "eu" }));
    ready.push(hint(4, { namespace: "other" }));
    expect(ready.isHopeful(all)).toBe(false);
    expect(ready.take(all, 10)).toEqual([]);
    expect(ready.take(shards("us", "eu"), 10)).toEqual([uuid(3)]);
  });

  it("never mix up names that hold each other's separators", () => {
    const other = { ...all, streams: [{ ...order, name: "a", versionId: 'b","c' }] };
    const ready = whole(other);
    ready.push(hint(1, { name: 'a","b', versionId: "c" }));
    expect(ready.take(other, 10)).toEqual([]);
  });

  it("keep their order through tens of thousands pushed and taken", () => {
    const ready = whole(all);
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
    const ready = whole(all);
    for (let n = 0; n < 10_000; n++) {
      ready.push(hint(n));
    }
    expect(ready.isStale(all)).toBe(false);
    ready.push(hint(10_000));
    expect([ready.isStale(all), ready.take(all, 20_000)]).toEqual([true, []]);
  });
});

describe("turns", () => {
  it("go to the stream that was served longest ago, in storage too", () => {
    const [first, second] = [order, { ...order, name: "ship" }];
    const both = { namespace: "default", streams: [first, second] };
    const ready = whole(both);
    expect(ready.inTurn(both).streams).toEqual([first, second]);
    ready.served({ namespace: "default", ...first });
    expect(ready.inTurn(both).streams).toEqual([second, first]);
    ready.push(hint(1, { name: "ship" }));
    ready.take(both, 1);
    expect(ready.inTurn(both).streams).toEqual([first, second]);
  });
});

describe("storage", () => {
  it("is asked at first, and every five seconds", () => {
    const ready = readyRuns({ elapsed: () => now });
    expect([ready.isStale(all), ready.restMs(all)]).toEqual([true, 0]);
    ready.scanned(all, ready.asking(), "nothing");
    expect([ready.isStale(all), ready.restMs(all)]).toEqual([false, 5_000]);
    now += 4_999;
    expect(ready.isStale(all)).toBe(false);
    now += 1;
    expect(ready.isStale(all)).toBe(true);
  });

  it("is asked again at once while it has more, and soon when others hold what it has", () => {
    const ready = whole(all);
    ready.scanned(all, ready.asking(), "held");
    expect([ready.isStale(all), ready.restMs(all), ready.isHopeful(all)]).toEqual([false, 50, false]);
    ready.scanned(all, ready.asking(), "more");
    expect([ready.isStale(all), ready.restMs(all), ready.isHopeful(all)]).toEqual([true, 0, true]);
  });

  it("comes before a list that is not whole, and after one that was only not looked over for long", () => {
    const both = { ...all, streams: [order, { ...order, versionId: "2" }] };
    const ready = whole(both);
    ready.push(hint(1));
    now += 5_000;
    expect([ready.isStale(both), ready.take(both, 1)]).toEqual([true, [uuid(1)]]);
    ready.push(hint(2));
    ready.hear(hint(3, { versionId: "2" }));
    expect(ready.take(both, 1)).toEqual([]);
    expect(ready.take(all, 1)).toEqual([uuid(2)]);
  });

  it("is asked once more for what is heard of, or comes to nothing, while it is asked", () => {
    const ready = whole(all);
    const asked = ready.asking();
    ready.hear(hint(1));
    ready.scanned(all, asked, "nothing");
    expect(ready.isStale(all)).toBe(true);
    ready.scanned(all, ready.asking(), "nothing");
    expect(ready.isStale(all)).toBe(false);
    ready.push(hint(2));
    ready.doubt(all);
    expect([ready.isStale(all), ready.take(all, 9)]).toEqual([true, []]);
  });
});

describe("a waiter", () => {
  function waiting(ready: ReturnType<typeof readyRuns>, audience: Audience = all) {
    const woken = { times: 0, leave: () => {} };
    woken.leave = ready.wait({
      audience,
      wake: () => {
        woken.times += 1;
        woken.leave();
      },
    });
    return woken;
  }

  it("is woken once, the longest waiting first, one per hint", () => {
    const ready = whole(all);
    const [first, second] = [waiting(ready), waiting(ready)];
    ready.push(hint(1));
    expect([first.times, second.times]).toEqual([1, 0]);
    ready.push(hint(2));
    ready.push(hint(3));
    expect([first.times, second.times]).toEqual([1, 1]);
  });

  it("that left is not woken, on any of its streams", () => {
    const ready = whole(all);
    const both = shards("eu", "us");
    const gone = waiting(ready, both);
    const stays = waiting(ready, both);
    gone.leave();
    ready.push(hint(1, { shardKey: "us" }));
    expect([gone.times, stays.times]).toEqual([0, 1]);
  });

  it("takes the place of one who was woken and goes without a run", () => {
    const ready = whole(all);
    const [first, second] = [waiting(ready), waiting(ready)];
    ready.push(hint(1));
    expect(first.times).toBe(1);
    ready.pass(all);
    expect(second.times).toBe(1);
  });

  it("is left alone when there is nothing to pass on", () => {
    const ready = whole(all);
    const waiter = waiting(ready);
    ready.pass(all);
    expect(waiter.times).toBe(0);
  });
});
