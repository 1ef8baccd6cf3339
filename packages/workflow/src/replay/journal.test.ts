import { childWaitAddress } from "@aikirun/lib/internal";
import type { CallSite, Entry, Value } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { made } from "../../test/made.ts";
import type { Identified } from "./call.ts";
import { lateIdentity, promptIdentity } from "./identity.ts";
import { Journal } from "./journal.ts";
import type { Match } from "./matcher.ts";

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

function entry(seq: number, address: string, value: Value, attempt = 1, callSite?: CallSite): Entry {
  return { runId: "r", seq, address, attempt, at: 0, fence: 1, value, ...(callSite && { callSite }) };
}

/** A call that the handler makes after non-durable work. */
function late(content: string, branch = "", fields: Partial<Identified> = {}): Identified {
  return made(content, 0, { identity: lateIdentity(content, branch), branch, group: null, ...fields });
}

const promptSite = (content: string, nth = 0): CallSite => ({
  madeAfter: 0,
  identity: promptIdentity(content, "start", "", nth),
  branch: "",
});

const addressOf = (match: Match): string => (typeof match === "string" ? match : match.address);

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
    ["child:c:0#0/wait#0/ask", { type: "asked" }, true],
    ["child:c:0#0/wait#0/withdrawn", { type: "withdrawn" }, true],
    ["task:t:0#0/1", { type: "retrying", error: threw.error, retryAt: 0 }, true],
    ["task:t:0#0/1/retry", { type: "elapsed" }, false],
    ["now:#0", { type: "observed", data: "1" }, false],
    ["arrival:e:1", { type: "arrived", name: "e" }, false],
    ["paused:#1", { type: "marked", mark: "paused" }, false],
  ];
  it.each(counted)("the journal expects %s to be called again only if it is a call (%j)", (address, value, is) => {
    expect(journalOf(1, [address, value]).expected.size).toBe(is ? 1 : 0);
    expect(journalOf(2, [address, value, 1]).expected.size).toBe(0);
  });

  it("only successes of earlier attempts are reused, and of two successes the newer one", () => {
    const journal = journalOf(
      2,
      ["task:a:0#0", returned, 1],
      ["task:b:0#0", threw, 1],
      ["task:c:0#0", threw, 1],
      ["task:c:0#0", { type: "returned", output: "2" }, 2],
      ["task:d:0#0/1", { type: "retrying", error: threw.error, retryAt: 0 }, 1],
      ["task:d:0#0/1/retry", { type: "elapsed" }, 1],
    );
    const value = (content: string): unknown => {
      const match = journal.matcher.match(made(content, 0, { isChanged: true }), 0);
      return typeof match === "string" ? match : match.entry?.value;
    };
    expect(value("task:a:0")).toEqual(returned);
    expect(value("task:b:0")).toBeUndefined();
    expect(value("task:c:0")).toEqual({ type: "returned", output: "2" });
    expect(journal.peek("task:d:0#0/1")).toBeUndefined();
    expect(journal.peek("task:d:0#0/1/retry")).toBeUndefined();
    expect(journal.hasTries).toBe(false);
  });

  it("a child that failed in an earlier attempt is dropped with its waits, and a running one is kept", () => {
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
    const value = (content: string): unknown => {
      const match = journal.matcher.match(made(content, 0, { isChanged: true }), 0);
      return typeof match === "string" ? match : match.entry?.value;
    };
    expect(value("child:c:0")).toBeUndefined();
    expect(journal.peek(childWaitAddress(child, 0))).toBeUndefined();
    expect(journal.peek(`${child}/result`)).toBeUndefined();
    expect(value("child:d:0")).toEqual(started);
    expect(value("child:e:0")).toEqual(started);
    expect(journal.peek("child:e:0#0/result")?.value).toEqual(threw);
  });

  it("the arrivals of each event name are counted in order, for any name", () => {
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

  it("the journal accepts only entries without a gap", () => {
    const journal = journalOf(1, ["step:a#0", returned], ["step:b#0", returned]);
    const [second, third, fourth] = [2, 3, 4].map((seq) => entry(seq, `step:${seq}#0`, returned));
    if (second === undefined || third === undefined || fourth === undefined) throw new Error("unreachable");
    expect(journal.following([second, third, fourth])).toEqual([third, fourth]);
    expect(journal.following([second])).toEqual([]);
    expect(journal.following([fourth])).toBeNull();
    expect(journal.following([third, entry(5, "step:5#0", returned)])).toBeNull();
  });

  it("the journal names at most a hundred expected calls, in recorded order", () => {
    const journal = new Journal(1);
    for (let seq = 1; seq <= 150; seq++) journal.add(entry(seq, `step:s#${seq - 1}`, returned));
    journal.claimAt("step:s#0");
    expect(journal.expected.size).toBe(149);
    expect(journal.expected.addresses()).toHaveLength(100);
    expect(journal.expected.addresses()[0]).toBe("step:s#1");
  });

  it("a new call gets the smallest number that no alike call has", () => {
    const journal = journalOf(1, ["step:s#1", returned], ["step:s#2", returned]);
    expect([journal.newAddress("step:s"), journal.newAddress("step:s"), journal.newAddress("step:t")]).toEqual([
      "step:s#0",
      "step:s#3",
      "step:t#0",
    ]);
  });
});

describe("a call that is looked up in the journal", () => {
  const steps = (...callSites: CallSite[]): Journal => {
    const journal = new Journal(1);
    for (const [index, callSite] of callSites.entries())
      journal.add(entry(index + 1, `step:s#${index}`, returned, 1, callSite));
    return journal;
  };
  const lateSite = (branch: string): CallSite => ({ madeAfter: 0, identity: lateIdentity("step:s", branch) });

  it("alike calls are distinguished by their position in the drain", () => {
    const { matcher } = steps(promptSite("step:s", 1), promptSite("step:s", 0));
    expect(addressOf(matcher.match(made("step:s", 0), 0))).toBe("step:s#1");
    expect(addressOf(matcher.match(made("step:s", 1), 0))).toBe("step:s#0");
    expect(matcher.match(made("step:s", 2), 0)).toBe("new");
  });

  it("alike calls are distinguished by their branch", () => {
    const { matcher } = steps(lateSite("b"), lateSite("a"));
    expect(addressOf(matcher.match(late("step:s", "a"), 0))).toBe("step:s#1");
    expect(matcher.match(late("step:s", "c"), 0)).toBe("new");
  });

  it("a call that was recorded as prompt is found when it is late, and vice versa", () => {
    expect(addressOf(steps(promptSite("step:s")).matcher.match(late("step:s"), 0))).toBe("step:s#0");
    expect(addressOf(steps(lateSite("")).matcher.match(made("step:s"), 0))).toBe("step:s#0");
  });

  it("a call that was prompt, after the same value as an alike call, is ambiguous when it is late", () => {
    const journal = steps({ ...promptSite("step:s", 0), alike: 2 });
    expect(journal.matcher.match(late("step:s"), 0)).toBe("ambiguous");
  });

  it("a call that was recorded without a key matches only one call with a key", () => {
    const journal = steps(lateSite("a"));
    const unkeyed = {
      content: "step:s",
      identity: lateIdentity("step:s", "a"),
      group: null,
      branchAfter: "",
      earlier: 0,
    };
    const found = journal.matcher.match(late("step:s:k", "a", { unkeyed }), 0);
    expect(addressOf(found)).toBe("step:s#0");
    if (typeof found !== "string") journal.claim(found);
    expect(journal.matcher.match(late("step:s:l", "a", { unkeyed }), 0)).toBe("ambiguous");
  });

  it("two ambiguous calls match no entry of either of them, and no entry of their branches", () => {
    const contested = lateIdentity("step:s", "a");
    const journal = new Journal(1);
    journal.add(entry(1, "step:s#0", returned, 1, lateSite("a")));
    journal.add(entry(2, "step:t#0", returned, 1, { madeAfter: 1, identity: "t", branch: contested }));
    journal.add(entry(3, "step:u#0", returned, 1, { madeAfter: 1, identity: "u", branch: "b" }));
    journal.add(
      entry(4, "stalled:#1", { type: "marked", mark: "stalled", reason: "ambiguous_call", identity: contested }),
    );
    expect(journal.expected.addresses()).toEqual(["step:u#0"]);
    expect(journal.matcher.match(late("step:s", "a"), 3)).toBe("ambiguous");
    const unkeyed = { content: "step:s", identity: contested, group: null, branchAfter: "", earlier: 0 };
    expect(journal.matcher.match(late("step:s:k", "a", { unkeyed }), 3)).toBe("new");
  });

  it("in a later attempt, a call is found by its content only if exactly one call has that content", () => {
    const journal = new Journal(2);
    journal.add(entry(1, "task:t:0#0", returned, 1, { madeAfter: 0, identity: "x", branch: "y" }));
    journal.add(entry(2, "task:s:0#0", returned, 1, { madeAfter: 0, identity: "v", branch: "y" }));
    journal.add(entry(3, "task:s:0#1", returned, 1, { madeAfter: 0, identity: "w", branch: "z" }));
    const changed = { isChanged: true };
    expect(addressOf(journal.matcher.match(made("task:t:0", 0, changed), 0))).toBe("task:t:0#0");
    expect(journal.matcher.match(made("task:s:0", 0, changed), 0)).toBe("ambiguous");
    expect(journal.matcher.match(made("task:s:0", 0), 0)).toBe("new");
  });

  it("in a later attempt, a step without a key is not found by its content", () => {
    const journal = new Journal(2);
    journal.add(entry(1, "step:s#0", returned, 1, { madeAfter: 0, identity: "x", branch: "y" }));
    expect(journal.matcher.match(made("step:s", 0, { isChanged: true }), 0)).toBe("new");
  });

  it("in a later attempt, a call with a new key is not found by its content without the key", () => {
    const journal = new Journal(2);
    journal.add(entry(1, "task:s:0#0", returned, 1, { madeAfter: 0, identity: "x", branch: "y" }));
    const unkeyed = { content: "task:s:0", identity: "without the key", group: null, branchAfter: "", earlier: 0 };
    expect(journal.matcher.match(made("task:s:key", 0, { isChanged: true, unkeyed }), 0)).toBe("new");
  });

  it("in a later attempt, the first sleep without a name is found, even after a sleep with a name", () => {
    const journal = new Journal(2);
    journal.add(entry(1, "sleep:#0", { type: "elapsed" }, 1, { madeAfter: 0, identity: "x", branch: "y" }));
    const changed = { isChanged: true };
    const unkeyed = { content: "sleep:", identity: "without a name", group: null, branchAfter: "", earlier: 0 };
    expect(journal.matcher.match(made("sleep:nap", 0, { ...changed, unkeyed }), 0)).toBe("new");
    expect(addressOf(journal.matcher.match(made("sleep:", 0, changed), 0))).toBe("sleep:#0");
  });

  it("an ambiguous call matches no alike call in recorded order, even if both were prompt", () => {
    const journal = new Journal(1);
    journal.add(entry(1, "step:s#0", returned, 1, { madeAfter: 0, identity: "v", branch: "a" }));
    journal.add(entry(2, "step:s#1", returned, 1, { madeAfter: 1, identity: "w", branch: "a" }));
    expect(journal.matcher.first(late("step:s", "b", { isChanged: true }))?.address).toBe("step:s#0");
    const identity = lateIdentity("step:s", "a");
    journal.add(entry(3, "stalled:#1", { type: "marked", mark: "stalled", reason: "ambiguous_call", identity }));
    expect(journal.matcher.first(late("step:s", "b", { isChanged: true }))).toBeUndefined();
  });

  it("in a later attempt, a call with a key is found by its content in its branch, on an unchanged path too", () => {
    const journal = new Journal(2);
    journal.add(entry(1, "step:s:k#0", returned, 1, { madeAfter: 0, identity: "v", branch: "y" }));
    const unkeyed = { content: "step:s", identity: "without its key", group: null, branchAfter: "", earlier: 0 };
    const fields = { unkeyed, branch: "y" };
    expect(addressOf(journal.matcher.match(made("step:s:k", 0, fields), 0))).toBe("step:s:k#0");
    expect(journal.matcher.match(made("step:s:k", 0, fields), 0)).toBe("new");
  });

  it("in a later attempt, a call with a key does not match a call of another branch with the same key", () => {
    const journal = new Journal(2);
    journal.add(entry(1, "step:s:k#0", returned, 1, { madeAfter: 0, identity: "v", branch: "y" }));
    const unkeyed = { content: "step:s", identity: "without its key", group: null, branchAfter: "", earlier: 0 };
    expect(journal.matcher.match(made("step:s:k", 0, { unkeyed, branch: "z" }), 0)).toBe("new");
  });

  it("a call in parallel with a withdrawn wait does not match the alike call after the withdrawal", () => {
    const journal = new Journal(2);
    const wait: CallSite = { madeAfter: 0, identity: lateIdentity("sleep:", "a") };
    journal.add(entry(1, "sleep:#0/withdrawn", { type: "withdrawn", wait }, 1, { madeAfter: 1, identity: "x" }));
    journal.add(entry(2, "step:s#0", returned, 1, { madeAfter: 2, identity: "v", branch: wait.identity }));
    expect(journal.matcher.match(late("step:s", wait.identity, { isBeside: true }), 0)).toBe("new");
    expect(addressOf(journal.matcher.match(late("step:s", wait.identity), 0))).toBe("step:s#0");
  });

  it("a call that this attempt recorded is matched before the same call of an earlier attempt", () => {
    const journal = new Journal(2);
    journal.add(entry(1, "step:s#0", returned, 1, promptSite("step:s")));
    journal.add(entry(2, "step:s#1", returned, 2, { madeAfter: 1, identity: lateIdentity("step:s", "") }));
    const call = made("step:s", 0, { identity: promptIdentity("step:s", "start", "", 0), isBeside: true });
    expect(addressOf(journal.matcher.match(call, 0))).toBe("step:s#1");
  });
});
