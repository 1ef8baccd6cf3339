import type { Entry, Value } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { childWaitAddress, Journal } from "./journal.ts";

const returned = { type: "returned", output: "1" } as const;
const threw = { type: "threw", error: { name: "E", message: "m" } } as const;

function journalOf(attempt: number, ...recorded: Array<[address: string, value: Value, attempt?: number]>): Journal {
  const journal = new Journal(attempt);
  for (const [index, [address, value, of = attempt]] of recorded.entries()) {
    journal.add(entry(index + 1, address, value, of));
  }
  journal.advance(recorded.length);
  return journal;
}

function entry(seq: number, address: string, value: Value, attempt = 1): Entry {
  return { runId: "r", seq, address, attempt, at: 0, fence: 1, value };
}

describe("the journal", () => {
  const counted: Array<[string, Value, boolean]> = [
    ["task:t:0#0", returned, true],
    ["step:s#0", threw, true],
    ["child:c:0#0", { type: "started", runId: "c" }, true],
    ["child:c:0#0", threw, true],
    ["sleep:#0", { type: "elapsed" }, true],
    ["event:e#0", { type: "received", name: "e", nth: 0 }, true],
    ["event:e#0", { type: "elapsed" }, true],
    ["child:c:0#0/result", returned, false],
    ["child:c:0#0/result", threw, false],
    ["child:c:0#0/wait#0", { type: "elapsed" }, false],
    ["task:t:0#0/1", { type: "retrying", error: threw.error, retryAt: 0 }, false],
    ["task:t:0#0/1/retry", { type: "elapsed" }, false],
    ["now:#0", { type: "observed", data: "1" }, false],
    ["arrival:e:1", { type: "arrived", name: "e" }, false],
    ["paused:#1", { type: "marked", mark: "paused" }, false],
  ];
  it.each(counted)("counts %s as unclaimed only when a call must ask for it (%j)", (address, value, is) => {
    expect(journalOf(1, [address, value]).unclaimed).toBe(is ? 1 : 0);
    expect(journalOf(2, [address, value, 1]).unclaimed).toBe(0);
  });

  it("answers from earlier attempts with successes only, and from the newest first", () => {
    const journal = journalOf(
      2,
      ["step:a#0", returned, 1],
      ["step:b#0", threw, 1],
      ["step:c#0", threw, 1],
      ["step:c#0", { type: "returned", output: "2" }, 2],
      ["step:d#0/1", { type: "retrying", error: threw.error, retryAt: 0 }, 1],
      ["step:d#0/1/retry", { type: "elapsed" }, 1],
    );
    expect(journal.take("step:a#0")?.value).toEqual(returned);
    expect(journal.take("step:b#0")).toBeUndefined();
    expect(journal.take("step:c#0")?.value).toEqual({ type: "returned", output: "2" });
    expect(journal.peek("step:d#0/1")).toBeUndefined();
    expect(journal.take("step:d#0/1/retry")).toBeUndefined();
    expect(journal.hasTries).toBe(false);
  });

  it("forgets a child that failed in an earlier attempt, with the waits for it; not one that still runs", () => {
    const child = "child:c:0#0";
    const started = { type: "started", runId: "c" } as const;
    const journal = journalOf(
      2,
      [child, started, 1],
      [childWaitAddress(child, 0), { type: "elapsed" }, 1],
      [`${child}/result`, threw, 1],
      ["child:d:0#0", started, 1],
      ["child:e:0#0", started, 1],
      ["child:e:0#0/result", threw, 2],
    );
    expect(journal.take(child)).toBeUndefined();
    expect(journal.take(childWaitAddress(child, 0))).toBeUndefined();
    expect(journal.peek(`${child}/result`)).toBeUndefined();
    expect(journal.take("child:d:0#0")?.value).toEqual(started);
    expect(journal.take("child:e:0#0")?.value).toEqual(started);
    expect(journal.peek("child:e:0#0/result")?.value).toEqual(threw);
  });

  it("counts the arrivals of each name by order, whatever the name", () => {
    const journal = journalOf(
      1,
      ["arrival:x:1", { type: "arrived", name: "constructor", data: "1" }, 0],
      ["arrival:x:2", { type: "arrived", name: "__proto__" }, 0],
      ["arrival:x:3", { type: "arrived", name: "constructor", data: "2" }, 0],
    );
    expect(journal.arrival("constructor", 1)).toBe("2");
    expect(journal.arrival("__proto__", 0)).toBeUndefined();
    expect(journal.arrival("toString", 0)).toBeUndefined();
  });

  it("takes only entries that follow on", () => {
    const journal = journalOf(1, ["step:a#0", returned], ["step:b#0", returned]);
    const [second, third, fourth] = [2, 3, 4].map((seq) => entry(seq, `step:${seq}#0`, returned));
    if (second === undefined || third === undefined || fourth === undefined) throw new Error("unreachable");
    expect(journal.following([second, third, fourth])).toEqual([third, fourth]);
    expect(journal.following([second])).toEqual([]);
    expect(journal.following([fourth])).toBeNull();
    expect(journal.following([third, entry(5, "step:5#0", returned)])).toBeNull();
  });

  it("names at most a hundred unclaimed addresses, in recorded order", () => {
    const journal = new Journal(1);
    for (let seq = 1; seq <= 150; seq++) journal.add(entry(seq, `step:s#${seq - 1}`, returned));
    journal.take("step:s#0");
    expect(journal.unclaimed).toBe(149);
    expect(journal.unclaimedAddresses()).toHaveLength(100);
    expect(journal.unclaimedAddresses()[0]).toBe("step:s#1");
  });
});
