import { afterEach, describe, expect, it, vi } from "vitest";
import { systemEnv } from "./env.ts";

const env = systemEnv({ id: () => "id-1" });

afterEach(() => {
  vi.useRealTimers();
});

describe("systemEnv", () => {
  it("a timer longer than the maximum of setTimeout fires once, and not early", () => {
    vi.useFakeTimers();
    let fired = 0;
    const thirtyDays = 30 * 86_400_000;
    env.after(thirtyDays, () => fired++);
    vi.advanceTimersByTime(thirtyDays - 1);
    expect(fired).toBe(0);
    vi.advanceTimersByTime(1);
    expect(fired).toBe(1);
    vi.advanceTimersByTime(thirtyDays * 3);
    expect(fired).toBe(1);
  });

  it("a long timer can be cancelled before and after it is armed again", () => {
    vi.useFakeTimers();
    let fired = 0;
    const cancelShort = env.after(10, () => fired++);
    const cancelLong = env.after(60 * 86_400_000, () => fired++);
    cancelShort();
    vi.advanceTimersByTime(30 * 86_400_000);
    cancelLong();
    vi.advanceTimersByTime(90 * 86_400_000);
    expect(fired).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("a timer for a moment that has passed fires at once", () => {
    vi.useFakeTimers();
    let fired = 0;
    env.after(-5, () => fired++);
    vi.advanceTimersByTime(1);
    expect(fired).toBe(1);
  });

  it("a timer does not keep the process alive", () => {
    const holding = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = holding();
    const cancel = env.after(60_000, () => {});
    expect(holding()).toBe(before);
    cancel();
  });

  it("soon calls back after all pending microtasks", async () => {
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      env.soon(() => {
        order.push("soon");
        resolve();
      });
      let chain = Promise.resolve();
      for (let link = 0; link < 100; link++) chain = chain.then(() => {});
      chain.then(() => order.push("microtasks"));
    });
    expect(order).toEqual(["microtasks", "soon"]);
  });

  it("ids are made by the given function", () => {
    expect(env.id()).toBe("id-1");
  });
});
