import { describe, expect, it } from "vitest";
import type { Hint } from "./ready.ts";
import { ringer } from "./ringer.ts";

function hintOf(id: string, name = "order"): Hint {
  return { id, namespace: "default", name, versionId: "1", shardKey: null, priority: 0 };
}

function setup() {
  let now = 0;
  let timers: Array<{ at: number; then: () => void }> = [];
  const listed = new Set<string>();
  const rung: string[] = [];
  const closing = new AbortController();
  const take = ringer({
    env: {
      after(delayMs, then) {
        timers.push({ at: now + delayMs, then });
        return () => {};
      },
    },
    isListed: (id) => listed.has(id),
    ring: ({ id }) => rung.push(id),
    closing: closing.signal,
  });
  return {
    rung,
    listed,
    close: () => closing.abort(),
    expect(...hints: Hint[]) {
      for (const { id } of hints) listed.add(id);
      take(hints);
    },
    pass(ms: number) {
      for (const until = now + ms; ; ) {
        const next = timers.filter(({ at }) => at <= until).sort((left, right) => left.at - right.at)[0];
        if (next === undefined) {
          now = until;
          return;
        }
        timers = timers.filter((timer) => timer !== next);
        now = next.at;
        next.then();
      }
    },
  };
}

const herd = (count: number, name?: string) => Array.from({ length: count }, (_, n) => hintOf(`${name}-${n}`, name));

describe("ringing for what nobody here takes", () => {
  it("rings for a run that is left, once, and for none that was taken at once", () => {
    const scene = setup();
    scene.expect(hintOf("taken"), hintOf("left"));
    scene.listed.delete("taken");
    scene.pass(4);
    expect(scene.rung).toEqual([]);
    scene.pass(10_000);
    expect(scene.rung).toEqual(["left"]);
  });

  it("rings a few times for a herd at first, and more while runs are left", () => {
    const scene = setup();
    scene.expect(...herd(1_000));
    scene.pass(5);
    expect(scene.rung).toHaveLength(10);
    scene.pass(1_000);
    expect(scene.rung.length).toBeGreaterThan(50);
    scene.listed.clear();
    const { length } = scene.rung;
    scene.pass(1_000);
    expect(scene.rung).toHaveLength(length);
    scene.expect(hintOf("another"));
    scene.pass(5);
    expect(scene.rung.at(-1)).toBe("another");
  });

  it("keeps in mind only what is left, however many come and go", () => {
    const scene = setup();
    let asked = 0;
    const has = scene.listed.has.bind(scene.listed);
    scene.listed.has = (id) => {
      asked += 1;
      return has(id);
    };
    scene.expect(...herd(100));
    for (let n = 0; n < 100_000; n += 1) {
      scene.expect(hintOf(`${n}`));
      scene.listed.delete(`${n}`);
    }
    asked = 0;
    scene.pass(60_000);
    expect(scene.rung).toHaveLength(100);
    expect(asked).toBeLessThan(3_000);
  });

  it("rings once for a run that is hinted at again before its turn", () => {
    const scene = setup();
    scene.expect(...herd(30), ...herd(30), ...herd(30));
    scene.pass(10_000);
    expect(scene.rung).toHaveLength(30);
  });

  it("keeps no bell of one workflow waiting for those of another", () => {
    const scene = setup();
    scene.expect(...herd(1_000, "order"), hintOf("ship-0", "ship"));
    scene.pass(5);
    expect(scene.rung).toContain("ship-0");
  });

  it("rings at once when nobody here takes anything any more", () => {
    const scene = setup();
    scene.expect(hintOf("left"));
    scene.close();
    expect(scene.rung).toEqual(["left"]);
    scene.expect(hintOf("late"));
    expect(scene.rung).toEqual(["left", "late"]);
    scene.pass(1_000);
    expect(scene.rung).toEqual(["left", "late"]);
  });
});
