import type { NewEntry } from "@aikirun/lib/protocol";
import { describe, expect, it } from "vitest";
import { made } from "../../test/made.ts";
import { Call } from "./call.ts";
import { Outbox, type Posted, packed } from "./outbox.ts";

const prompt = made("c");
const call = new Call(prompt, () => undefined);

const posted = (address: string, output: string, seen = false): Posted => {
  const entry: NewEntry = { address, value: { type: "returned", output } };
  return { entry, call, seen, recorded: null };
};

const wait = (address: string) => ({ wait: { address, type: "sleep" as const, durationMs: 1 }, call });

const start = (address: string, input = "1") => ({
  start: { address, spec: { id: address, name: "c", versionId: "1", input } },
  call,
  recorded: () => {},
});

describe("the outbox", () => {
  it("the outbox takes entries first, then waits, then children, up to the limit of one report", () => {
    const outbox = new Outbox(1);
    const big = "x".repeat(600_000);
    for (const address of ["a", "b", "c"]) outbox.post(posted(address, big, address === "c"));
    outbox.open(wait("w"));
    outbox.start(start("d", big));
    outbox.start(start("e", big));
    const taken: unknown[] = [];
    while (!outbox.empty) {
      const { entries, opens, starts, whole, seen } = outbox.take();
      const addresses = [
        ...entries.map(({ entry }) => entry),
        ...opens.map((one) => one.wait),
        ...starts.map((one) => one.start),
      ];
      taken.push([...addresses.map(({ address }) => address), whole, seen, outbox.seen]);
    }
    expect(taken).toEqual([
      ["a", false, false, true],
      ["b", false, false, true],
      ["c", "w", false, true, false],
      ["d", false, false, false],
      ["e", true, false, false],
    ]);
  });

  it("the outbox takes at most five hundred items at a time, and one that is too large alone", () => {
    const outbox = new Outbox(1);
    outbox.post(posted("large", "x".repeat(1_900_000)));
    for (let n = 0; n < 1_200; n++) outbox.open(wait(String(n)));
    const counts: number[] = [];
    while (!outbox.empty) {
      const { entries, opens } = outbox.take();
      counts.push(entries.length + opens.length);
    }
    expect(counts).toEqual([1, 500, 500, 200]);
  });

  it("in a later attempt, one report starts at most four children, because it may record their outputs", () => {
    const outbox = new Outbox(2);
    for (let n = 0; n < 10; n++) outbox.start(start(String(n)));
    const counts: number[] = [];
    while (!outbox.empty) counts.push(outbox.take().starts.length);
    expect(counts).toEqual([4, 4, 2]);
  });

  it("the outbox knows which facts cause a report, and which let the handler continue", () => {
    const outbox = new Outbox(1);
    const states = (): boolean[] => [outbox.empty, outbox.urgent, outbox.seen, outbox.hasContinuation];
    expect(states()).toEqual([true, false, false, false]);
    const now: NewEntry = { address: "now", value: { type: "observed", data: "1" } };
    outbox.post({ entry: now, call, seen: true, recorded: null, isDeferred: true });
    expect(states()).toEqual([false, false, true, false]);
    outbox.post({ ...posted("a", "1"), recorded: () => {} });
    expect(states()).toEqual([false, true, true, true]);
    outbox.take();
    expect(states()).toEqual([true, false, false, false]);
    outbox.start(start("c"));
    expect(states()).toEqual([false, true, false, true]);
    outbox.dropWaits();
    expect(states()).toEqual([true, false, false, false]);
  });

  it("a call site is sent for each call, also after a value that has no seq yet", () => {
    const outbox = new Outbox(1);
    const first = posted("a", "1");
    outbox.post(first);
    const after = outbox.markReceived(first);
    const later = new Call({ ...prompt, after }, () => undefined);
    outbox.post({ ...posted("b", "2"), call: later });
    const { entries } = packed(outbox.take());
    expect(entries.map(({ callSite }) => callSite?.madeAfter)).toEqual([0, -1]);
    after.seq = 7;
    outbox.post({ ...posted("c", "3"), call: later });
    expect(packed(outbox.take()).entries.map(({ callSite }) => callSite?.madeAfter)).toEqual([7]);
  });
});
