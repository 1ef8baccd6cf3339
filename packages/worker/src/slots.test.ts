import { describe, expect, it } from "vitest";
import { slots } from "./slots.ts";

function setup(count: number) {
  const events: string[] = [];
  const places = slots({
    count,
    onFreed: () => events.push("freed"),
    onTakenBack: () => events.push("taken back"),
  });
  return { events, places };
}

describe("the slots of a worker", () => {
  it("are occupied by runs until they leave", async () => {
    const { events, places } = setup(2);
    const [a, b] = [places.take(), places.take()];
    expect([a.isExcess, b.isExcess, places.busy]).toEqual([false, false, 2]);
    let isEmpty = false;
    const emptied = places.empty().then(() => {
      isEmpty = true;
    });
    a.leave();
    a.leave();
    await Promise.resolve();
    expect([places.busy, isEmpty, events]).toEqual([1, false, ["freed"]]);
    b.leave();
    await emptied;
    await places.empty();
    expect([places.busy, events]).toEqual([0, ["freed", "freed"]]);
  });

  it("are lent by runs that wait, as many as there are slots, and taken back though all are occupied", () => {
    const { events, places } = setup(1);
    const a = places.take();
    a.idle(true);
    a.idle(true);
    expect([places.busy, events]).toEqual([0, ["freed"]]);
    const b = places.take();
    b.idle(true);
    expect([b.isExcess, places.busy]).toEqual([false, 1]);
    // What a lends no longer, b may lend.
    a.idle(false);
    expect([places.busy, events]).toEqual([1, ["freed"]]);
    b.idle(false);
    expect([places.busy, events]).toEqual([2, ["freed", "taken back"]]);
  });

  it("are lent in place of a run that left", () => {
    const { events, places } = setup(1);
    const [a, b] = [places.take(), places.take()];
    a.idle(true);
    b.idle(true);
    expect(places.busy).toBe(1);
    a.leave();
    expect([places.busy, events]).toEqual([0, ["freed", "freed"]]);
  });

  it("do not count as lent of a run that left, nor as occupied", async () => {
    const { places } = setup(1);
    const a = places.take();
    a.idle(true);
    const emptied = places.empty();
    a.leave();
    a.idle(false);
    await emptied;
    expect(places.busy).toBe(0);
  });

  it("are too few for more runs than were asked for, not for those whose slot was taken back meanwhile", () => {
    const { places } = setup(1);
    const a = places.take();
    a.idle(true);
    a.idle(false);
    expect([places.take().isExcess, places.take().isExcess]).toEqual([false, true]);
    a.leave();
    expect(places.take().isExcess).toBe(true);
  });
});
