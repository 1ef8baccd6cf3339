import { describe, expect, it } from "vitest";
import { Slots } from "./slots.ts";

function setup(count: number) {
  const events: string[] = [];
  const slots = new Slots({
    count,
    onFreed: () => events.push("freed"),
    onTakenBack: () => events.push("taken back"),
  });
  return { events, slots };
}

describe("the slots of a worker", () => {
  it("a slot is occupied by a run until it leaves", async () => {
    const { events, slots } = setup(2);
    const [a, b] = [slots.take(), slots.take()];
    expect([a.isExcess, b.isExcess, slots.busy]).toEqual([false, false, 2]);
    let isEmpty = false;
    const emptied = slots.empty().then(() => {
      isEmpty = true;
    });
    a.leave();
    a.leave();
    await Promise.resolve();
    expect([slots.busy, isEmpty, events]).toEqual([1, false, ["freed"]]);
    b.leave();
    await emptied;
    await slots.empty();
    expect([slots.busy, events]).toEqual([0, ["freed", "freed"]]);
  });

  it("runs whose replay waits lend at most the number of slots, and take them back even if all are occupied", () => {
    const { events, slots } = setup(1);
    const a = slots.take();
    a.setIdle(true);
    a.setIdle(true);
    expect([slots.busy, events]).toEqual([0, ["freed"]]);
    const b = slots.take();
    b.setIdle(true);
    expect([b.isExcess, slots.busy]).toEqual([false, 1]);
    // When `a` takes its slot back, `b` may free its own.
    a.setIdle(false);
    expect([slots.busy, events]).toEqual([1, ["freed"]]);
    b.setIdle(false);
    expect([slots.busy, events]).toEqual([2, ["freed", "taken back"]]);
  });

  it("a slot can be freed again after a run with a freed slot has left", () => {
    const { events, slots } = setup(1);
    const [a, b] = [slots.take(), slots.take()];
    a.setIdle(true);
    b.setIdle(true);
    expect(slots.busy).toBe(1);
    a.leave();
    expect([slots.busy, events]).toEqual([0, ["freed", "freed"]]);
  });

  it("the slot of a run that has left counts neither as freed nor as occupied", async () => {
    const { slots } = setup(1);
    const a = slots.take();
    a.setIdle(true);
    const emptied = slots.empty();
    a.leave();
    a.setIdle(false);
    await emptied;
    expect(slots.busy).toBe(0);
  });

  it("a run is excess if no slot was free for it, but not if its slot was taken back after the claim", () => {
    const { slots } = setup(1);
    const a = slots.take();
    a.setIdle(true);
    a.setIdle(false);
    expect([slots.take().isExcess, slots.take().isExcess]).toEqual([false, true]);
    a.leave();
    expect(slots.take().isExcess).toBe(true);
  });
});
